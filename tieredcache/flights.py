"""One flight for each key: however many threads and tasks of a process want a value made, one makes it.

Who leads a flight makes the value, outside any lock; the others wait until it has landed, and then look again. Nobody waits
for itself: a leader whose callable asks for the same key, or for one whose leader waits for it, makes that value too.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from asgiref.sync import SyncToAsync

from tieredcache.forks import in_child
from tieredcache.locks import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

# The flights that the current code is part of, outermost first. It follows the code into tasks and threads that it starts by
# way of asyncio and asgiref.
_leading: contextvars.ContextVar[tuple[Flight, ...]] = contextvars.ContextVar("tieredcache_leading", default=())
# Guards who waits for whom, in all flights of all caches, because two of them may wait for each other.
_waiting = guard(threading.RLock())


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def in_event_loop() -> bool:
    """Whether this thread runs an event loop now."""
    return _running_loop() is not None


def _after_fork_in_child() -> None:
    global _waiting  # noqa: PLW0603 - a thread of the parent may have held it
    _waiting = guard(threading.RLock())


in_child(_after_fork_in_child)


class Flight:
    """The making of one value. ``awaits``: the flights that its leader's code waits for now. ``made``: it has been made.

    ``error``: what has kept it from being made, where those who waited are to know.
    """

    __slots__ = ("_callbacks", "awaits", "error", "landed", "loop", "made", "thread")

    def __init__(self) -> None:
        self.thread: int = threading.get_ident()
        self.loop: asyncio.AbstractEventLoop | None = _running_loop()
        self.awaits: list[Flight] = []
        self.landed: bool = False
        self.made: bool = False
        self.error: BaseException | None = None
        self._callbacks: list[Callable[[], object]] = []

    def land(self) -> None:
        """Let all go who wait."""
        with _waiting:
            self.landed = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def leads_to(self, flights: tuple[Flight, ...]) -> bool:
        """Whether this flight is one of ``flights``, or waits for one of them, however indirectly."""
        pending, seen = [self], set()
        while pending:
            flight = pending.pop()
            if flight in flights:
                return True
            if flight not in seen:
                seen.add(flight)
                pending.extend(flight.awaits)
        return False

    def board(self, callback: Callable[[], object]) -> bool:
        """Call ``callback`` when this flight has landed; ``False`` where waiting for it would be for ever."""
        with _waiting:
            mine = _leading.get()
            if self.leads_to(mine):
                return False
            if self.landed:
                callback()
                return True
            self._callbacks.append(callback)
            for flight in mine:
                flight.awaits.append(self)
        return True

    def leave(self) -> None:
        """Not waiting any more."""
        with _waiting:
            for flight in _leading.get():
                if self in flight.awaits:
                    flight.awaits.remove(self)


class Flights:
    """The flights of one store."""

    def __init__(self) -> None:
        self._by_key: dict[Hashable, Flight] = {}
        self.landing: object = object()  # another one each time that a flight lands

    def __len__(self) -> int:
        return len(self._by_key)

    def other(self, key: Hashable) -> Flight | None:
        """The flight for ``key`` that is under way."""
        return self._by_key.get(key)

    @contextmanager
    def lead(self, key: Hashable) -> Iterator[Flight | None]:
        """Lead the flight for ``key``; yields it, or ``None`` where another one was first."""
        flight = Flight()
        try:
            if self._by_key.setdefault(key, flight) is not flight:
                yield None
                return
            _leading.set((*_leading.get(), flight))
            yield flight
        finally:
            if self._by_key.get(key) is flight:
                self.landing = object()  # before another can lead, who looks whether one has landed meanwhile
                self._by_key.pop(key, None)
            flight.land()
            # Not reset by a token: a task that is thrown away ends in another context than its own.
            _leading.set(tuple(other for other in _leading.get() if other is not flight))


def wait(flight: Flight) -> bool:
    """Wait in this thread until ``flight`` has landed; ``False``, at once, where that would be for ever."""
    if _running_loop() is not None or flight.thread == threading.get_ident():
        return False  # it would keep a loop from running that the leader may need, or the leader itself
    if flight.loop is not None and getattr(SyncToAsync.threadlocal, "main_event_loop", None) is flight.loop:
        return False  # the leader is a task, and may need this thread: the one that asgiref calls sync code in
    landed = threading.Event()
    if not flight.board(landed.set):
        return False
    try:
        landed.wait()
    finally:
        flight.leave()
    return True


async def await_(flight: Flight) -> bool:
    """As ``wait``, for a task."""
    loop = asyncio.get_running_loop()
    landed: asyncio.Future[None] = loop.create_future()

    def arrive() -> None:
        if not landed.done():  # cancelled
            landed.set_result(None)

    def land() -> None:
        # From whichever thread; the loop may have been closed since, and nobody waits in it any more.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(arrive)

    if not flight.board(land):
        return False
    try:
        await landed
    finally:
        flight.leave()
    return True
