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
    """What is promised: ``ours`` takes at most ``share`` of the time of ``peer``, both names of candidates."""

    peer: str
    share: float

    def __str__(self) -> str:
        if self.share < 1 and 1 / self.share == round(1 / self.share, 1):
            return f"at least {1 / self.share:g} x as fast as {self.peer}"
        return f"at most {self.share:g} x the time of {self.peer}"


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

    def ratio(self, peer: str) -> float:
        """The time of ours in that of ``peer``: the median of the rounds' ratios."""
        ours = next(iter(self.seconds.values()))
        return statistics.median(mine / theirs for mine, theirs in zip(ours, self.seconds[peer], strict=True))

    def figures(self) -> dict[str, Any]:
        """What was measured, for JSON: quartiles in nanoseconds, and each target with what came out."""
        quartiles = {
            name: [round(point * 1e9, 1) for point in statistics.quantiles(seconds, n=4)]
            for name, seconds in self.seconds.items()
        }
        targets = [
            {
                "target": str(target),
                "ratio": round(self.ratio(target.peer), 5),
                "holds": self.ratio(target.peer) <= target.share,
            }
            for target in self.targets
        ]
        return {"name": self.name, "rounds": len(next(iter(self.seconds.values()))), "ns": quartiles, "targets": targets}


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

    return candidate


def repeat(call: Callable[[Any], Any], arguments: list[Any]) -> Callable[[], None]:
    """A candidate that calls ``call`` with each of ``arguments``."""

    def candidate() -> None:
        for argument in arguments:
            call(argument)

    return candidate


def arepeat(loop: asyncio.AbstractEventLoop, call: Callable[[Any], Any], arguments: list[Any]) -> Callable[[], None]:
    """The same for a coroutine function."""

    async def work() -> None:
        for argument in arguments:
            await call(argument)

    return lambda: loop.run_until_complete(work())
