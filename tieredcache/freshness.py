"""How old a local copy may be for the code that is running: what ``fresh()`` and read-your-writes demand.

A demand belongs to a context: looking one up costs a third of a hit, and almost no code demands anything. So the hit path
looks only while ``demands``, the demands of the whole process, is not empty.
"""

from __future__ import annotations

import functools
import inspect
import os
import weakref
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from time import time as wall_clock
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tieredcache.clock import clock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

Function = TypeVar("Function", bound="Callable[..., Any]")

_FOREVER: Final = float("inf")

demands: Final[list[weakref.ref[Demand]]] = []
"""The demands that hold in this process. A list, which Python 3.13 finds empty faster than a set: by 1 to 3 % of a hit."""

_first_end: float = _FOREVER
"""The monotonic time at which the first of them ends by itself, or an earlier one."""

_context: Final[ContextVar[tuple[weakref.ref[Demand], ...]]] = ContextVar("tieredcache_demands", default=())
# A list, because tasks and threads get copies of the context, and are to write into the same one.
_writes: Final[ContextVar[list[float] | None]] = ContextVar("tieredcache_writes", default=None)


class Demand:
    """Inside it: serve nothing read ``max_age`` seconds ago or more, and nothing read before the monotonic time ``since``.

    ``ends``: the monotonic time from which every copy is newer than it asks for. Tasks and threads with a copy of the
    context may live longer than the code that demands: what they share is this object. Only that code holds it: where a
    time limit, say, cuts it off before it has withdrawn its demand, the demand is gone with it. No destructor does this,
    because an exception that a signal handler raises in one is lost.
    """

    def __init__(self, max_age: float = _FOREVER, since: float = -_FOREVER, ends: float = _FOREVER) -> None:
        self._max_age = max_age
        self._since = since
        self.ends: float = ends
        self._began: float = _FOREVER
        self.entered: int = 0  # how often now: threads, tasks and nested blocks may share one

    def __enter__(self) -> None:
        global _first_end  # noqa: PLW0603 - of the process, as demands are
        self.entered += 1
        try:
            self._began = clock()
            _context.set((*_context.get(), weakref.ref(self)))
            demands.append(weakref.ref(self, demands.remove))  # which is called only while the reference is there
            _first_end = min(_first_end, self.ends)
        except BaseException:  # a time limit, say, that a signal handler raises: the block is not entered
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self.entered -= 1
        self._withdraw()
        # Not reset by a token: a generator or a task that is thrown away ends in another context than it began in.
        here = list(_context.get())
        with suppress(ValueError):
            here.remove(weakref.ref(self))
        _context.set(tuple([held for held in here if (demand := held()) is not None and demand.entered]))

    def holds(self, now: float) -> bool:
        """Whether code is inside it, and it has not ended by itself."""
        if self.ends <= now:
            self._withdraw()
        return self.entered > 0 and self.ends > now

    def _withdraw(self) -> None:
        with suppress(ValueError):  # it has ended by itself
            demands.remove(weakref.ref(self))

    def accepts(self, read_at: float, now: float, *, once: bool) -> bool:
        """Whether it allows a copy read at this time; ``once``: as in the function of this name."""
        return (once and read_at >= self._began) or (read_at > now - self._max_age and read_at > self._since)

    def __call__(self, function: Function) -> Function:
        """Decorate a function, or a coroutine function: each call demands the same."""
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"fresh() cannot decorate the generator {function.__qualname__}: use it inside, as a context manager"
            )

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with Demand(self._max_age, self._since, self.ends):
                result = function(*args, **kwargs)
            # A coroutine of a function that is not known to return one, too: nothing of it has run yet.
            return awaited(result) if inspect.isawaitable(result) else result

        async def awaited(result: Awaitable[Any]) -> Any:
            with Demand(self._max_age, self._since, self.ends):
                return await result

        @functools.wraps(function)
        async def acall(*args: Any, **kwargs: Any) -> Any:
            return await awaited(function(*args, **kwargs))

        return acall if inspect.iscoroutinefunction(function) else call  # type: ignore[return-value]


def accepts(read_at: float, *, once: bool = False) -> bool:
    """Whether the running code may be served a copy read at the monotonic time ``read_at``.

    ``once``: it is read once within a demand and not each time, so a copy read since the demand began will do.
    """
    if not demands:  # none that holds is missing there
        return True
    here, now = _context.get(), clock()
    if not here and now >= _first_end:
        _withdraw_ended(now)
    for held in here:  # not all(): what a signal handler raises while a generator is thrown away is lost
        demand = held()
        if demand is not None and demand.holds(now) and not demand.accepts(read_at, now, once=once):
            return False
    return True


def accepts_once(read_at: float) -> bool:
    """As ``accepts``, for what is read once within a demand."""
    return accepts(read_at, once=True)


def _withdraw_ended(now: float) -> None:
    """Withdraw the demands that have ended by themselves: code that is held up may not get to do it for long."""
    global _first_end  # noqa: PLW0603 - as above
    _first_end = _FOREVER  # first: a demand that begins meanwhile sets it
    for held in demands.copy():
        demand = held()
        if demand is not None and demand.holds(now):
            _first_end = min(_first_end, demand.ends)


def _after_fork_in_child() -> None:
    """Of all code that demanded something, only the code that forked is still there."""
    demands[:] = [held for held in demands if held in _context.get()]


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


class fresh(Demand):  # noqa: N801 - used as a function is
    """Inside it, no local copy read from the remote tier ``max_age`` seconds ago or more is served by any ``TieredCache``.

    A context manager (``with fresh():``, in async code too) and a decorator of functions and coroutine functions.
    ``max_age``: seconds; 0: every read is the remote's. Nested, the stricter demand holds. Raises ``ValueError`` for what is
    no number of at least 0, and ``TypeError`` for a generator function, whose body runs after the decorator has returned.
    """

    def __init__(self, max_age: float = 0) -> None:
        given: Any = max_age
        if isinstance(given, bool) or not isinstance(given, (int, float)) or not given >= 0:
            raise ValueError(f"fresh(max_age={max_age!r}): set max_age to a number of seconds of at least 0")
        super().__init__(max_age)
