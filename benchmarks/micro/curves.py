"""How cost grows: with entries, with the size of values, with keys per ``get_many``, with threads."""

from __future__ import annotations

import random
import statistics
import time
from typing import TYPE_CHECKING, Any, TypeAlias

from benchmarks.micro.caches import LOCMEM, LRU, Echo, tiered
from benchmarks.micro.engine import repeat
from benchmarks.micro.work import run_in_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    # A size, and the candidates: what each runs, and how many reads that is.
    Point: TypeAlias = tuple[int, dict[str, tuple[Callable[[], Any], int]]]

ROUNDS = 15
READS = 5_000


def curves(share: float = 1) -> Iterator[dict[str, Any]]:
    """All of them: a point for each size, for each candidate, in nanoseconds a read."""
    yield curve("get, local hit, by entries", "entries", entries(share), share)
    yield curve("get, local hit, by size of the value", "bytes", sizes(share), share)
    yield curve("get_many, local hits, by keys", "keys", many(share), share)
    yield curve("get, local hit, by threads", "threads", threads(share), share)


def curve(name: str, axis: str, points: Iterator[Point], share: float) -> dict[str, Any]:
    """Medians over rounds in which all candidates of a point take turns, before the next point is made."""
    found: dict[str, dict[str, float]] = {}
    for size, candidates in points:
        seconds: dict[str, list[float]] = {kind: [] for kind in candidates}
        for run, _ in candidates.values():
            run()  # warm
        for _ in range(max(3, int(ROUNDS * share))):
            for kind, (run, reads) in candidates.items():
                started = time.perf_counter()
                run()
                seconds[kind].append((time.perf_counter() - started) / reads)
        for kind, taken in seconds.items():
            found.setdefault(kind, {})[str(size)] = round(statistics.median(taken) * 1e9, 1)
    return {"name": name, "axis": axis, "curves": found, "targets": []}


def reads(cache: Any, keys: list[str]) -> tuple[Callable[[], None], int]:
    """A candidate that gets each of ``keys``."""
    return repeat(cache.get, keys), len(keys)


def entries(share: float) -> Iterator[Point]:
    """Hits drawn at random from ever more entries."""
    from django.core.cache import caches

    kinds = {"TieredCache": "many tiered", "LRUCache": "many lru", "LocMemCache": "many locmem"}
    ours, *others = candidates = [caches[alias] for alias in kinds.values()]
    draw = random.Random(1)
    known = 0
    for size in (100, 1_000, 10_000, 100_000, 1_000_000) if share == 1 else (100, 1_000):
        keys = [f"key{number}" for number in range(size)]
        Echo.values = dict.fromkeys(keys, "x" * 20)
        for key in keys[known:]:
            ours.get(key)
            for cache in others:
                cache.set(key, "x" * 20)
        known = size
        drawn = draw.choices(keys, k=READS)
        yield size, {kind: reads(cache, drawn) for kind, cache in zip(kinds, candidates, strict=True)}


def sizes(share: float) -> Iterator[Point]:
    """Hits of ever longer strings, and of lists of which every reader gets its own."""
    from django.core.cache import caches

    ours, locmem, remote = caches["default"], caches["locmem"], caches["remote"]
    for size in (10, 100, 1_000, 10_000, 100_000, 1_000_000) if share == 1 else (10, 1_000):
        text, own = f"text{size}", f"own{size}"
        for cache in (ours, locmem):
            cache.set(text, "x" * size)
            cache.set(own, ["x" * size])
            cache.get(own)
        yield (
            size,
            {
                "TieredCache": reads(ours, [text] * 1000),
                "TieredCache, own copy": reads(ours, [own] * 200),
                "LocMemCache": reads(locmem, [text] * 200),
                "django-redis": reads(remote, [text] * 10),
            },
        )


def many(share: float) -> Iterator[Point]:
    """``get_many`` of ever more local hits."""
    from django.core.cache import caches

    aliases = {"TieredCache": "many tiered", "LocMemCache": "many locmem", "django-redis": "remote"}
    candidates = {kind: caches[alias] for kind, alias in aliases.items()}
    for size in (1, 10, 100, 1_000, 10_000) if share == 1 else (1, 100):
        keys = [f"key{number}" for number in range(size)]
        Echo.values = dict.fromkeys(keys, "x" * 20)
        for kind in ("LocMemCache", "django-redis"):
            candidates[kind].set_many(Echo.values)
        calls = max(1, 200 // size)
        yield size, {kind: (repeat(cache.get_many, [keys] * calls), calls) for kind, cache in candidates.items()}


def threads(share: float) -> Iterator[Point]:
    """The same number of hits from ever more threads."""
    from django.core.cache import caches

    for cache in (caches["default"], caches["locmem"]):
        cache.set("key", "x" * 100)
        cache.get("key")
    for count in (1, 2, 4, 8, 16, 32) if share == 1 else (1, 4):
        yield (
            count,
            {
                "TieredCache": shared_out(caches["default"], count, 320_000),
                "LocMemCache": shared_out(caches["locmem"], count, 32_000),
            },
        )


def shared_out(cache: Any, count: int, hits: int) -> tuple[Callable[[], None], int]:
    """A candidate: ``hits`` hits from ``count`` threads."""
    get = cache.get

    def work(_: int) -> None:
        for _ in range(hits // count):
            get("key")

    return lambda: run_in_threads(work, count), hits


def settings() -> dict[str, Any]:
    """The aliases that these want."""
    room = {"MAX_ENTRIES": 2_000_000}
    others = {"LOCATION": "many", "TIMEOUT": None, "OPTIONS": room}
    return {
        "many tiered": tiered("echo", **room, LOCAL_TIMEOUT=36_000),
        "many lru": {"BACKEND": LRU, **others},
        "many locmem": {"BACKEND": LOCMEM, **others},
    }
