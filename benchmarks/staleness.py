"""``make staleness``: the bound, measured: real processes on a real Valkey, every read checked.

Writers write numbers, straight to the remote or through a tier of their own, and note in shared memory when each write had
completed. Readers read through their tiers, and some of them are killed and started again. For each number that they read
they look up how long it had been replaced when the read started: that may never be more than the bound. Values with a TTL
are checked for being served past it, and writers that use a tier for seeing their own writes. One read that breaks a promise
makes the exit status 1.

    python -m benchmarks.staleness [--seconds N] [--draw FILE] [--break clock|ttl|mark]
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import RawArray
from time import monotonic
from typing import TYPE_CHECKING, Any

from tests.support import servers

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = 12
RING = 1 << 16  # the writes of a key that are remembered
SLOTS = 16  # processes
BINS = 60
SPARE = 0.005  # seconds: Redis counts TTLs in milliseconds
START = 60  # seconds in which a process must have begun


@dataclass(frozen=True)
class Configuration:
    """What is set up in one run. ``ttl``: seconds after which values expire in the remote; ``None``: they do not."""

    name: str
    backend: str
    options: dict[str, Any]
    ttl: float | None = None

    @property
    def bound(self) -> float:
        return float(self.options["LOCAL_TIMEOUT"]) + float(self.options.get("STALE_WHILE_REVALIDATE", 0))


CONFIGURATIONS = [
    Configuration("one second", "django_redis.cache.RedisCache", {"LOCAL_TIMEOUT": 1}),
    Configuration("a tenth, half of it jitter", "django_redis.cache.RedisCache", {"LOCAL_TIMEOUT": 0.1, "JITTER": 0.5}),
    Configuration(
        "two seconds, TTLs of half a second",
        "django_redis.cache.RedisCache",
        {"LOCAL_TIMEOUT": 2, "MISS_TIMEOUT": 0.2},
        0.5,
    ),
    Configuration("a fifth, reads that take 50 ms", "benchmarks.slow.SlowReads", {"LOCAL_TIMEOUT": 0.2, "JITTER": 0}),
    Configuration(
        "half a second, and a quarter stale",
        "django.core.cache.backends.redis.RedisCache",
        {"LOCAL_TIMEOUT": 0.5, "STALE_WHILE_REVALIDATE": 0.25, "JITTER": 0},
    ),
]


class Board:
    """Shared memory: when each write had completed, and what each process has counted."""

    def __init__(self) -> None:
        self.completed: Any = RawArray(ctypes.c_double, KEYS * RING)
        self.last: Any = RawArray(ctypes.c_long, KEYS)
        self.counts: Any = RawArray(ctypes.c_long, SLOTS * 5)  # reads, absent, too old, past their TTL, own writes unseen
        self.oldest: Any = RawArray(ctypes.c_double, SLOTS)
        self.ages: Any = RawArray(ctypes.c_long, SLOTS * BINS)

    def wrote(self, key: int, number: int) -> None:
        self.completed[key * RING + number % RING] = monotonic()
        self.last[key] = number

    def replaced_at(self, key: int, number: int) -> float:
        """When the write after ``number`` had completed; 0: it has not."""
        return float(self.completed[key * RING + (number + 1) % RING]) if number < self.last[key] else 0.0


@dataclass
class Checker:
    """Checks the reads of one process."""

    board: Board
    configuration: Configuration
    slot: int
    lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, key: int, value: Any, started: float) -> None:
        board, base = self.board, self.slot * 5
        with self.lock:
            board.counts[base] += 1
            if value is None:
                board.counts[base + 1] += 1
                return
            replaced = board.replaced_at(key, value)
            ttl = self.configuration.ttl
            if ttl is not None:
                completed = float(board.completed[key * RING + value % RING])
                board.counts[base + 3] += completed > 0 and started > completed + ttl + SPARE
            if not replaced or replaced > started:
                return
            age = started - replaced
            bound = self.configuration.bound
            board.oldest[self.slot] = max(board.oldest[self.slot], age)
            board.ages[self.slot * BINS + min(BINS - 1, int(age / bound * (BINS - 10)))] += 1
            board.counts[base + 2] += age > bound


def set_up(configuration: Configuration, url: str) -> Any:
    """The caches of a process of its own."""
    import django
    from django.conf import settings

    remote = {"BACKEND": configuration.backend, "LOCATION": f"{url}/1"}
    tiered = {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": "remote", "OPTIONS": configuration.options}
    settings.configure(CACHES={"default": tiered, "remote": remote})
    django.setup()
    from django.core.cache import caches

    return caches


def break_(what: str | None) -> None:
    """Break the local tier on purpose, to see that it is noticed."""
    from tieredcache.local.tier import MARKS, LocalTier

    keep = LocalTier.keep

    def broken(tier: LocalTier, read: Any, value: Any, ttl: float | None, trip: Any = None) -> Any:
        if what == "clock":  # it starts after the read
            read.started = monotonic()
        elif what == "mark":  # whatever was forgotten meanwhile
            read.mark = tier.marks[hash(read.local_key) % MARKS]
        return keep(tier, read, value, None if what == "ttl" else ttl, trip)

    if what:
        LocalTier.keep = broken  # type: ignore[method-assign]


def read(checker: Checker, url: str, broken: str | None, kind: str) -> None:
    """A reader: ``kind`` is sync or async."""
    break_(broken)
    cache = set_up(checker.configuration, url)["default"]
    if kind == "sync":
        keep_reading(cache, checker)
        return
    asyncio.run(keep_areading(cache, checker))


def keep_reading(cache: Any, checker: Checker) -> None:
    """Read until it is killed, by get and get_many."""
    while True:
        for key in random.choices(range(KEYS), k=50):
            started = monotonic()
            checker.check(key, cache.get(f"key{key}"), started)
        keys = random.sample(range(KEYS), 5)
        started = monotonic()
        found = cache.get_many([f"key{key}" for key in keys])
        for key in keys:
            checker.check(key, found.get(f"key{key}"), started)


async def keep_areading(cache: Any, checker: Checker) -> None:
    """As ``keep_reading``, with tasks."""

    async def one() -> None:
        while True:
            for key in random.choices(range(KEYS), k=20):
                started = monotonic()
                checker.check(key, await cache.aget(f"key{key}"), started)
            keys = random.sample(range(KEYS), 5)
            started = monotonic()
            found = await cache.aget_many([f"key{key}" for key in keys])
            for key in keys:
                checker.check(key, found.get(f"key{key}"), started)
            await asyncio.sleep(0)

    await asyncio.gather(*(one() for _ in range(3)))


def write(checker: Checker, url: str, broken: str | None, kind: str) -> None:
    """A writer of its share of the keys, straight to the "remote" or through its "tier", with readers beside it."""
    break_(broken)
    caches = set_up(checker.configuration, url)
    cache = caches["remote" if kind == "remote" else "default"]
    ttl, board = checker.configuration.ttl, checker.board
    mine = range(0 if kind == "remote" else 1, KEYS, 2)
    if kind == "tier":
        for _ in range(2):
            threading.Thread(target=lambda: keep_reading(caches["default"], checker), daemon=True).start()
    # One that is lost to a kill is as if it had not been written: its number is given to the next.
    while True:
        key = random.choice(mine)
        number = board.last[key] + 1
        cache.set(f"key{key}", number, timeout=ttl)
        board.wrote(key, number)
        # At once, and when reads that had begun before have come back.
        for pause in (0, random.choice([0, 0.001, 0.01, checker.configuration.bound / 4])):
            time.sleep(pause)  # the traffic itself: writes come in bursts, and after pauses around the bound
            if kind == "tier":
                seen = cache.get(f"key{key}")
                board.counts[checker.slot * 5 + 4] += seen != number and (seen is not None or ttl is None)


def run(configuration: Configuration, url: str, seconds: float, broken: str | None) -> tuple[Board, bool]:
    """Run one configuration; whether all promises held."""
    context = multiprocessing.get_context("fork")
    board = Board()
    roles: list[tuple[Callable[..., None], str, bool]] = [
        (write, "remote", False),
        (write, "tier", False),
        (read, "sync", False),
        (read, "sync", True),
        (read, "async", True),
    ]

    def start(slot: int) -> Any:
        function, kind, _ = roles[slot]
        process = context.Process(
            target=function, args=[Checker(board, configuration, slot), url, broken, kind], daemon=True
        )
        process.start()
        return process

    processes = [start(slot) for slot in range(len(roles))]
    killed = 0
    try:
        for slot in range(1, len(roles)):  # the first only writes
            await_reads(board, slot, 0)
        end = monotonic() + seconds
        while monotonic() < end:
            time.sleep(max(0.5, seconds / 8))  # the traffic itself: a process lives that long before it is killed
            slot = random.choice([slot for slot, (_, _, mortal) in enumerate(roles) if mortal])
            for number, process in enumerate(processes):
                if number == slot:
                    os.kill(process.pid, signal.SIGKILL)
                    process.join()
                    processes[number] = start(number)
                    await_reads(board, number, board.counts[number * 5])
                    killed += 1
                elif not process.is_alive():
                    raise RuntimeError(f"{roles[number][1]} {roles[number][0].__name__}r died")
    finally:
        for process in processes:
            process.kill()
            process.join()
    reads, absent, old, outlived, unseen = (sum(board.counts[number::5]) for number in range(5))
    held = not (old or outlived or unseen)
    print(
        f"{configuration.name}: {reads:,} reads ({absent:,} of nothing), {sum(board.last):,} writes,"
        f" {killed} readers killed\n"
        f"  longest that a replaced value was still served: {max(board.oldest):.4f} s, bound {configuration.bound:g} s\n"
        f"  reads older than the bound: {old}, past the remote's expiry: {outlived}, own writes unseen: {unseen}"
        f" -> {'holds' if held else 'BROKEN'}",
        flush=True,
    )
    print(histogram(board))
    return board, held


def await_reads(board: Board, slot: int, more_than: int) -> None:
    """Until this process has read so often: on a busy machine it takes a while to start."""
    deadline = monotonic() + START
    while board.counts[slot * 5] <= more_than:
        if monotonic() > deadline:
            raise RuntimeError(f"process {slot} has not read for {START} s")
        time.sleep(0.01)  # the readers count without a lock, and are not to tell anybody: that would slow what is measured


def histogram(board: Board) -> str:
    """The ages of replaced values when they were served, as shares of the bound."""
    bins = [sum(board.ages[number::BINS]) for number in range(BINS)]
    most = max(bins) or 1
    lines = []
    for first in range(0, BINS, 5):
        count = sum(bins[first : first + 5])
        if count:
            share = f"{first / (BINS - 10):.0%} - {(first + 5) / (BINS - 10):.0%}"
            lines.append(f"    {share:>12} {'#' * max(1, round(count / most / 5 * 60))} {count:,}")
    return "\n".join(lines)


def draw(results: list[tuple[Configuration, Board]], path: str) -> None:
    """The histograms as a picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(results), 1, figsize=(10, 2.2 * len(results)), layout="constrained")
    for axis, (configuration, board) in zip(axes, results, strict=True):
        bins = [sum(board.ages[number::BINS]) for number in range(BINS)]
        width = configuration.bound / (BINS - 10)
        axis.bar([number * width for number in range(BINS)], bins, width=width, align="edge", color="#2a6f97")
        axis.axvline(configuration.bound, color="#c1121f", label=f"bound: {configuration.bound:g} s")
        axis.axvline(max(board.oldest), color="#333333", linestyle=":", label=f"oldest served: {max(board.oldest):.4f} s")
        axis.set_yscale("symlog")
        axis.set_title(configuration.name, loc="left")
        axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    axes[-1].set_xlabel("seconds since the value was replaced, when it was served")
    figure.supylabel("reads")
    figure.savefig(path, metadata={"Date": None})


def main() -> int:
    """Run all configurations; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description="Measure the staleness bound.")
    parser.add_argument("--seconds", type=float, default=180, help="for all configurations together (default: 180)")
    parser.add_argument("--draw", help="where to put the picture")
    parser.add_argument("--break", dest="broken", choices=["clock", "ttl", "mark"], help="what to break on purpose")
    arguments = parser.parse_args()
    results, all_held = [], True
    for configuration in CONFIGURATIONS:
        with servers.valkey() as url:
            board, held = run(configuration, url, arguments.seconds / len(CONFIGURATIONS), arguments.broken)
        results.append((configuration, board))
        all_held = all_held and held
    if arguments.draw:
        draw(results, arguments.draw)
    reads = sum(sum(board.counts[::5]) for _, board in results)
    print(f"{reads:,} reads in {len(results)} configurations: {'the bound holds' if all_held else 'BROKEN'}")
    return 0 if all_held else 1


if __name__ == "__main__":
    sys.exit(main())
