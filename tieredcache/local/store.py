"""A bounded map in least-recently-used order, over lru-dict. What goes when it is full, a policy may decide: ``eviction``.

lru-dict is fast because it trusts its caller: a destructor that runs in the middle of one of its updates sees a half-changed
list, and the interpreter crashes. Three rules prevent that:

1. ``lru`` is changed under the lock only. Reading it (``lru[key]``) needs no lock: it moves a node within one C call.
2. Whatever is in ``lru`` is in ``index`` too: it comes into ``index`` first and leaves it last. What leaves is handed to the
   caller in ``removed``, and let go after the lock has been released. So no destructor runs inside lru-dict.
3. A destructor may still interrupt a change, when the garbage collector runs it, and use the same cache. The lock is
   reentrant for it, but while ``busy`` is set it changes nothing: what it would store is not stored; what it would remove
   stays, no longer served, until it is evicted. It must not wait for another thread that uses the cache.

An exception that a signal handler raises may cut a change in two, and a fork too. ``sound`` is false then, and the next
change repairs: what is in ``index`` alone is dropped, and the bytes are summed up from the entries.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from lru import LRU

from tieredcache.local.early import Early
from tieredcache.local.entries import FOREVER, BareEntry
from tieredcache.local.eviction import LIVES
from tieredcache.local.inflight import Inflight
from tieredcache.local.sizes import SHARE, size_of
from tieredcache.local.stats import Stats

if TYPE_CHECKING:
    from collections.abc import Hashable

    from tieredcache.local.eviction import ReadAgain

Kept = TypeVar("Kept", bound=BareEntry)
_stores: Final[weakref.WeakSet[Store[Any]]] = weakref.WeakSet()


class Store(Generic[Kept]):
    """Entries by key. ``lock``: see the rules. ``policy``: decides what goes; ``None``: exact LRU. The rest: see ``Early``.

    ``max_bytes``: what all entries may take together, estimated; ``None``: no limit, and nothing is estimated.
    ``entry_bytes``: what each takes besides its key and its value.
    """

    entry_bytes: int

    def __init__(self, capacity: int, *, alone: bool, max_bytes: int | None = None, policy: ReadAgain | None = None) -> None:
        self.max_bytes: int | None = max_bytes
        self._limit: float = FOREVER if max_bytes is None else max_bytes
        self.bytes: int = 0  # of the entries in index
        self._policy: Any = policy  # its entries have more than Kept
        self.sound: bool = True
        self.inflight: Inflight = Inflight()
        self.early: Early = Early(capacity, alone=alone)
        # As large as can be: lru-dict must never evict by itself, because it would not hand over what it evicts.
        self.lru: LRU[Any, Kept] = LRU(sys.maxsize)
        # The same entries: to look at one without promoting or counting it, and to keep it alive (rule 2).
        self.index: dict[Hashable, Kept] = {}
        self.evictions: int = 0
        self._hits: int = 0
        self.not_hits: int = 0  # lru-dict counts every lookup that finds something; these were no hits in the end
        self.after_fork()
        _stores.add(self)

    def after_fork(self) -> None:
        """Make the store usable in a child process, whatever another thread of the parent was doing to it."""
        self.lock: threading.RLock = threading.RLock()
        self.busy: bool = False
        self.inflight.reset()
        self.early.plans.clear()  # else it would compute at the same moments as its parent
        self.early.due.clear()
        self._repair()

    def __len__(self) -> int:
        return len(self.index)

    @property
    def hits(self) -> int:
        """Lookups in ``lru`` that were hits; never less than before, though one is counted before it proves to be none."""
        moved = self._policy.moved if self._policy else 0
        self._hits = max(self._hits, self.lru.get_stats()[0] - self.not_hits - moved)
        return self._hits

    def stats(self, max_entries: int) -> Stats:
        """What this process has counted; 0 for what this store does not count."""
        counts = {name: getattr(self, name, 0) for name in Stats.__slots__}
        now = {"entries": len(self), "max_entries": max_entries, "max_bytes": self.max_bytes or 0}
        return Stats(**counts | {"refreshed_early": self.early.refreshed, **now})

    def weigh(self, key: Hashable, kept: Any) -> int:
        """The bytes of an entry that keeps ``kept``; 0: not limited; -1: too many for it to be kept.

        Without the lock, because the value's own code may run.
        """
        if self.max_bytes is None:
            return 0
        most = self.max_bytes // SHARE
        size = self.entry_bytes + size_of(key, most) + size_of(kept, most)
        return size if size <= most else -1

    # The caller of these holds the lock, and lets go of what is in ``removed`` afterwards when it has released it.

    def put(self, key: Hashable, entry: Kept, capacity: int, removed: list[Any]) -> bool:
        """Make ``entry`` the most recently used one, evict beyond ``capacity``; ``False`` during another change (rule 3)."""
        if self.busy:
            return False
        index, lru, policy = self.index, self.lru, self._policy
        try:
            self.busy = True
            if not self.sound:
                self._repair()
            self.sound = False
            old = index.get(key)
            if old is not None:
                removed += old, old.kill()
                # First: a change that is cut in two must not leave in lru what is in index no more. Not pop(): it counts.
                try:  # noqa: SIM105 - as in kill()
                    del lru[key]
                except KeyError:
                    pass
            index[key] = entry
            if self.max_bytes is not None:
                self.bytes += entry.size - (0 if old is None else old.size)
            if len(index) > capacity or self.bytes > self._limit:
                self._evict(entry, capacity, removed)
            if policy:  # what a call would do, which is one for every fill
                policy.placed = entry.placed = policy.placed + 1  # type: ignore[attr-defined]
                if old is not None:
                    entry.lives = LIVES  # type: ignore[attr-defined]
            lru[key] = entry
            self.sound = True
        finally:
            self.busy = False
        return True

    def resize(self, entry: Kept, size: int, removed: list[Any]) -> None:
        """``entry``, the most recently used one, has another value, which takes ``size``; under exact LRU."""
        self.bytes, entry.size = self.bytes + size - entry.size, size
        if self.bytes > self._limit and not self.busy:
            try:
                self.busy, self.sound = True, False
                self._evict(entry, FOREVER, removed)
                self.sound = True
            finally:
                self.busy = False

    def discard(self, key: Hashable, entry: Kept, removed: list[Any]) -> None:
        """Take ``entry`` out, unless another has its place."""
        if self.busy or self.index.get(key) is not entry:
            return
        try:
            self.busy = True
            sound, self.sound = self.sound, False
            removed.append(entry)
            try:  # noqa: SIM105 - as in kill()
                del self.lru[key]
            except KeyError:
                pass  # an exception had cut its way in
            del self.index[key]
            if self.max_bytes is not None:
                self.bytes -= entry.size
            if self._policy:  # forgotten by a write, perhaps: a read that comes now is another read of it
                self._policy.remember(key, len(self.index))
            self.sound = sound
        finally:
            self.busy = False

    def empty(self, removed: list[Any]) -> None:
        """Kill everything and take it out; during another change it is only killed (rule 3)."""
        for entry in self.index.copy().values():
            removed += entry, entry.kill()
        if self.busy:
            return
        try:
            self.busy, self.sound = True, False
            self._take_all(removed)
            self._repair()
        finally:
            self.busy = False

    # These loops are functions of their own: as Python 3.12 and 3.13 compile the end of a ``while``, an exception that a
    # signal handler raises there passes by a ``finally`` around the loop.

    def _evict(self, entry: Kept, capacity: float, removed: list[Any]) -> None:
        """Make room for ``entry``."""
        lru, policy = self.lru, self._policy
        while len(self.index) > capacity or self.bytes > self._limit:
            last = policy.last(lru, entry) if policy else lru.peek_last_item()
            if last is None:
                break
            self._unlink(last, removed)
            self.evictions += 1

    def _take_all(self, removed: list[Any]) -> None:
        while last := self.lru.peek_last_item():
            self._unlink(last, removed)

    def _unlink(self, item: tuple[Hashable, Kept], removed: list[Any]) -> None:
        removed.append(item)  # the key, too: it may be an object with a destructor
        # Not popitem(): in lru-dict 1.4.1 it never lets go of the pair that it returns. A KeyError, of a key whose hash has
        # changed, is raised: eviction, which takes out the last entry until there is room, would have no end.
        del self.lru[item[0]]
        if self.index.pop(item[0], None) is not None and self.max_bytes is not None:
            self.bytes -= item[1].size

    def _repair(self) -> None:
        """Make what a change has left that was cut in two sound again."""
        for key in list(self.index):
            if key not in self.lru:
                self.index.pop(key, None)
        if self.max_bytes is not None:
            self.bytes = sum(entry.size for entry in self.index.values())
        self.sound = True


def _after_fork_in_child() -> None:
    for store in list(_stores):
        store.after_fork()


if hasattr(os, "register_at_fork"):  # a system without fork, such as Windows, has nothing to do
    os.register_at_fork(after_in_child=_after_fork_in_child)
