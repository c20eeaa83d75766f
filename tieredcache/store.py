"""The store: a bounded map in least-recently-used order, safe with any value, from any thread.

lru-dict does the work, in C, and is fast because it trusts its caller: it drops values in the middle of its own updates.
A value whose destructor runs Python code lets other code into a half-changed list there, and the interpreter dies. Four
rules keep that from happening, and the rest of the package may rely on them:

1. Only the holder of ``lock`` adds to or removes from ``lru``, and only through ``put``, ``unlink`` and ``empty``. Reading
   it (``lru[key]``) needs no lock: that moves a node that exists, within one C call.
2. Every value in ``lru`` is held by ``index`` too, and what leaves is handed to the caller in ``dropped``, to be let go
   when the lock is released. So no destructor runs inside lru-dict.
3. Destructors still run while the lock is held, when the garbage collector or a signal handler breaks in, and they may
   use the same cache. The lock is reentrant for them, but ``busy`` tells them that a change is under way beneath them:
   what they add is only noted, and linked when that change is complete.
4. ``index`` is changed before ``lru`` on the way in and after it on the way out. So whatever a reader can find in ``lru``,
   a writer can find in ``index``, and kill.
"""

from __future__ import annotations

import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from lru import LRU

from tieredcache.entries import BareEntry
from tieredcache.flights import Flights
from tieredcache.forks import in_child
from tieredcache.interpreter import require_gil
from tieredcache.locks import guard
from tieredcache.stats import Counter

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

Result = TypeVar("Result")
Kept = TypeVar("Kept", bound=BareEntry)
_stores: weakref.WeakSet[Store[Any]] = weakref.WeakSet()

require_gil()  # at the import: before anything is kept

PATIENCE: Final = 0.1
"""Seconds that a reader waits for the lock before it goes without: it is held for microseconds, unless a destructor that the
garbage collector runs holds it up, and then nobody must wait for what that destructor waits for."""


