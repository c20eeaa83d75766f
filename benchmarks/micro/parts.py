"""What a hit costs, beside the least that it can cost in Python, and what each part of the hit path adds.

    python -m benchmarks.micro.parts [--against CHECKOUT] [--turns N]

Every turn is a process of its own, in which all candidates take turns again, many times. With ``--against``, every second
turn is another checkout's: the last lines compare the hits of both. A turn takes two seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from time import monotonic as clock
from typing import Any

from lru import LRU

HERE = Path(__file__).resolve()
ROUNDS = 200
KEYS = [f"key{number}" for number in range(100)]
VALUE = "x" * 100
HIT = "a hit of a TieredCache"
FLOOR = "the floor: a method, lru-dict, a deadline"
demands: list[object] = []


class Floor:
    """The least that a hit can cost in Python: one method call, one lookup in lru-dict, one reading of the clock."""

    def __init__(self) -> None:
        self._lru: LRU[str, tuple[float, Any]] = LRU(2000)

    def set(self, key: str, value: Any) -> None:
        """Keep ``value`` for an hour."""
        self._lru[key] = (clock() + 3600, value)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of ``key``."""
        try:
            deadline, value = self._lru[key]
        except KeyError:
            return default
        return value if deadline > clock() else default

    async def aget(self, key: str, default: Any = None) -> Any:
        """As ``get``."""
        return self.get(key, default)


class Entry:
    """What the parts find: as the package's own, a value and a deadline in slots."""

    __slots__ = ("deadline", "read_at", "value")


class Part:
    """A hit path; each subclass has all that the one before it has, and one part more."""

    def __init__(self) -> None:
        self._lru: LRU[str, Entry] = LRU(2000)

    def set(self, key: str, value: Any) -> None:
        """Keep ``value`` for an hour."""
        entry = self._lru[key] = Entry()
        entry.value, entry.deadline, entry.read_at = value, clock() + 3600, clock()

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:  # noqa: ARG002 - Django's signature
        """The value of ``key``."""
        return self._lru[key].value


class WithDeadline(Part):
    """Looks at the clock."""

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:  # noqa: ARG002
        entry = self._lru[key]
        if entry.deadline > clock():
            return entry.value
        return default


class WithTry(Part):
    """Expects keys that are not there."""

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:  # noqa: ARG002
        try:
            entry = self._lru[key]
            if entry.deadline > clock():
                return entry.value
        except (KeyError, AttributeError):
            pass
        return default


class WithVersion(Part):
    """Keeps to the default version."""

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        if version is None:
            try:
                entry = self._lru[key]
                if entry.deadline > clock():
                    return entry.value
            except (KeyError, AttributeError):
                pass
        return default


class WithType(Part):
    """Keeps to strings."""

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        if version is None and type(key) is str:
            try:
                entry = self._lru[key]
                if entry.deadline > clock():
                    return entry.value
            except (KeyError, AttributeError):
                pass
        return default


class WithDemands(Part):
    """Asks whether any code of the process demands fresh values."""

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        if version is None and type(key) is str:
            try:
                entry = self._lru[key]
                if entry.deadline > clock() and (not demands or entry.read_at > 0):
                    return entry.value
            except (KeyError, AttributeError):
                pass
        return default


class WithGetattr(WithDemands):
    """Passes attributes that it has not on to the remote: Python 3.11 is slower at finding those that it has."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


PARTS: dict[str, type[Part]] = {
    "a method and lru-dict": Part,
    "+ entry.deadline > clock()": WithDeadline,
    "+ try": WithTry,
    "+ version is None": WithVersion,
    "+ type(key) is str": WithType,
    "+ not demands": WithDemands,
    "+ a class with __getattr__": WithGetattr,
}


def measure() -> dict[str, list[float]]:
    """The nanoseconds that a hit of each candidate takes, in each round."""
    import django
    from django.conf import settings

    options = {"LOCAL_TIMEOUT": 3600}
    settings.configure(
        CACHES={
            "default": {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": "remote", "OPTIONS": options},
            "remote": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "TIMEOUT": None},
        }
    )
    django.setup()
    from django.core.cache import caches

    candidates: dict[str, Any] = {HIT: caches["default"], FLOOR: Floor(), **{name: part() for name, part in PARTS.items()}}
    for cache in candidates.values():
        for key in KEYS:
            cache.set(key, VALUE)
            cache.get(key)
    gets = {name: cache.get for name, cache in candidates.items()}
    keys = KEYS * 10
    taken: dict[str, list[float]] = {name: [] for name in gets}
    for _ in range(ROUNDS):
        for name, get in gets.items():
            started = time.perf_counter_ns()
            for key in keys:
                get(key)
            taken[name].append((time.perf_counter_ns() - started) / len(keys))
    return taken


def turn(checkout: Path) -> dict[str, float]:
    """The medians of one process, over the package of this checkout."""
    command = [sys.executable, "-P", str(HERE), "--measure", str(checkout)]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = {name: statistics.median(taken) for name, taken in json.loads(done.stdout).items()}
    return found


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.micro.parts", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, help="another checkout, whose package is measured in the same run")
    parser.add_argument("--turns", type=int, default=7, help="processes for each checkout (default: 7)")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        import tieredcache

        if not Path(str(tieredcache.__file__)).is_relative_to(arguments.measure):
            raise RuntimeError(f"{tieredcache.__file__} is not of {arguments.measure}")
        json.dump(measure(), sys.stdout)
        return
    checkouts = {"here": HERE.parents[2]}
    if arguments.against:
        checkouts["there"] = arguments.against.resolve()
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    for _ in range(arguments.turns):
        for name, checkout in checkouts.items():
            turns[name].append(turn(checkout))
    print(f"Python {platform.python_version()}, medians of {arguments.turns} processes, in the time of the floor:")
    for name in (FLOOR, *PARTS, HIT):
        cost = statistics.median(found[name] for found in turns["here"])
        print(f"{name:44}{cost:6.0f} ns {_ratio(turns['here'], name):6.2f}")
    if arguments.against:
        cost = statistics.median(found[HIT] for found in turns["there"])
        print(f"{HIT + ', there':44}{cost:6.0f} ns {_ratio(turns['there'], HIT):6.2f}")
        pairs = zip(turns["here"], turns["there"], strict=True)
        # Each by its own floor: what else the machine did while one of them ran counts for neither.
        ratios = [(here[HIT] / here[FLOOR]) / (there[HIT] / there[FLOOR]) for here, there in pairs]
        print(f"here in the time of there: {statistics.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")


def _ratio(turns: list[dict[str, float]], name: str) -> float:
    return statistics.median(found[name] / found[FLOOR] for found in turns)


if __name__ == "__main__":
    main()
