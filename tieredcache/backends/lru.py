"""``LRUCache``: the local tier as a cache of its own."""

from __future__ import annotations

from time import monotonic as clock
from typing import TYPE_CHECKING, Any, Final

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache, default_key_func
from lru import LRU

from tieredcache.backends.inline import Inline
from tieredcache.entries import FOREVER, NEVER, BareEntry
from tieredcache.options import read_lru_options
from tieredcache.stats import Counter, Stats
from tieredcache.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from tieredcache.flights import Flights

_NOTHING: Final = object()
_EMPTY: Final[LRU[Any, BareEntry]] = LRU(1)
"""What the fast path of an instance looks into that makes its keys in another way: it always misses."""


class SharedStore(Store[BareEntry]):
    """The store of one LOCATION. ``home``: the prefix that its first instance puts before ``str`` keys."""

    def __init__(self, home: str | None) -> None:
        super().__init__()
        self.home = home
        self.misses: Counter = Counter()
        self.expired: Counter = Counter()
        self.forgotten: Counter = Counter()


_stores: Final[dict[str, SharedStore]] = {}
_max_entries: Final[dict[str, int]] = {}  # by the settings that an instance was given


class LRUCache(Inline):
    """A cache in this process's memory that evicts the least recently used entry, and only that.

    Values are kept by reference, not pickled: every reader gets the same object, and any object can be stored. Keys are
    not validated. Instances with one ``LOCATION`` share a store. A mistake in the settings raises ``ImproperlyConfigured``.
    Timeouts are seconds; without one, ``TIMEOUT`` of the alias applies, which is 300 by default.

    Writes hold the store's lock. A destructor that the garbage collector runs during one may use the same cache; it must not
    wait for another thread that is writing to it.
    """

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        settings = repr((location, params))
        if settings not in _max_entries:  # validated once: Django makes an instance for each thread or request
            _max_entries[settings] = read_lru_options(location, params).max_entries
        name = location or params.get("NAME", "")
        super().__init__(params)
        self._max_entries = _max_entries[settings]
        self.default_timeout: float | None = params.get("TIMEOUT", self.default_timeout)  # BaseCache rounds 0.5 to 0
        plain = self.key_func is default_key_func and type(self).make_key is BaseCache.make_key
        home = super().make_key("") if plain else None
        store = _stores.get(name)  # compared with None: an empty store is false
        if store is None:
            store = _stores.setdefault(name, SharedStore(home))
        self._store = store
        self._plain = home is not None and home == store.home
        self._lru = store.lru if self._plain else _EMPTY

    def stats(self) -> Stats:
        """What this process has counted, over all instances of this ``LOCATION``."""
        store = self._store
        return Stats(
            hits=store.hits,
            misses=store.misses.value(),
            forgotten=store.forgotten.value(),
            evictions=store.evictions.value(),
            expired=store.expired.value(),
            entries=len(store),
            max_entries=self._max_entries,
        )

    def keep_shared(self, key: str) -> float:  # noqa: ARG002 - a TieredCache's signature
        """Nothing: every reader is given the same object; returns 0, because there is no local timeout."""
        return 0

    def peek(self, key: str) -> tuple[Callable[[Any], Any], str]:
        """``get``, and the key to call it with: all that it looks into is this process's memory."""
        return self.get, key

    # --- reads ---

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        """The value of ``key``, the very object that was stored; ``default`` where there is none."""
        # As in TieredCache.get: only str keys of the default version are stored as they are.
        if version is None and type(key) is str:
            try:
                entry = self._lru[key]
                if entry.deadline > clock():
                    return entry.value
            except KeyError:
                if self._plain:
                    self._store.misses.add()
                    return default
            else:
                self._expire(key, entry)
                return default
        made = self.local_key(key, version)
        try:
            entry = self._store.lru[made]
        except KeyError:
            self._store.misses.add()
            return default
        if entry.deadline > clock():
            return entry.value
        self._expire(made, entry)
        return default

    def get_many(self, keys: Iterable[Any], version: Any = None) -> dict[Any, Any]:
        """The values of those of ``keys`` that exist."""
        found: dict[Any, Any] = {}
        lru = self._lru
        now = clock()
        for key in keys:
            if version is None and type(key) is str:
                try:
                    entry = lru[key]
                    if entry.deadline > now:
                        found[key] = entry.value
                        continue
                except KeyError:
                    pass
                else:
                    self._store.duds.add()  # counted once more below
            value = self.get(key, _NOTHING, version)
            if value is not _NOTHING:
                found[key] = value
        return found

    def has_key(self, key: Any, version: Any = None) -> bool:
        """Whether ``key`` exists. Does not count as a use of it."""
        made = self.local_key(key, version)
        entry = self._store.index.get(made)
        if entry is None:
            return False
        if entry.deadline > clock():
            return True
        self._remove_expired(made, entry)
        return False

    # --- writes ---

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> None:
        """Store ``value`` for ``timeout`` seconds; ``None``: until it is evicted; 0 or less: not at all."""
        # What _deadline and local_key do, without the calls: they would add a third.
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        if timeout is None:
            deadline = FOREVER
        elif timeout > 0:
            deadline = clock() + timeout
        else:
            self.delete(key, version)
            return
        made = key if version is None and self._plain and type(key) is str else self.local_key(key, version)
        # What _write does, without the call: that would add a fifth.
        store = self._store
        with store.locked:
            entry = store.index.get(made)
            if entry is not None:
                # The old value is let go with the frame, when the lock has been released.
                _, entry.value = entry.value, value
                entry.deadline = deadline
                if not store.busy:
                    store.lru[made] = entry
                return
            entry = BareEntry()
            entry.value = value
            entry.deadline = deadline
            dropped: list[Any] = []
            if store.put(made, entry, self._max_entries, dropped, replace=False):
                return
        self._write(made, value, deadline)

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """Store ``value`` for ``timeout`` seconds, as ``set`` does, unless ``key`` exists; whether it was stored."""
        deadline = self._deadline(timeout)
        if deadline is None:
            return not self.has_key(key, version)
        return self._write(self.local_key(key, version), value, deadline, if_absent=True)

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """Give ``key`` another timeout, in seconds; whether it exists. Does not count as a use of it."""
        deadline = self._deadline(timeout)
        made = self.local_key(key, version)
        with self._store.locked:
            entry = self._store.index.get(made)
            if entry is None or not entry.deadline > clock():
                return False
            entry.deadline = NEVER if deadline is None else deadline
        return True

    def incr(self, key: Any, delta: int = 1, version: Any = None) -> Any:
        """Add ``delta`` to the value, in one step, and return the sum; the expiry stays. ``ValueError`` without a value."""
        made = self.local_key(key, version)
        store = self._store
        while True:
            entry = store.index.get(made)
            if entry is None or not entry.deadline > clock():
                raise ValueError(f"Key {self.make_key(key, version)!r} not found")
            old = entry.value
            new = old + delta  # the value's own code, so outside the lock
            with store.locked:
                if store.index.get(made) is entry and entry.value is old:
                    entry.value = new
                    if not store.busy:  # amid a change the entry may not be there yet
                        store.lru[made] = entry
                    return new

    def delete(self, key: Any, version: Any = None) -> bool:
        """Delete ``key``; whether it existed."""
        made = key if version is None and self._plain and type(key) is str else self.local_key(key, version)
        dropped: list[Any] = []
        store = self._store
        with store.locked:
            entry = store.index.get(made)
            if entry is None:
                return False
            alive = entry.deadline > clock()
            entry.deadline = NEVER
            store.unlink(made, entry, dropped)
        store.forgotten.add()
        return alive

    def clear(self) -> None:
        """Remove everything, of all instances that share the store."""
        store = self._store
        dropped: list[Any] = []
        with store.locked:
            store.empty(dropped)
            for entry in dropped:
                entry.deadline = NEVER
                store.forgotten.add()

    # --- the store ---

    @property
    def _flights(self) -> Flights:
        return self._store.flights

    def local_key(self, key: Any, version: Any = None) -> Hashable:
        """The store's key for ``(key, version)``."""
        if version is None and self._plain and type(key) is str:
            return key
        made: Any = self.make_key(key, version)  # a KEY_FUNCTION may return anything
        home = self._store.home
        if home is not None and isinstance(made, str) and made.startswith(home):
            return made[len(home) :]
        return (made,)

    def _deadline(self, timeout: Any) -> float | None:
        """The deadline for ``timeout`` seconds from now; ``None`` where it is 0 or less."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        if timeout is None:
            return FOREVER
        return clock() + timeout if timeout > 0 else None

    def _write(self, key: Hashable, value: Any, deadline: float, *, if_absent: bool = False) -> bool:
        store = self._store
        # Whatever is taken out is still named here when the lock has been released: no destructor runs under it.
        dropped: list[Any] = []
        with store.locked:
            while True:
                entry = store.index.get(key)
                if entry is not None:
                    if if_absent and entry.deadline > clock():
                        return False
                    # In place, and the value first: a reader checks the deadline before it takes the value.
                    dropped.append(entry.value)
                    entry.value = value
                    entry.deadline = deadline
                    if not store.busy:  # amid a change the entry may not be there yet
                        store.lru[key] = entry
                    return True
                entry = BareEntry()
                entry.value = value
                entry.deadline = deadline
                if store.put(key, entry, self._max_entries, dropped, replace=False):
                    return True
                # A destructor has put one there this moment.

    def _expire(self, key: Hashable, entry: BareEntry) -> None:
        self._store.duds.add()
        self._store.misses.add()
        self._store.expired.add()
        self._remove_expired(key, entry)

    def _remove_expired(self, key: Hashable, entry: BareEntry) -> None:
        """Take ``entry`` out, unless a writer has given it a new deadline since it was looked at."""
        dropped: list[Any] = []
        store = self._store
        with store.locked:
            if store.index.get(key) is entry and not entry.deadline > clock():
                entry.deadline = NEVER
                store.unlink(key, entry, dropped)
