"""Pages of 200 look-ups, with and without ``PREFETCH``: ``python -m benchmarks.load.prefetch``, three minutes.

A remote some way off, one worker, ``LOCAL_TIMEOUT`` 5. Each page is served by each candidate in turn, and what it takes is
real; the time between two pages is not waited for: the clock is moved. "trips" counts the round trips, "commands" what the
server executes. With ``--save``, the figures and a picture go to ``docs/prefetch.md``.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import random
import statistics
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis

from benchmarks.load import delay, pages
from benchmarks.micro.caches import DJANGO_REDIS, moving_clock, set_up, tiered
from benchmarks.micro.command import judged, options
from tests.support import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEYS = 1000
LOOKUPS = 200
SECONDS = 60  # that are measured, by the clock that is moved
DELAY = 0.5  # milliseconds there and back
CANDIDATES = ("without", "with", "by hand", "django-redis")
COMMANDS = (*pages.COMMANDS, "evalsha_ro")


def zipf(draw: random.Random, exponent: float = 1.0, keys: int = KEYS) -> list[int]:
    """The keys of a page of visitors who want a few things often and most things seldom."""
    return draw.choices(
        range(keys), cum_weights=list(itertools.accumulate(r**-exponent for r in range(1, keys + 1))), k=LOOKUPS
    )


def fixed(pages: int) -> Callable[[random.Random], list[int]]:
    """Pages that always look the same keys up."""
    lists = [zipf(random.Random(number)) for number in range(pages)]
    return lambda draw: draw.choice(lists)


def lists(pages: int) -> Callable[[random.Random], list[int]]:
    """Lists as the demo's: 200 different rows each, few of them on most lists and most on few."""

    def one(number: int) -> list[int]:
        lots = random.Random(number).random
        return sorted(
            rank for _, rank in heapq.nlargest(LOOKUPS, [(lots() ** (rank**1.2), rank) for rank in range(1, KEYS + 1)])
        )

    made = [one(number) for number in range(pages)]
    return lambda draw: draw.choice(made)


@dataclass(frozen=True)
class Workload:
    """``rate``: pages a second. ``learning``: seconds before it is measured.

    What is promised: trips a page (``None``: nothing); against without ``PREFETCH``, how many times as fast, and commands.
    """

    name: str
    page: Callable[[random.Random], list[int]]
    rate: float
    learning: float
    trips: float | None
    faster: float
    commands: float


WORKLOADS = [
    Workload("20 fixed pages, 5/s", fixed(20), 5, 20, 1.5, 7, 0.85),
    Workload("20 fixed pages, 1/s", fixed(20), 1, 60, 8, 4, 1.2),
    Workload("100 lists, 2/s", lists(100), 2, 20, 5, 6, 0.95),
    Workload("random Zipf, 5/s", zipf, 5, 20, 6, 3, 1.0),
    Workload("random Zipf, 1/s", zipf, 1, 20, 40, 1.5, 1.2),
    Workload("uniform over 5,000, 2/s", lambda draw: draw.choices(range(5000), k=LOOKUPS), 2, 20, None, 0.95, 1.15),
]


def settings(far: str) -> dict[str, Any]:
    """``CACHES``: an alias for each candidate."""
    options = {"LOCAL_TIMEOUT": 5, "MAX_ENTRIES": 10_000}
    return {
        "default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
        "django-redis": {"BACKEND": DJANGO_REDIS, "LOCATION": f"{far}/1", "TIMEOUT": None},
        "without": tiered("django-redis", **options, PREFETCH=0),
        "with": tiered("django-redis", **options),
        "by hand": tiered("django-redis", **options, PREFETCH=0),
    }


class Trips:
    """Counts the round trips of the client that this process uses."""

    def __init__(self) -> None:
        from redis.client import Pipeline, Redis

        self.count = 0
        for kind, name in ((Pipeline, "execute"), (Redis, "execute_command")):
            setattr(kind, name, self._counting(getattr(kind, name)))

    def _counting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            return original(*args, **kwargs)

        return call


@functools.cache
def counted() -> Trips:
    """The count, which begins once."""
    return Trips()


def served(name: str, cache: Any, keys: list[str]) -> None:
    """A page."""
    from django.core.signals import request_started

    request_started.send(sender=None)
    if name == "by hand":
        cache.get_many(keys)
    else:
        get = cache.get
        for key in keys:
            get(key)


