"""The store: a bounded map in least-recently-used order, safe with any value, from any thread.

lru-dict does the work, in C, and is fast because it trusts its caller: it drops values in the middle of its own updates.
A value whose destructor runs Python code lets other code into a half-changed list there, and the interpreter dies. Four
rules keep that from happening, and the rest of the package may rely on them:

1. Only the holder of ``lock`` adds to or removes from ``lru``, and only through ``put``, ``unlink`` and ``empty``. Reading
   it (``lru[key]``) needs no lock: that moves a node that exists, within one C call.
2. Every value in ``lru`` is held by ``index`` too, and what leaves is handed to the caller in ``dropped``, to be let go
   when the lock is released. So no destructor runs inside lru-dict.
3. Destructors still run while the lock is held, when the garbage collector or a signal handler breaks in, and they may
   use the same cache. The lock is reentrant for them, but ``_busy`` tells them that a change is under way beneath them:
   what they add is only noted, and linked when that change is complete.
4. ``index`` is changed before ``lru`` on the way in and after it on the way out. So whatever a reader can find in ``lru``,
   a writer can find in ``index``, and kill.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final, TypeVar

from lru import LRU

from tieredcache.flights import Flights
from tieredcache.stats import Counter

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from tieredcache.entries import Entry

Result = TypeVar("Result")
_stores: weakref.WeakSet[Store] = weakref.WeakSet()


PATIENCE: Final = 0.1
"""Seconds that a reader waits for the lock before it goes without: it is held for microseconds, unless a destructor that the
garbage collector runs holds it up, and then nobody must wait for what that destructor waits for."""


def gate(lock: Any, patience: float) -> Any:
    """A context manager that takes ``lock`` within ``patience`` seconds, and yields whether it did.

    It consists of C functions alone, because a signal handler may raise after any call that Python makes: after a
    ``lock.acquire()`` it would leave the lock held for ever. Where the lock was not taken, leaving raises ``RuntimeError``.
    """
    # A class of its own, because "with" looks there, and passes __enter__ nothing.
    enter = staticmethod(functools.partial(lock.acquire, True, patience))
    return type("Gate", (), {"__slots__": (), "__enter__": enter, "__exit__": staticmethod(lock.__exit__)})()


class Store:
    """Entries by key in least-recently-used order, and the only part that knows the eviction policy."""

    def __init__(self) -> None:
        # As large as can be: lru-dict must never evict by itself, because it would not hand over what it evicts.
        self.lru: LRU[Any, Entry] = LRU(sys.maxsize)
        # The same entries again: to look at one without promoting or counting it, and to keep it alive (rule 2).
        self.index: dict[Hashable, Entry] = {}
        self.evictions = Counter()
        # lru-dict counts every lookup that finds something. This counts those that were no hit in the end.
        self.duds = Counter()
        self.after_fork()
        _stores.add(self)

    def after_fork(self) -> None:
        """Make the store usable in a child process, whatever another thread was doing to it at the fork."""
        self.lock = threading.RLock()
        self._gate = gate(self.lock, PATIENCE)
        self._busy = False
        self._deferred: list[tuple[Hashable, Entry]] = []
        self.flights = Flights()
        self._mend()

    def __len__(self) -> int:
        return len(self.index)

    @property
    def busy(self) -> bool:
        """Whether the holder of the lock is a destructor or signal handler amid an unfinished change of its own thread."""
        return self._busy

    @property
    def hits(self) -> int:
        """Lookups in ``lru`` that were hits."""
        return max(0, self.lru.get_stats()[0] - self.duds.value())

    def within(self, change: Callable[[], Result]) -> Result | None:
        """What ``change`` returned, called under the lock; ``None`` where the lock could not be had in time."""
        taken, result = None, None
        try:
            with self._gate as taken:
                if taken:
                    result = change()
        except RuntimeError:
            if taken is not False:
                raise
        return result

    def put(self, key: Hashable, entry: Entry, capacity: int, dropped: list[Any], *, replace: bool = True) -> bool:
        """Make ``entry`` the most recently used one, evicting beyond ``capacity``; ``False`` where ``key`` was taken.

        With ``replace`` an entry in its place is killed and makes way. The caller holds the lock, and keeps ``dropped``
        until it has released it.
        """
        if self._busy:
            if not self._claim(key, entry, dropped, replace):
                return False
            self._deferred.append((key, entry))
            return True
        try:
            self._busy = True
            if not self._claim(key, entry, dropped, replace):
                return False
            self._link(key, entry, capacity, dropped)
            self._link_deferred(dropped)
        finally:
            self._busy = False
        return True

    def unlink(self, key: Hashable, entry: Entry, dropped: list[Any]) -> None:
        """Take ``entry`` out, unless another has its place. The caller holds the lock and keeps ``dropped``.

        Amid an unfinished change it stays until it is evicted: whoever calls has killed it or let it expire.
        """
        dropped.append(entry)
        if self._busy or self.index.get(key) is not entry:
            return
        try:
            self._busy = True
            if key in self.lru:
                del self.lru[key]
            del self.index[key]
            self._link_deferred(dropped)
        finally:
            self._busy = False

    def empty(self, dropped: list[Any]) -> None:
        """Take everything out. The caller holds the lock and keeps ``dropped``, where it finds what has to be killed.

        Amid an unfinished change the entries stay, as above.
        """
        if self._busy:
            dropped.extend(self.index.copy().values())
            return
        try:
            self._busy = True
            while last := self.lru.peek_last_item():
                self._unlink_last(*last, dropped)
            self._link_deferred(dropped)
        finally:
            self._busy = False
            self._mend()

    def _claim(self, key: Hashable, entry: Entry, dropped: list[Any], replace: bool) -> bool:
        if not replace:
            return self.index.setdefault(key, entry) is entry
        old = self.index.get(key)
        if old is not None:
            # Killed while a writer can still find it in index: for a moment afterwards it is in lru alone.
            dropped.append(getattr(old, "value", None))
            old.kill()
        dropped.append(old)
        self.index[key] = entry
        return True

    def _link(self, key: Hashable, entry: Entry, capacity: int, dropped: list[Any]) -> None:
        while len(self.index) > capacity and (last := self.lru.peek_last_item()):
            self._unlink_last(*last, dropped)
            self.evictions.add()
        if self.index.get(key) is not entry:
            return  # evicted or replaced before its turn came
        if key in self.lru:
            dropped.append(self.lru[key])
            self.duds.add()
        self.lru[key] = entry
        if len(self.index) != len(self.lru):
            self._mend()

    def _unlink_last(self, key: Hashable, entry: Entry, dropped: list[Any]) -> None:
        # Not popitem(): in lru-dict 1.4.1 it never lets go of the pair that it returns.
        dropped.append(entry)
        del self.lru[key]
        if self.index.get(key) is entry:
            del self.index[key]

    def _link_deferred(self, dropped: list[Any]) -> None:
        while self._deferred:
            self._link(*self._deferred.pop(), sys.maxsize, dropped)

    def _mend(self) -> None:
        """Drop what is in ``index`` alone: an exception raised by a signal handler, or a fork, cut a change in two."""
        if len(self.index) != len(self.lru):
            waiting = [key for key, _ in self._deferred]
            for key in self.index.copy():
                if key not in self.lru and key not in waiting:
                    self.index.pop(key, None)


def _after_fork_in_child() -> None:
    for store in list(_stores):
        store.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
