"""Candidates that take turns: over many short rounds, so that whatever else the machine does meets all of them alike."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


SHORT = 0.005  # seconds


@dataclass(frozen=True)
class Target:
    """What is promised: ``of`` (``""``: the first candidate) takes at most ``share`` of the time of ``peer``."""

    peer: str
    share: float
    of: str = ""

    def __str__(self) -> str:
        of = f"{self.of}: " if self.of else ""
        if self.share < 1 and 1 / self.share == round(1 / self.share, 1):
            return f"{of}at least {1 / self.share:g} x as fast as {self.peer}"
        return f"{of}at most {self.share:g} x the time of {self.peer}"


@dataclass
class Comparison:
    """Candidates for one job. ``ours`` is the first of them; each is called with nothing, and does ``calls`` of the job.

    One that has something to prepare each time returns the seconds that the job itself has taken. ``calls_of``: those that
    do more of it.
    """

    name: str
    candidates: dict[str, Callable[[], Any]]
    targets: list[Target] = field(default_factory=list)
    calls: int = 1
    rounds: int = 100
    calls_of: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def run(self, share: float) -> None:
        """All rounds, or a share of them."""
        self.seconds = {name: [] for name in self.candidates}
        for candidate in self.candidates.values():
            candidate()  # warm
        for _ in range(max(9, int(self.rounds * share))):
            for name, candidate in self.candidates.items():
                taken = self._timed(candidate)
                if taken < SHORT:  # it found the processor's caches full of what the one before it did
                    taken = self._timed(candidate)
                self.seconds[name].append(taken / self.calls_of.get(name, self.calls))

    @staticmethod
    def _timed(candidate: Callable[[], Any]) -> float:
        started = time.perf_counter()
        taken = candidate()
        return taken if isinstance(taken, float) else time.perf_counter() - started

    def ratio(self, target: Target) -> float:
        """The time of ours in that of the peer: the median of the rounds' ratios."""
        ours = self.seconds[target.of or next(iter(self.seconds))]
        return statistics.median(mine / theirs for mine, theirs in zip(ours, self.seconds[target.peer], strict=True))

    def figures(self) -> dict[str, Any]:
        """What was measured, for JSON: quartiles in nanoseconds, and each target with what came out."""
        quartiles = {
            name: [round(point * 1e9, 1) for point in statistics.quantiles(seconds, n=4)]
            for name, seconds in self.seconds.items()
        }
        targets = [
            {
                "target": str(target),
                "ratio": round(self.ratio(target), 5),
                "holds": self.ratio(target) <= target.share,
            }
            for target in self.targets
        ]
        return {"name": self.name, "rounds": len(next(iter(self.seconds.values()))), "ns": quartiles, "targets": targets}


def alone(candidate: Any) -> Any:
    """Give a function code of its own: the interpreter adapts code to what it calls, and this calls one thing only."""
    candidate.__code__ = candidate.__code__.replace()
    return candidate


def timed(prepare: Callable[[], Any], job: Callable[[], Any]) -> Callable[[], float]:
    """A candidate that prepares something each time, and times the job alone."""

    def candidate() -> float:
        prepare()
        started = time.perf_counter()
        job()
        return time.perf_counter() - started

    return candidate


def sets(cache: Any, keys: list[str], value: Any) -> Callable[[], None]:
    """A candidate that sets ``keys``."""
    write = cache.set

    def candidate() -> None:
        for key in keys:
            write(key, value)

    return alone(candidate)  # type: ignore[no-any-return]


def repeat(call: Callable[[Any], Any], arguments: list[Any]) -> Callable[[], None]:
    """A candidate that calls ``call`` with each of ``arguments``."""

    def candidate() -> None:
        for argument in arguments:
            call(argument)

    return alone(candidate)  # type: ignore[no-any-return]


def arepeat(loop: asyncio.AbstractEventLoop, call: Callable[[Any], Any], arguments: list[Any]) -> Callable[[], float]:
    """The same for a coroutine function, timed inside: starting the loop takes as long as dozens of hits."""

    async def work() -> float:
        started = time.perf_counter()
        for argument in arguments:
            await call(argument)
        return time.perf_counter() - started

    alone(work)
    return lambda: loop.run_until_complete(work())
