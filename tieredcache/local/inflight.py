"""Values in flight: one caller of this process computes a value, the others wait for it.

No wait is without an end. A caller that computes a value waits for nobody, so no two computations can wait for each other;
and a caller that waits does so for ``PATIENCE`` seconds at most and then computes the value itself, because the one that
computes may need a lock, a thread or an event loop that the waiting code holds.

No old value is stored after a write. A computation that began before the write has either begun to store its value, and then
the write waits until that is done (a moment; for ``STORING`` seconds at most: what a connection that hangs stores later may
be older, as by the remote alone), or it finds that it is forgotten, and stores nothing. One that stores waits for nobody.

    computation                             write
    1  say that it stores                   a  tell the computation that it is forgotten
    2  is it forgotten?                     b  does it store? then wait until it has ended
    3  store the value                      c  write
"""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from asgiref.sync import SyncToAsync

from tieredcache.clock import clock
from tieredcache.local.entries import MISSING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Hashable

Result = TypeVar("Result")

PATIENCE: Final = 5.0
"""Seconds that a caller waits for another's computation."""

STORING: Final = 1.0
"""Seconds that a write waits for a value to be stored."""

logger: logging.Logger = logging.getLogger("tieredcache")

# Follows the code into tasks and threads that it starts by way of asyncio and asgiref.
_computing: ContextVar[Computation | None] = ContextVar("tieredcache_computing", default=None)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _current() -> Computation | None:
    """The computation that the running code is part of.

    Not one that has ended: a task that was started in it, or that asgiref gave the context of a thread, goes on with that.
    """
    own = _computing.get()
    while own is not None and own.ended:
        own = own.outer
    return own


class Step:
    """What others wait for. Not a Future or an Event: these have locks, which stay locked where a signal handler raises."""

    __slots__ = ("ended", "given_up", "waiting")

    def __init__(self) -> None:
        self.ended: bool = False
        self.given_up: bool = False  # whether somebody has waited for it too long: no other write does
        self.waiting: list[Callable[[], object]] = []  # each lets one go

    def end(self) -> None:
        """Let all go that wait; may be repeated."""
        self.ended = True
        for let_go in self.waiting:
            with suppress(RuntimeError):  # it has been let go; or its loop has been closed, and nobody waits in it
                let_go()


class Computation(Step):
    """One caller's computation of the value of ``key``.

    ``forgotten``: another caller has written the key since the computation began, so what it returns may be an old value; or
    it has ended, though a thread goes on with it, because the task that waited was cancelled: nobody tells it of writes.
    ``storing``: the step in which the value is stored, by the thread ``storer``; ``None`` before and afterwards.
    ``old``: the value that is there, where it is computed early: then it waits for no other. ``beta``: see ``early.py``.
    """

    __slots__ = ("began", "beta", "forgotten", "key", "loop", "old", "outer", "storer", "storing", "thread")

    def __init__(self, key: Hashable, beta: float = 0, old: Any = MISSING) -> None:
        super().__init__()
        self.key: Hashable = key
        self.beta: float = beta
        self.old: Any = old
        self.forgotten: bool = False
        self.storing: Step | None = None
        self.storer: int = 0
        self.outer: Computation | None = _current()
        self.thread: int = threading.get_ident()
        self.loop: asyncio.AbstractEventLoop | None = running_loop()

    def starts(self) -> None:
        """From here on, whatever the calling code waits for, it is not another computation."""
        self.forgotten = self.ended  # what was written while it waited is what it will see
        if self.beta:
            self.began: float = clock()
        _computing.set(self)

    def stores(self) -> bool:
        """Whether the value may be stored, now. A caller in another thread than ``leave``'s calls ``stored`` after that."""
        self.storer = threading.get_ident()
        self.storing = Step()
        return not self.forgotten

    def end(self) -> None:
        """Let all go that wait; may be repeated."""
        self.forgotten = True
        super().end()


def _is_own(computation: Computation) -> bool:
    """Whether the running code is part of this computation."""
    own = _computing.get()
    while own is not computation and own is not None:
        own = own.outer
    return own is not None


