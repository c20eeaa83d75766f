"""How old a local copy may be for the code that is running: what ``fresh()`` and read-your-writes demand.

A demand belongs to a context: looking one up costs a third of a hit, and almost no code demands anything. So the hit path
looks only while ``demands``, the demands of the whole process, is not empty.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import os
import weakref
from contextlib import contextmanager, suppress
from time import monotonic as clock
from time import time as wall_clock
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

Function = TypeVar("Function", bound="Callable[..., Any]")

_FOREVER: Final = float("inf")

demands: Final[list[weakref.ref[Demand]]] = []
"""The demands that hold in this process. A list, which Python 3.13 finds empty faster than a set: by 1 to 3 % of a hit."""

_first_end: float = _FOREVER
"""The monotonic time at which the first of them ends by itself, or an earlier one."""


class Demand:
    """Serve nothing read ``max_age`` seconds ago or more, and nothing read before the monotonic time ``since``.

    ``ends``: the monotonic time from which every copy is newer than it asks for. Contexts are copied into tasks and threads,
    which may live longer than the code that demands: what they all share is this object. Only the code that demands holds
    it, contexts and ``demands`` do not: where a time limit, say, cuts that code off before it has withdrawn its demand, the
    demand is gone with it. No destructor does this: an exception that a signal handler raises in one is lost.
    """

    __slots__ = ("__weakref__", "began", "ends", "max_age", "over", "since")

    def __init__(self, max_age: float, since: float, ends: float) -> None:
        self.max_age: float = max_age
        self.since: float = since
        self.ends: float = ends
        self.over: bool = False
        self.began: float = clock()

    def accepts(self, read_at: float, *, once: bool) -> bool:
        """Whether it allows a copy read at this time; ``once``: as in the function of this name."""
        return (once and read_at >= self.began) or (read_at > clock() - self.max_age and read_at > self.since)

    def holds(self) -> bool:
        """Whether it has neither been withdrawn nor ended by itself."""
        if not self.over and self.ends <= clock():
            self.withdraw()
        return not self.over

    def withdraw(self) -> None:
        """The code that demands it has ended; may be repeated."""
        self.over = True
        with suppress(ValueError):
            demands.remove(weakref.ref(self))


_context: Final[contextvars.ContextVar[tuple[weakref.ref[Demand], ...]]] = contextvars.ContextVar(
    "tieredcache_demands", default=()
)
# A list, because tasks and threads get copies of the context, and are to write into the same one.
_writes: Final[contextvars.ContextVar[list[float] | None]] = contextvars.ContextVar("tieredcache_writes", default=None)


def accepts(read_at: float, *, once: bool = False) -> bool:
    """Whether the running code may be served a copy read at the monotonic time ``read_at``.

    ``once``: it is read once within a demand and not each time, so a copy read since the demand began will do.
    """
    if _context.get():
        for demand in _own():  # not all(): what a signal handler raises while a generator is thrown away is lost
            if demand.holds() and not demand.accepts(read_at, once=once):
                return False
    elif clock() >= _first_end:
        _drop_ended()
    return True


def _own() -> list[Demand]:
    """The demands of the running code, the outermost first."""
    return [demand for held in _context.get() if (demand := held()) is not None]


def accepts_once(read_at: float) -> bool:
    """As ``accepts``, for what is read once within a demand."""
    return accepts(read_at, once=True)


def _drop_ended() -> None:
    """Drop the demands that have ended by themselves: code that is held up may not get to withdraw its own for long."""
    global _first_end  # noqa: PLW0603 - of the process, as demands are
    now, _first_end = clock(), _FOREVER
    held = [demand for each in demands if (demand := each()) is not None]
    for demand in held:
        if demand.ends <= now:
            demand.withdraw()
    # One that has begun meanwhile may have set it.
    _first_end = min([_first_end, *[demand.ends for demand in held if demand.ends > now]])


@contextmanager
def demanding(max_age: float = _FOREVER, since: float = -_FOREVER, ends: float = _FOREVER) -> Iterator[None]:
    """Apply this demand to all reads inside, besides any that holds outside. Times are monotonic, in seconds."""
    demand = Demand(max_age, since, ends)
    try:
        _begin(demand)
        yield
    finally:
        _end(demand)


def _begin(demand: Demand) -> None:
    global _first_end  # noqa: PLW0603 - as above
    _context.set((*_context.get(), weakref.ref(demand)))
    demands.append(weakref.ref(demand, demands.remove))  # which is called only while the reference is there
    _first_end = min(_first_end, demand.ends)


def _end(demand: Demand) -> None:
    demand.withdraw()
    # Not reset by a token: a generator or a task that is thrown away ends in another context than it began in.
    _context.set(tuple([weakref.ref(other) for other in _own() if not other.over]))


def _after_fork_in_child() -> None:
    """Of all code that demanded something, only the code that forked is still there."""
    demands[:] = [each for each in demands if each() in _own()]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


@contextmanager
def noting_writes() -> Iterator[list[float]]:
    """Yields a list: empty until something is written through a tier inside, and then two numbers.

    The wall-clock time of the last write, and the seconds for which what was written may be served stale elsewhere.
    """
    writes: list[float] = []
    token = _writes.set(writes)
    try:
        yield writes
    finally:
        _writes.reset(token)


def writes_are_noted() -> bool:
    """Whether the running code is inside ``noting_writes``."""
    return _writes.get() is not None


def note_write(bound: float) -> None:
    """Tell ``noting_writes`` of a write whose old value may be served for ``bound`` seconds; ``0``: nowhere."""
    writes = _writes.get()
    if writes is not None and bound > 0:
        writes[:] = [wall_clock(), max([bound, *writes[1:]])]


class fresh:  # noqa: N801 - used as a function is
    """Inside it, no local copy read from the remote tier ``max_age`` seconds ago or more is served by any ``TieredCache``.

    A context manager (``with fresh():``, in async code too) and a decorator of functions and coroutine functions.
    ``max_age``: seconds; 0: every read is the remote's. Nested, the stricter demand holds. Raises ``ValueError`` for what is
    no number of at least 0, and ``TypeError`` for a generator function, whose body runs after the decorator has returned.
    """

    def __init__(self, max_age: float = 0) -> None:
        given: Any = max_age
        if isinstance(given, bool) or not isinstance(given, (int, float)) or not given >= 0:
            raise ValueError(f"fresh(max_age={max_age!r}): set max_age to a number of seconds of at least 0")
        self._max_age = max_age
        self._open: list[Demand] = []

    def __enter__(self) -> None:
        demand = Demand(self._max_age, -_FOREVER, _FOREVER)
        try:
            self._open.append(demand)
            _begin(demand)
        except BaseException:  # a time limit, say, that a signal handler raises: __exit__ will not be called
            self._open.remove(demand)
            _end(demand)
            raise

    def __exit__(self, *_: Any) -> None:
        # The innermost of this instance's in this context: threads and tasks may enter one instance at once. A generator may
        # be closed in another context than it ran in.
        here = [demand for demand in _own() if demand in self._open]
        demand = here[-1] if here else self._open[-1]
        _end(demand)
        self._open.remove(demand)

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
