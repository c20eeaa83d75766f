"""``make staleness``: the bound, measured: real processes on a real Valkey, every read checked.

Writers write numbers, straight to the remote or through a tier of their own, and note in shared memory when each write had
completed. Readers read through their tiers, and some of them are killed and started again. For each number that they read
they look up how long it had been replaced when the read started: that may never be more than the bound. Values with a TTL
are checked for being served past it, and writers that use a tier for seeing their own writes. One read that breaks a promise
makes the exit status 1. It takes three minutes.

    python -m benchmarks.load.staleness [--seconds N] [--draw FILE] [--break clock|ttl|mark]
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from benchmarks.load.bound import KEYS, Board, Checker, Configuration, histogram
from benchmarks.micro import caches as measured
from benchmarks.micro.command import options
from tests.support import servers

if TYPE_CHECKING:
    from collections.abc import Callable

START = 60  # seconds in which a process must have begun
CONFIGURATIONS = [
    Configuration("one second", "django_redis.cache.RedisCache", {"LOCAL_TIMEOUT": 1}),
    Configuration("a tenth, half of it jitter", "django_redis.cache.RedisCache", {"LOCAL_TIMEOUT": 0.1, "JITTER": 0.5}),
    Configuration(
        "two seconds, TTLs of half a second",
        "django_redis.cache.RedisCache",
        {"LOCAL_TIMEOUT": 2, "MISS_TIMEOUT": 0.2},
        0.5,
    ),
    Configuration("a fifth, reads that take 50 ms", "benchmarks.load.slow.SlowReads", {"LOCAL_TIMEOUT": 0.2, "JITTER": 0}),
    Configuration(
        "half a second, and a quarter stale",
        "django.core.cache.backends.redis.RedisCache",
        {"LOCAL_TIMEOUT": 0.5, "STALE_WHILE_REVALIDATE": 0.25, "JITTER": 0},
    ),
]


def set_up(configuration: Configuration, url: str) -> Any:
    """The caches of a process of its own."""
    remote = {"BACKEND": configuration.backend, "LOCATION": f"{url}/1"}
    return measured.set_up({"default": measured.tiered(**configuration.options), "remote": remote})


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
            time.sleep(pause)  # until a read under way in another thread is back: it may store the old value only then
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
            time.sleep(max(0.5, seconds / 8))  # how long real processes read and are checked before a kill
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
        time.sleep(0.01)  # polls: a signal from each reader would slow what is measured


def main() -> int:
    """Run all configurations; 1 where a promise was broken."""
    parser = options(__doc__)
    parser.add_argument("--seconds", type=float, default=180, help="for all configurations together (default: 180)")
    parser.add_argument("--draw", type=Path, help="where to put the picture")
    parser.add_argument("--break", dest="broken", choices=["clock", "ttl", "mark"], help="what to break on purpose")
    arguments = parser.parse_args()
    results, all_held = [], True
    for configuration in CONFIGURATIONS:
        with servers.valkey() as url:
            board, held = run(configuration, url, arguments.seconds / len(CONFIGURATIONS), arguments.broken)
        results.append((configuration, board))
        all_held = all_held and held
    if arguments.draw:
        from benchmarks.figures.staleness import draw

        draw(results, arguments.draw)
    reads = sum(sum(board.counts[::5]) for _, board in results)
    print(f"{reads:,} reads in {len(results)} configurations: {'the bound holds' if all_held else 'BROKEN'}")
    return 0 if all_held else 1


if __name__ == "__main__":
    sys.exit(main())