def measure(
    workload: Workload, server: redis.Redis, trips: Trips, move: Callable[[float], None], span: float
) -> dict[str, Any]:
    """All candidates on the same pages; ``span``: seconds that are measured."""
    from django.core.cache import caches

    for name in ("without", "with", "by hand"):
        caches[name].local.clear()
        caches[name]._tier.after_fork()  # noqa: SLF001 - it has learned nothing
    draw = random.Random(1)
    learned, measured, clock = int(workload.learning * workload.rate), int(span * workload.rate), 0.0
    seconds: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    sums = {name: [0, 0] for name in CANDIDATES}
    for number in range(learned + measured):
        move(max(0.0, 1 / workload.rate - clock))
        keys = [f"key:{key}" for key in workload.page(draw)]
        clock = 0.0
        for name in sorted(CANDIDATES, key=lambda _: draw.random()):
            if name == "django-redis" and number % 20:
                continue
            commands, before = pages.commands(server, COMMANDS), trips.count
            started = time.perf_counter()
            served(name, caches[name], keys)
            taken, made = time.perf_counter() - started, trips.count - before
            clock += taken
            if number >= learned:
                seconds[name].append(taken)
                sums[name][0] += made
                sums[name][1] += pages.commands(server, COMMANDS) - commands
    found = {
        name: {
            "trips": round(sums[name][0] / len(seconds[name]), 2),
            "commands": round(sums[name][1] / len(seconds[name]), 1),
            "mean": round(statistics.fmean(seconds[name]) * 1000, 2),
            "p50": round(statistics.median(seconds[name]) * 1000, 2),
        }
        for name in CANDIDATES
    }
    stats = caches["with"].stats()
    return {"name": workload.name, "candidates": found, "prefetched": stats.prefetched, "used": stats.prefetch_used}


def promises(workload: Workload, found: dict[str, Any]) -> list[tuple[str, bool]]:
    """Each with what came out, and whether it holds."""
    ours, without, by_hand = (found["candidates"][name] for name in ("with", "without", "by hand"))
    faster, commands = without["mean"] / ours["mean"], ours["commands"] / without["commands"]
    lines = [
        (
            f"trips a page {ours['trips']:.1f} (at most {workload.trips})",
            workload.trips is None or ours["trips"] <= workload.trips,
        ),
        (f"{faster:.1f} x as fast (at least {workload.faster})", faster >= workload.faster),
        (f"commands {commands:.2f} x (at most {workload.commands})", commands <= workload.commands),
    ]
    if workload.name == "20 fixed pages, 5/s":
        ratio = ours["mean"] / by_hand["mean"]
        lines.append((f"{ratio:.2f} x the mean of get_many by hand (at most 1.3)", ratio <= 1.3))  # noqa: PLR2004
    return lines


def run(url: str, delay_ms: float, only: str, span: float) -> Iterator[tuple[Workload, dict[str, Any]]]:
    """Each workload with its figures, of a server that is so far away."""
    from django.core.cache import caches
    from django.test import override_settings

    with delay.behind(url, delay_ms / 1000) as far, override_settings(CACHES=settings(far)):
        server = redis.Redis.from_url(f"{url}/1")
        caches["django-redis"].set_many({f"key:{key}": "x" * 100 for key in range(5000)}, timeout=None)
        for name in ("without", "with", "by hand"):
            caches[name].get("key:0")
        trips, move = counted(), moving_clock()
        for workload in WORKLOADS:
            if only in workload.name:
                yield workload, measure(workload, server, trips, move, span)


def shown(workload: Workload, found: dict[str, Any]) -> None:
    """Print the figures."""
    print(workload.name)
    for name, figures in found["candidates"].items():
        print(f"  {name:13}" + "  ".join(f"{key} {value:7}" for key, value in figures.items()), flush=True)


def main() -> int:
    """Print the figures; 1 where a promise is missed."""
    parser = options(__doc__)
    parser.add_argument("--delay", type=float, default=DELAY, help="milliseconds there and back (default: 0.5)")
    parser.add_argument("--only", default="", help="a part of the workload's name")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--short", action="store_true", help="a tenth of the pages, once it has learned: not judged; a minute")
    ways.add_argument("--save", action="store_true", help="into the page")
    arguments = parser.parse_args()
    set_up({})
    results, missed = [], 0
    with servers.valkey() as url:
        for workload, found in run(url, arguments.delay, arguments.only, SECONDS / 10 if arguments.short else SECONDS):
            results.append(found)
            shown(workload, found)
            missed += judged(promises(workload, found))
    if arguments.save:
        from benchmarks.figures.prefetch import save

        save(results)
    return int(missed > 0 and not arguments.short)


if __name__ == "__main__":
    sys.exit(main())