class Store(Generic[Kept]):
    """Entries by key in least-recently-used order, and the only part that knows the eviction policy.

    ``locked``: holds the lock. ``put`` and ``unlink`` repeat a few lines in place of sharing them: a call would slow down
    every write.
    """

    def __init__(self) -> None:
        # As large as can be: lru-dict must never evict by itself, because it would not hand over what it evicts.
        self.lru: LRU[Any, Kept] = LRU(sys.maxsize)
        # The same entries again: to look at one without promoting or counting it, and to keep it alive (rule 2).
        self.index: dict[Hashable, Kept] = {}
        self.evictions: Counter = Counter()
        # lru-dict counts every lookup that finds something. This counts those that were no hit in the end.
        self.duds: Counter = Counter()
        self.after_fork()
        _stores.add(self)

    def after_fork(self) -> None:
        """Make the store usable in a child process, whatever another thread was doing to it at the fork."""
        self.lock: threading.RLock = threading.RLock()
        self.locked: Any = guard(self.lock)
        self._locked_in_time = guard(self.lock, PATIENCE)
        # Whether a change is under way: code that gets the lock while this is set is a destructor or a signal handler, which
        # has interrupted that change.
        self.busy: bool = False
        self._deferred: list[tuple[Hashable, Kept]] = []
        self.flights: Flights = Flights()
        self._mend()

    def __len__(self) -> int:
        return len(self.index)

    @property
    def hits(self) -> int:
        """Lookups in ``lru`` that were hits."""
        return max(0, self.lru.get_stats()[0] - self.duds.value())

    def within(self, change: Callable[..., Result], *arguments: Any) -> Result | None:
        """What ``change(*arguments)`` returned, under the lock; ``None`` where the lock could not be had in time."""
        taken, result = None, None
        try:
            with self._locked_in_time as taken:
                if taken:
                    result = change(*arguments)
        except RuntimeError:
            if taken is not False:
                raise
        return result

    def put(self, key: Hashable, entry: Kept, capacity: int, dropped: list[Any], *, replace: bool = True) -> bool:
        """Make ``entry`` the most recently used one, evicting beyond ``capacity``; ``False`` where ``key`` was taken.

        With ``replace`` an entry in its place is killed and makes way. The caller holds the lock, and keeps ``dropped``
        until it has released it.
        """
        if self.busy:
            if not self._claim(key, entry, dropped, replace):
                return False
            self._deferred.append((key, entry))
            return True
        index, lru = self.index, self.lru
        try:
            self.busy = True
            if index.setdefault(key, entry) is not entry and not self._claim(key, entry, dropped, replace):
                return False
            excess = len(index) - capacity
            while excess > 0 and (last := lru.peek_last_item()):
                dropped.append(last)
                # Not popitem(): in lru-dict 1.4.1 it never lets go of the pair that it returns.
                oldest = last[0]
                del lru[oldest]
                if (taken := index.pop(oldest, None)) is not last[1] and taken is not None:
                    index[oldest] = taken  # what takes its place now
                self.evictions.add()
                excess -= 1
            # What is in lru is in index too: so where there is one more in index, that is this one.
            if len(index) != len(lru) + 1:
                self._mend(key)
                if key in lru:
                    dropped.append(lru[key])
                    self.duds.add()
            lru[key] = entry
            if self._deferred:
                self._link_deferred(dropped)
        finally:
            self.busy = False
        return True

    def unlink(self, key: Hashable, entry: Kept, dropped: list[Any]) -> None:
        """Take ``entry`` out, unless another has its place. The caller holds the lock, and keeps both it and ``dropped``.

        Amid an unfinished change it stays until it is evicted: whoever calls has killed it or let it expire.
        """
        if self.busy or self.index.get(key) is not entry:
            return
        try:
            self.busy = True
            try:  # noqa: SIM105 - suppress() would take longer than all of this
                del self.lru[key]
            except KeyError:
                pass  # an exception had cut its way in
            del self.index[key]
            if self._deferred:
                self._link_deferred(dropped)
        finally:
            self.busy = False

    def empty(self, dropped: list[Any]) -> None:
        """Take everything out. The caller holds the lock and keeps ``dropped``, where it finds what has to be killed.

        Amid an unfinished change the entries stay, as above.
        """
        if self.busy:
            dropped.extend(self.index.copy().values())
            return
        try:
            self.busy = True
            while last := self.lru.peek_last_item():
                dropped.append(last[1])
                del self.lru[last[0]]
                self.index.pop(last[0], None)
            self._link_deferred(dropped)
        finally:
            self.busy = False
            self._mend()

    def _claim(self, key: Hashable, entry: Kept, dropped: list[Any], replace: bool) -> bool:
        old = self.index.setdefault(key, entry)
        if old is entry:
            return True
        if replace:
            # Killed while a writer can still find it in index: for a moment afterwards it is in lru alone.
            dropped.append(getattr(old, "value", None))
            old.kill()
            dropped.append(old)
            self.index[key] = entry
        return replace

    def _link_deferred(self, dropped: list[Any]) -> None:
        while self._deferred:
            key, entry = self._deferred.pop()
            if self.index.get(key) is not entry:
                continue  # evicted or replaced before its turn came
            if key in self.lru:
                dropped.append(self.lru[key])
                self.duds.add()
            self.lru[key] = entry

    def _mend(self, *coming: Hashable) -> None:
        """Drop what is in ``index`` alone: an exception raised by a signal handler, or a fork, cut a change in two.

        But for what is ``coming``, or deferred.
        """
        if len(self.index) != len(self.lru):
            waiting = [*coming, *(key for key, _ in self._deferred)]
            for key in self.index.copy():
                if key not in self.lru and key not in waiting:
                    self.index.pop(key, None)


def _after_fork_in_child() -> None:
    for store in list(_stores):
        store.after_fork()


in_child(_after_fork_in_child)
