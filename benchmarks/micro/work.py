"""Whole workloads: many threads, and what an entry weighs."""

from __future__ import annotations

import gc
import random
import threading
import tracemalloc
from typing import TYPE_CHECKING, Any

from benchmarks.micro.caches import ECHO, LOCMEM, LRU, Echo, tiered
from benchmarks.micro.engine import Comparison, Target

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRIES = 100_000


def seeds_workload() -> Comparison:
    """Eight threads, 100,000 operations each: 90 % get, 9 % set, 1 % delete; 500 entries, 1,100 keys."""
    from django.core.cache import caches

    names = {"LRUCache": "lru500", "LRUObjectCache": "seed500", "LocMemCache": "locmem500"}
    runs = {name: (lambda cache=caches[alias]: mixed(cache)) for name, alias in names.items()}  # type: ignore[misc]
    targets = [Target("LRUObjectCache", 0.5), Target("LocMemCache", 0.25)]
    return Comparison("8 threads x 100,000 operations, mixed", runs, targets, 800_000, 9)


def mixed(cache: Any, threads: int = 8, operations: int = 100_000) -> None:
    """The seed's own benchmark."""

    def work(seed: int) -> None:
        draw = random.Random(seed)
        keys = [f"key{draw.randrange(1100)}" for _ in range(1000)]
        kinds = [draw.random() for _ in range(1000)]
        for number in range(operations):
            key, kind = keys[number % 1000], kinds[number % 997]
            if kind < 0.9:  # noqa: PLR2004 - the shares of the workload
                cache.get(key)
            elif kind < 0.99:  # noqa: PLR2004
                cache.set(key, number)
            else:
                cache.delete(key)

    run_in_threads(work, threads)


def hits_from_threads() -> Comparison:
    """The same number of hits, from eight threads and from one."""
    from django.core.cache import caches

    cache = caches["default"]
    cache.set("key", "x" * 100)
    get = cache.get
    get("key")

    def hits(count: int) -> None:
        for _ in range(count):
            get("key")

    runs = {
        "8 threads": lambda: run_in_threads(lambda _: hits(50_000), 8),
        "1 thread": lambda: run_in_threads(lambda _: hits(400_000), 1),
    }
    return Comparison("400,000 hits from 8 threads", runs, [Target("1 thread", 1 / 0.9)], 400_000, 20)


def run_in_threads(work: Any, count: int) -> None:
    """``work(number)`` in so many threads."""
    threads = [threading.Thread(target=work, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def weight() -> dict[str, Any]:
    """What an entry adds to memory, in bytes, where the caller holds key and value already; with 100,000 entries."""
    from django.core.cache import caches

    keys = [f"key{number}" for number in range(ENTRIES)]
    values = [f"value{number}" for number in range(ENTRIES)]
    Echo.values = dict(zip(keys, values, strict=True))
    ours, locmem = caches["heavy"], caches["heavy2"]
    weights = {
        "TieredCache": weigh(lambda: [ours.get(key) and None for key in keys]),
        "LocMemCache": weigh(lambda: [locmem.set(key, value) for key, value in zip(keys, values, strict=True)]),
    }
    ratio = weights["TieredCache"] / weights["LocMemCache"]
    return {
        "name": f"bytes that an entry adds, {ENTRIES:,} entries",
        "bytes": weights,
        "targets": [{"target": "below LocMemCache's", "ratio": round(ratio, 3), "holds": ratio < 1}],
    }


def weigh(fill: Callable[[], Any]) -> int:
    """Bytes for each entry after ``fill()``."""
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    fill()
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return round((after - before) / ENTRIES)


def settings() -> dict[str, Any]:
    """The aliases that these want."""
    room = {"OPTIONS": {"MAX_ENTRIES": 500}}
    return {
        "lru500": {"BACKEND": LRU, "LOCATION": "lru500", **room},
        "seed500": {"BACKEND": "lrucache_backend.LRUObjectCache", "LOCATION": "seed500", **room},
        "locmem500": {"BACKEND": LOCMEM, "LOCATION": "locmem500", **room},
        "echo": ECHO,
        "heavy": tiered("echo", LOCAL_TIMEOUT=3600, MAX_ENTRIES=2 * ENTRIES),
        "heavy2": {"BACKEND": LOCMEM, "LOCATION": "heavy2", "OPTIONS": {"MAX_ENTRIES": 2 * ENTRIES}},
    }
