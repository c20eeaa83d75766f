"""The store of an ``LRUCache``, what keys are there, and what is made of a value in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache, default_key_func
from lru import LRU

from tieredcache.backends.get_or_set import GetOrSet
from tieredcache.clock import clock
from tieredcache.config.options import read_lru_options, store_name
from tieredcache.local.entries import FOREVER, MISSING, NEVER, BareEntry, CopyingEntry, packed, unpacked
from tieredcache.local.sizes import LRU_ENTRY
from tieredcache.local.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from tieredcache.config.options import LRUOptions

_KEY_SETTINGS: Final = ("key_prefix", "version", "key_func")
_MAKERS: Final = ("make_key", "make_and_validate_key")
_EMPTY: Final[LRU[Any, BareEntry]] = LRU(1)
"""What the fast path of an instance looks into whose keys are not the strings themselves: it always misses."""


class SharedStore(Store[BareEntry]):
    """The store of one LOCATION. ``prefix``: what its first instance puts before ``str`` keys; ``None``: it makes them.

    ``copies``: whether each reader gets an object of its own.
    """

    entry_bytes = LRU_ENTRY

    def __init__(self, prefix: str | None, options: LRUOptions) -> None:
        super().__init__(options.max_entries, alone=True, max_bytes=options.max_bytes)
        self.prefix = prefix
        self.copies: bool = options.copy_values
        self.entry: type[BareEntry] = CopyingEntry if self.copies else BareEntry
        self.misses = self.expired = self.forgotten = self.skipped = 0
        self.deletes = 0  # those of absent keys, too


# Of overridden settings, too: these may have another COPY_VALUES or MAX_BYTES.
_stores: Final[dict[tuple[str, bool, int | None], SharedStore]] = {}
_options: Final[dict[str, LRUOptions]] = {}  # by the settings that an instance was given


class StoreKeys(GetOrSet):
    """Knows the store of its ``LOCATION``, and under which key each entry is kept.

    Keys of the default version that are strings are the store's own, where prefix, version and key function are those of the
    instance that has made the store. The others are what ``make_key`` makes of them.
    """

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        settings = repr((location, params))
        if settings not in _options:  # validated once: Django makes an instance for each thread or request
            _options[settings] = read_lru_options(StoreKeys, location, params)
        super().__init__(params)
        options = _options[settings]
        self._max_entries = options.max_entries
        self.default_timeout: float | None = params.get("TIMEOUT", self.default_timeout)  # BaseCache rounds 0.5 to 0
        name = store_name(location, params), options.copy_values, options.max_bytes
        store = _stores.get(name)  # compared with None: an empty store is false
        if store is None:
            store = _stores.setdefault(name, SharedStore(self._prefix(), options))
        self._store = store
        # Not one by one: __setattr__ would make that slow.
        vars(self).update(inflight=store.inflight, early=store.early, refresh_early=options.refresh_early)
        self._choose_keys()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in _KEY_SETTINGS and "_store" in vars(self):  # assigned at run time: it decides the keys from then on
            self._choose_keys()

    def _choose_keys(self) -> None:
        """Find out whether ``str`` keys of the default version are the store's own."""
        prefix = self._prefix()
        self._plain = prefix is not None and prefix == self._store.prefix
        self._lru = self._store.lru if self._plain else _EMPTY

    def _prefix(self) -> str | None:
        kind = type(self)
        usual = all(getattr(kind, name) is getattr(BaseCache, name) for name in _MAKERS)
        usual = usual and not any(hasattr(kind, name) for name in _KEY_SETTINGS)
        return super().make_key("") if usual and self.key_func is default_key_func else None

    def local_key(self, key: Any, version: Any = None) -> Hashable:
        """The store's key for ``(key, version)``."""
        if version is None and self._plain and type(key) is str:
            return key
        # Keys are not validated, but a subclass may make them there; and a KEY_FUNCTION may return anything.
        own = type(self).make_and_validate_key is not BaseCache.make_and_validate_key
        made: Any = self.make_and_validate_key(key, version) if own else self.make_key(key, version)
        prefix = self._store.prefix
        if prefix is not None and isinstance(made, str) and made.startswith(prefix):
            return made[len(prefix) :]
        return (made,)

    def _living(self, local_key: Hashable) -> BareEntry | None:
        """The entry that is not past its deadline. This does not count as a use of it."""
        entry = self._store.index.get(local_key)
        return entry if entry is not None and entry.deadline > clock() else None

    def _packed(self, value: Any) -> Any:
        """What an entry keeps of ``value``; without the lock, because the value's own code may run."""
        return packed(value) if self._store.copies else value

    def _deadline(self, timeout: Any) -> float:
        """The deadline for ``timeout`` seconds from now; ``NEVER`` where it is 0 or less."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        if timeout is None:
            return FOREVER
        return clock() + timeout if timeout > 0 else NEVER

    # --- what is made of a value, such as the index of a lookup table ---

    def derived(self, key: str, build: Callable[[Any], Any]) -> Any:
        """What ``derive`` has made of the value of ``key`` by ``build``; ``None`` where there is none."""
        store, local_key = self._store, key if self._plain else self.local_key(key)
        try:
            entry = store.lru[local_key]
            if entry.deadline > clock():
                source, maker, built = entry.derived
                if source is entry.kept and maker is build:
                    return built
        except KeyError:
            return None
        except AttributeError:
            pass  # nothing made yet, or killed
        store.not_hits += 1
        return None

    def derive(self, key: str, build: Callable[[Any], Any]) -> Any:
        """What ``build`` makes of the value of ``key``; ``None`` where there is none.

        It is kept beside the value and forgotten with it; of two functions, the last to be passed counts.
        """
        entry = self._living(self.local_key(key))
        kept = getattr(entry, "kept", MISSING)
        if entry is None or kept is MISSING:
            return None
        built = entry.derived_by(build)
        return entry.derive(kept, unpacked(kept), build) if built is None else built

    def mark(self, key: str) -> object:  # noqa: ARG002 - as TieredCache's
        """A value that is another one once ``key`` has been deleted."""
        return self._store.deletes

    def local_timeout(self, key: str) -> float:  # noqa: ARG002 - as TieredCache's
        """The seconds for which a copy of ``key`` may be served beside another tier: there is none."""
        return FOREVER