class Inflight:
    """The computations of one cache: ``under_way``, and ``finished`` counts the others."""

    def __init__(self) -> None:
        self.under_way: set[Computation] = set()
        self._shared: dict[Hashable, Computation] = {}  # those that later callers wait for
        self.finished: int = 0
        self.writing: list[Collection[Hashable] | None] = []  # the keys of each write under way; None: all

    def reset(self) -> None:
        """Forget all of them, in a child process: they are those of the parent's threads."""
        self.under_way.clear()
        self._shared.clear()
        self.writing.clear()

    def starts(self, own: Computation) -> None:
        """As ``own.starts``; what is computed early is stored over what is there, so not over a write under way either."""
        own.starts()
        if own.old is not MISSING and any(keys is None or own.key in keys for keys in self.writing.copy()):
            own.forgotten = True

    def join(self, own: Computation, *, sync: bool) -> Computation | None:
        """Register ``own``; returns the computation of the same key that comes first, if any, to be waited for."""
        self.under_way.add(own)
        other = self._shared.setdefault(own.key, own)
        if other.ended:  # an exception has cut its end off
            self._shared[own.key] = other = own
        if other is own or (own.outer is not None and own.old is MISSING):
            return None
        if sync and own.old is MISSING:  # the other may need this thread, or the event loop that asgiref runs sync code for
            loop = getattr(SyncToAsync.threadlocal, "main_event_loop", None)
            if own.loop is not None or other.thread == own.thread or (loop is not None and other.loop is loop):
                return None
        return other

    def overdue(self, own: Computation, other: Computation) -> None:
        """The wait of the caller of ``own`` ran out: those that come later wait for ``own``."""
        if self._shared.get(own.key) is other:
            self._shared[own.key] = own
        logger.warning(
            "A caller has waited %g s for another thread or task to compute %r, and now computes it itself: either that "
            "takes long, or it waits for something that the waiting code holds.",
            PATIENCE,
            own.key,
        )

    def share(self, own: Computation, compute: Callable[[], Result]) -> Result:
        """What ``compute`` returns, called in its turn; or the old value, where another caller computes a new one."""

        def in_turn() -> Result:
            if (other := self.join(own, sync=True)) is not None:
                if own.old is not MISSING:
                    return own.old  # type: ignore[no-any-return]
                if not wait(other):
                    self.overdue(own, other)
            return compute()

        return self.run(in_turn, own)

    async def ashare(self, own: Computation, compute: Callable[[], Awaitable[Result]]) -> Result:
        """As ``share``, in a task."""
        try:
            try:
                if (other := self.join(own, sync=False)) is not None:
                    if own.old is not MISSING:
                        return own.old  # type: ignore[no-any-return]
                    if not await await_(other):
                        self.overdue(own, other)
                return await compute()
            finally:
                self.leave(own)
        except BaseException:  # as below
            self.leave(own)
            raise

    def run(self, function: Callable[[], Result], own: Computation) -> Result:
        """Call ``function``, which may join with this computation; however it ends, this ends."""
        try:
            try:
                return function()
            finally:
                self.leave(own)
        except BaseException:  # a time limit, say, that a signal handler has raised in leave()
            self.leave(own)
            raise

    def leave(self, own: Computation) -> None:
        """However it ended, let the callers go that wait for it: all at once, each to its own computation.

        May be repeated.
        """
        self.finished += 1
        # Before the others are let go: two that found it done would each put its own computation in its place.
        if self._shared.get(own.key) is own:
            self._shared.pop(own.key, None)
        own.end()
        if own.storing is None or own.storer == threading.get_ident():
            self.stored(own)  # else its task has been cancelled, and a thread stores on: writes wait for that
        if _is_own(own):  # else a coroutine that is thrown away, in the context of another one
            _computing.set(own.outer)

    def stored(self, own: Computation) -> None:
        """Its value has been stored, or will not be: let the writes go that wait for that. May be repeated."""
        storing, own.storing = own.storing, None
        if own.ended:
            self.under_way.discard(own)
        if storing is not None:
            storing.end()

    def overtake(self, keys: Collection[Hashable] | None, *, sync: bool = True) -> list[Step]:
        """These keys (``None``: all) are written: what is computed now is not for callers that come later.

        Returns the steps that a write which is about to begin has to wait for.
        """
        own, steps = _current(), list[Step]()
        for computation in self.under_way.copy():
            if (keys is None or computation.key in keys) and not _is_own(computation):
                computation.forgotten = True
                if self._shared.get(computation.key) is computation:
                    self._shared.pop(computation.key, None)
                # What this thread stores, or a task of the event loop that this thread runs, goes on when it does not wait.
                step, here = computation.storing, sync and computation.storer == threading.get_ident()
                if step is not None and not step.given_up and not here and (own is None or own.storing is None):
                    steps.append(step)
        return steps


def wait(*others: Step, seconds: float | None = None) -> bool:
    """Wait in this thread for all of them to end, for ``PATIENCE`` or so many seconds at most; whether they have."""
    deadline = clock() + (seconds or PATIENCE)
    for other in others:
        lock = threading.Lock()
        lock.acquire()
        other.waiting.append(lock.release)
        if not other.ended and not lock.acquire(timeout=max(0, deadline - clock())):
            return _give_up(others)
    return True


async def await_(*others: Step, seconds: float | None = None) -> bool:
    """As ``wait``, for a task."""
    wake = asyncio.get_running_loop().call_soon_threadsafe
    try:
        async with asyncio.timeout(seconds or PATIENCE):
            for other in others:
                ended = asyncio.Event()
                other.waiting.append(partial(wake, ended.set))
                if not other.ended:
                    await ended.wait()
    except TimeoutError:
        return _give_up(others)
    return True


def _give_up(steps: Collection[Step]) -> bool:
    for step in steps:
        step.given_up = True
    return False
