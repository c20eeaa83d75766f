"""How old a local copy may be for the code that is running: what ``fresh()`` and read-your-writes demand.

A demand is kept in a context variable. Looking at one costs as much as a third of a hit, and almost nobody demands anything:
so the fast path of a hit does not look. While anybody in the process demands something, its clock is one that stands beyond
every deadline (``follow``); every read then takes the other path, which does look.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import math
import threading
from contextlib import contextmanager
from time import monotonic as clock
from time import time as wall_clock
from typing import TYPE_CHECKING, Any, TypeVar

from tieredcache.entries import NEVER
from tieredcache.forks import in_child
from tieredcache.locks import guard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

Function = TypeVar("Function", bound="Callable[..., Any]")


class Demand:
    """Serve nothing read ``max_age`` seconds ago or more, and nothing read before the monotonic time ``since``.

    ``active``: until the code that demands it has ended. Contexts are copied into tasks and threads, which may live longer,
    and generators may end in another one than they began in: what they all share is this object.
    """

    __slots__ = ("active", "max_age", "since")

    def __init__(self, max_age: float, since: float) -> None:
        self.max_age: float = max_age
        self.since: float = since
        self.active: bool = True


_demands: contextvars.ContextVar[tuple[Demand, ...]] = contextvars.ContextVar("tieredcache_demands", default=())
# What fresh() has to undo, innermost last. Of the context, because an instance may be entered by several threads and tasks
# at once; and one for all instances, because a context never forgets a variable.
_entered: contextvars.ContextVar[tuple[Any, ...]] = contextvars.ContextVar("tieredcache_entered", default=())
# A list, because tasks and threads get copies of the context, and are to write into the same one.
_writes: contextvars.ContextVar[list[float] | None] = contextvars.ContextVar("tieredcache_writes", default=None)
_lock = guard(threading.RLock())
_demanding = 0
_followers: list[Callable[[bool], None]] = []


def follow(switch: Callable[[bool], None]) -> None:
    """Call ``switch`` with whether anybody demands anything, whenever that may have changed."""
    _followers.append(switch)


def accepts(read_at: float) -> bool:
    """Whether the running code may be served a copy read at the monotonic time ``read_at``."""
    demands = _demands.get()
    if not demands:  # nearly always; a generator takes longer than all else of a hit that unpickles
        return True
    return all(read_at > clock() - demand.max_age and read_at > demand.since for demand in demands if demand.active)


@contextmanager
def demanding(max_age: float = math.inf, since: float = NEVER) -> Iterator[None]:
    """Apply this demand to all reads inside, besides any that holds outside."""
    demand = Demand(max_age, since)
    counted = False
    try:
        _count(1)
        counted = True
        _demands.set((*_demands.get(), demand))
        yield
    finally:
        demand.active = False
        _count(-counted)
        _demands.set(tuple(other for other in _demands.get() if other.active))


def _count(change: int) -> None:
    global _demanding  # noqa: PLW0603 - of the process
    with _lock:
        _demanding += change
        for switch in _followers:
            switch(_demanding > 0)


def _after_fork_in_child() -> None:
    """Of all who demanded something, only the code that forked is still there."""
    global _lock  # noqa: PLW0603 - a thread of the parent may have held it
    _lock = guard(threading.RLock())
    _count(sum(demand.active for demand in _demands.get()) - _demanding)


in_child(_after_fork_in_child)


def _seconds(max_age: Any) -> float:
    if isinstance(max_age, bool) or not isinstance(max_age, (int, float)) or not max_age >= 0:
        raise ValueError(f"fresh(max_age={max_age!r}): set max_age to a number of seconds of at least 0")
    return max_age


@contextmanager
def noting_writes() -> Iterator[list[float]]:
    """Yields a list that has the wall-clock time of the last write through a tier, once there was one inside."""
    writes: list[float] = []
    token = _writes.set(writes)
    try:
        yield writes
    finally:
        _writes.reset(token)


def note_write() -> None:
    """Tell ``noting_writes``, where somebody asked, that something has been written."""
    writes = _writes.get()
    if writes is not None:
        writes[:] = [wall_clock()]


class fresh:  # noqa: N801 - used as a function is
    """Inside it, no local copy read from the remote tier ``max_age`` seconds ago or more is served by any ``TieredCache``.

    A context manager (``with fresh():``, in async code too) and a decorator of functions and coroutine functions.
    ``max_age``: seconds; 0: every read is the remote's. Nested, the stricter demand holds. Raises ``ValueError`` for what is
    no number of at least 0, and ``TypeError`` for a generator function, whose body runs after the decorator has returned.
    """

    def __init__(self, max_age: float = 0) -> None:
        self._max_age = _seconds(max_age)
        self._open: list[Any] = []

    def __enter__(self) -> None:
        demand = demanding(self._max_age)
        demand.__enter__()
        self._open.append(demand)
        _entered.set((*_entered.get(), demand))

    def __exit__(self, *exc_info: Any) -> None:
        # The innermost of this instance's in this context; a generator may be closed in another one than it ran in.
        here = [demand for demand in _entered.get() if demand in self._open]
        demand = here[-1] if here else self._open[-1]
        self._open.remove(demand)
        _entered.set(tuple(other for other in _entered.get() if other is not demand))
        demand.__exit__(*exc_info)

    def __call__(self, function: Function) -> Function:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"fresh() cannot decorate the generator {function.__qualname__}: use it inside, as a context manager"
            )

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with demanding(self._max_age):
                result = function(*args, **kwargs)
            # A coroutine of a function that is not known to return one: nothing of it has run yet.
            return acall_result(result) if inspect.isawaitable(result) else result

        async def acall_result(result: Awaitable[Any]) -> Any:
            with demanding(self._max_age):
                return await result

        @functools.wraps(function)
        async def acall(*args: Any, **kwargs: Any) -> Any:
            with demanding(self._max_age):
                return await function(*args, **kwargs)

        return acall if inspect.iscoroutinefunction(function) else call  # type: ignore[return-value]
