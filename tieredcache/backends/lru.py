"""``LRUCache``: the local tier as a cache of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from tieredcache.backends.lru_keys import StoreKeys
from tieredcache.clock import clock
from tieredcache.local.entries import FOREVER, MISSING, NEVER, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from tieredcache.local.inflight import Computation
    from tieredcache.local.stats import Stats


class LRUCache(StoreKeys):
    """A cache in this process's memory that evicts the least recently used entry, and only that.

    Values are kept by reference, not pickled: every reader gets the same object, and any object can be stored. With
    ``COPY_VALUES`` each reader gets an object of its own, unless the value is proved immutable, and a write raises what
    pickling the value raises. Keys are not validated. Instances with one ``LOCATION`` share a store. A mistake in the
    settings raises ``ImproperlyConfigured``. Timeouts are seconds; without one, ``TIMEOUT`` of the alias applies, which is
    300 by default.

    Writes hold the store's lock. A destructor that the garbage collector runs during one may use the same cache, but what it
    adds then is not kept; it must not wait for another thread that is writing to the cache.
    """

    def stats(self) -> Stats:
        """What this process has counted, over all instances of this ``LOCATION``."""
        return self._store.stats(self._max_entries)

    # --- reads ---

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        """The value of ``key``, by reference unless ``COPY_VALUES`` is set; ``default`` where there is none."""
        # As in TieredCache.get: only str keys of the default version are stored as they are.
        if version is None and type(key) is str:
            try:
                entry = self._lru[key]
                if entry.deadline > clock():
                    return entry.value
                self._store.not_hits += 1  # it is looked up once more below
            except (KeyError, AttributeError):
                pass
        store, local_key = self._store, self.local_key(key, version)
        try:
            entry = store.lru[local_key]
            if entry.deadline > clock():
                return entry.value
            store.not_hits += 1
            store.expired += 1
            removed: list[Any] = [entry]
            with store.lock:
                if not entry.deadline > clock():  # else a writer has given it a new one since
                    store.discard(local_key, entry, removed)
        except (KeyError, AttributeError):
            pass
        store.misses += 1
        return default

    async def aget(self, key: Any, default: Any = None, version: Any = None) -> Any:
        """As ``get``."""
        return self.get(key, default, version)

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
                    self._store.not_hits += 1
                except (KeyError, AttributeError):
                    pass
            value = self.get(key, MISSING, version)
            if value is not MISSING:
                found[key] = value
        return found

    def has_key(self, key: Any, version: Any = None) -> bool:
        """Whether ``key`` exists. Does not count as a use of it."""
        return self._living(self.local_key(key, version)) is not None

    def _store_own(self, own: Computation, key: Any, value: Any, timeout: Any, version: Any) -> Any:
        removed: list[Any] = []
        kept = self._packed(value)
        if (size := self._store.weigh(own.key, kept)) < 0:
            if not own.forgotten:
                self._refuse(key, version)
            return self.get(key, value, version)
        with self._store.lock:  # for which a delete waits
            if own.old is not MISSING and not own.forgotten and (old := self._store.index.get(own.key)) is not None:
                # In place: no reader finds the key missing. What it had is let go with the frame.
                kept, old.kept, old.deadline = getattr(old, "kept", None), kept, self._deadline(timeout)
                if size:
                    self._store.resize(old, size, removed)
                self.inflight.overtake([own.key])
                self.early.done(own.key)
            elif not own.forgotten:
                self._add(own.key, kept, timeout, removed, size=size)
        return self.get(key, value, version)

    async def _astore_own(self, *computed: Any) -> Any:
        return self._store_own(*computed)

    def _is_due(self, key: Any, version: Any) -> bool:
        if entry := self._store.index.get(local_key := self.local_key(key, version)):  # it may have been written since
            self.early.limit(local_key, now := clock(), entry.deadline - now, 0)
        return super()._is_due(key, version)

    # --- writes ---

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> None:  # noqa: C901 - see below
        """Store ``value`` for ``timeout`` seconds; ``None``: until it is evicted; 0 or less: not at all.

        Nor is a value stored that takes more than an eighth of ``MAX_BYTES``.
        """
        store = self._store
        # What _packed, _deadline and local_key do, without the calls: they would add a third.
        if store.copies:
            value = packed(value)
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        if timeout is None:
            deadline = FOREVER
        elif timeout > 0:
            deadline = clock() + timeout
        else:
            self.delete(key, version)
            return
        local_key = key if version is None and self._plain and type(key) is str else self.local_key(key, version)
        size = 0
        if store.max_bytes is not None and (size := store.weigh(local_key, value)) < 0:
            self._refuse(key, version)
            return
        removed: list[Any] = []
        with store.lock:
            entry = store.index.get(local_key)
            if entry is not None:
                # The value first: a reader checks the deadline before it takes the value. The old one is let go with the
                # frame, when the lock has been released.
                try:
                    old, entry.kept = entry.kept, value  # noqa: F841
                except AttributeError:  # killed, during a change
                    entry.kept = value
                entry.deadline = deadline
                if not store.busy:
                    store.lru[local_key] = entry
                if size:
                    store.resize(entry, size, removed)
            else:
                entry = store.entry()
                entry.kept = value
                entry.deadline = deadline
                entry.size = size
                store.put(local_key, entry, self._max_entries, removed)
            if store.inflight.under_way:  # under the lock: an early value is stored over what is there
                store.inflight.overtake([local_key])

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """Store ``value`` for ``timeout`` seconds, as ``set`` does, unless ``key`` exists; whether it was stored."""
        removed: list[Any] = []  # let go when the lock has been released, as everywhere
        kept, local_key = self._packed(value), self.local_key(key, version)
        size = self._store.weigh(local_key, kept)
        with self._store.lock:
            return self._add(local_key, kept, timeout, removed, size=size)

    def _add(self, local_key: Hashable, kept: Any, timeout: Any, removed: list[Any], *, size: int) -> bool:
        if self._living(local_key) is not None:
            return False
        store, entry = self._store, self._store.entry()
        if size < 0:
            store.skipped += 1
            return False
        entry.kept, entry.deadline, entry.size = kept, self._deadline(timeout), size
        if entry.deadline > NEVER:
            store.put(local_key, entry, self._max_entries, removed)
        elif (old := store.index.get(local_key)) is not None:
            store.discard(local_key, old, removed)
        store.inflight.overtake([local_key])
        return True

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """Give ``key`` another timeout, in seconds; whether it exists. Does not count as a use of it."""
        deadline, local_key = self._deadline(timeout), self.local_key(key, version)
        with self._store.lock:
            entry = self._living(local_key)
            if entry is None:
                return False
            entry.deadline = deadline
            self.inflight.overtake([local_key])
        return True

    def incr(self, key: Any, delta: int = 1, version: Any = None) -> Any:
        """Add ``delta`` to the value, in one step, and return the sum; the expiry stays. ``ValueError`` without a value."""
        local_key = self.local_key(key, version)
        store = self._store
        removed: list[Any] = []
        while True:
            entry = self._living(local_key)
            old: Any = getattr(entry, "kept", MISSING)  # killed, where another thread clears the store
            if entry is None or old is MISSING:
                raise ValueError(f"Key {self.make_key(key, version)!r} not found")
            new = unpacked(old) + delta  # the value's own code, so outside the lock
            kept = self._packed(new)
            size = store.weigh(local_key, kept)
            if size < 0:
                self._refuse(key, version)
                return new
            with store.lock:
                if store.index.get(local_key) is entry and getattr(entry, "kept", MISSING) is old:
                    entry.kept = kept
                    if not store.busy:  # during a change the entry may not be there yet
                        store.lru[local_key] = entry
                    if size:
                        store.resize(entry, size, removed)
                    store.inflight.overtake([local_key])
                    return new

    def delete(self, key: Any, version: Any = None) -> bool:
        """Delete ``key``; whether it existed."""
        local_key = key if version is None and self._plain and type(key) is str else self.local_key(key, version)
        removed: list[Any] = []
        store = self._store
        if store.inflight.under_way:  # before the lock: a value that is computed is added under it, unless it is forgotten
            store.inflight.overtake([local_key])
        store.deletes += 1
        with store.lock:
            entry = store.index.get(local_key)
            if entry is None:
                return False
            alive = entry.deadline > clock()
            entry.deadline = NEVER
            store.discard(local_key, entry, removed)
            store.forgotten += 1
        return alive

    def _refuse(self, key: Any, version: Any) -> None:
        """A value for ``key`` is too large: the old one is not served in its place."""
        self._store.skipped += 1
        self.delete(key, version)

    def clear(self) -> None:
        """Remove everything, of all instances that share the store."""
        store = self._store
        removed: list[Any] = []
        store.inflight.overtake(None)
        store.deletes += 1
        with store.lock:
            store.forgotten += len(store)
            store.empty(removed)


def _inline(name: str) -> Callable[..., Any]:
    """The async form of a method that never waits: it calls the sync one, without a thread."""

    async def method(self: LRUCache, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, name)(*args, **kwargs)

    method.__name__ = f"a{name}"
    method.__qualname__ = f"LRUCache.a{name}"
    method.__doc__ = f"As ``{name}``."
    return method


for _name in ("get_many", "has_key", "set", "add", "touch", "incr", "delete", "set_many", "delete_many", "clear", "close"):
    setattr(LRUCache, f"a{_name}", _inline(_name))
