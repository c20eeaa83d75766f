"""``make bench``: what a local hit costs, against the floor and the peers, alternated in one process; and an instance.

The floor is a minimal method over lru-dict with a deadline check: the least that a hit can cost in Python. All candidates
take turns over many short rounds; what is printed is the median, the quartiles, and the ratio to the floor round by round.
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from importlib.metadata import version
from time import monotonic
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS, REPEATS = 400, 10
KEYS = [f"catalogue:{number}" for number in range(100)]
VALUE = "x" * 100
TARGET = 2.0


class Floor:
    """One method call, one lookup, one clock read."""

    def __init__(self) -> None:
        from lru import LRU

        self._lru: LRU[str, tuple[float, Any]] = LRU(1000)

    def set(self, key: str, value: Any) -> None:
        self._lru[key] = (monotonic() + 3600, value)

    def get(self, key: str, default: Any = None) -> Any:
        try:
            deadline, value = self._lru[key]
        except KeyError:
            return default
        return value if deadline > monotonic() else default


def candidates() -> dict[str, Callable[[str], Any]]:
    """The ``get`` of each candidate, with all keys in it."""
    from django.core.cache import caches

    caches_by_name = {
        "the floor": Floor(),
        "TieredCache": caches["default"],
        "LRUCache": caches["lru"],
        "LRUObjectCache": caches["seed"],
        "LocMemCache": caches["remote"],
    }
    for cache in caches_by_name.values():
        for key in KEYS:
            cache.set(key, VALUE)
            assert cache.get(key) == VALUE  # noqa: S101 - a candidate that misses is not measured
    return {name: cache.get for name, cache in caches_by_name.items()}


def nanoseconds(get: Callable[[str], Any]) -> float:
    """The cost of one call, over all keys, in turn."""
    started = time.perf_counter_ns()
    for _ in range(REPEATS):
        for key in KEYS:
            get(key)
    return (time.perf_counter_ns() - started) / (REPEATS * len(KEYS))


def making() -> float:
    """The time it takes Django to make a ``TieredCache``, as under ASGI for each request, against its own ``RedisCache``."""
    from django.core.cache import caches

    ratios = []
    for _ in range(100):
        times = []
        for alias in ("default", "redis"):
            started = time.perf_counter_ns()
            for _ in range(200):
                caches.create_connection(alias)
            times.append(time.perf_counter_ns() - started)
        ratios.append(times[0] / times[1])
    return statistics.median(ratios)


def main() -> int:
    """Print the table; 1 where a target is missed."""
    tiered = {"LOCATION": "remote", "OPTIONS": {"LOCAL_TIMEOUT": 3600}}
    settings.configure(
        CACHES={
            "default": {"BACKEND": "tieredcache.backends.TieredCache", **tiered},
            "remote": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "TIMEOUT": 3600},
            "lru": {"BACKEND": "tieredcache.backends.LRUCache"},
            "redis": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:6379"},
            "seed": {"BACKEND": "lrucache_backend.LRUObjectCache", "LOCATION": "seed"},
        }
    )
    django.setup()
    gets = candidates()
    costs: dict[str, list[float]] = {name: [] for name in gets}
    for _ in range(ROUNDS):
        for name, get in gets.items():
            costs[name].append(nanoseconds(get))
    python, processor = platform.python_version(), platform.processor() or platform.machine()
    print(f"Python {python}, Django {django.__version__}, lru-dict {version('lru-dict')}, {processor}")
    print(f"get of a local hit, a 100-character string, {len(KEYS)} keys, {ROUNDS} rounds:\n")
    print(f"{'':16}{'ns':>8}{'quartiles':>16}{'x the floor':>14}")
    ratios = {}
    for name, cost in costs.items():
        low, middle, high = statistics.quantiles(cost, n=4)
        ratios[name] = statistics.median(one / floor for one, floor in zip(cost, costs["the floor"], strict=True))
        print(f"{name:16}{middle:8.0f}{f'{low:.0f} - {high:.0f}':>16}{ratios[name]:14.2f}")
    held = ratios["TieredCache"] <= TARGET
    print(f"\nTieredCache.get at most {TARGET:g} x the floor: {'holds' if held else 'MISSED'}")
    made = making()
    print(f"making a TieredCache at most {TARGET:g} x making Django's RedisCache: {made:.2f} x")
    return 0 if held and made <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
