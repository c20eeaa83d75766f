"""What each part of the hit path costs: variants of ``get`` with one thing changed, against the real one, in one process.

python -m benchmarks.parts
"""

from __future__ import annotations

import inspect
import platform
import statistics
import textwrap
import time
from time import monotonic
from typing import TYPE_CHECKING, Any

from lru import LRU

from tieredcache.backends import hits
from tieredcache.entries import FOREVER, Entry

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 500
KEYS = [f"key{number}" for number in range(100)] * 20
_MAKER = inspect.getsource(hits._get)  # noqa: SLF001 - what is measured
GET = textwrap.dedent(_MAKER[_MAKER.index("    def get(") : _MAKER.rindex("    return get")]).replace("self._get(", "print(")
"""The real one, with nothing behind it."""

VARIANTS = {
    "as it is": [],
    "lru as an attribute of the cache": [("lru[key]", "self._lru[key]")],
    "without type(key) is str": [(" and type(key) is str", "")],
    "without version is None": [("version is None and ", "")],
    "without clock()": [("clock()", "0.0")],
    "without try": [("try:", "if True:"), ("except KeyError:", "if entry is key:"), ("except AttributeError:", "if True:")],
    "lru.get(key)": [("entry = lru[key]", "entry = lru.get(key)")],
}


def _look_through(self: object, name: str) -> None:
    raise AttributeError(name, self)


def make(changes: list[tuple[str, str]], lru: LRU[str, Entry]) -> Callable[[str], Any]:
    """The variant's ``get``, of an object of a class that has ``__getattr__``, as ``TieredCache`` has."""
    source = GET
    for old, new in changes:
        if old not in source:
            raise ValueError(f"there is no {old!r} in the hit path")
        source = source.replace(old, new)
    space: dict[str, Any] = {"lru": lru, "clock": monotonic, "Any": Any}
    exec(source, space)  # noqa: S102 - our own text
    kind = type("Cache", (), {"get": space["get"], "__getattr__": _look_through})
    cache: Any = kind()
    vars(cache)["_lru"] = lru
    get: Callable[[str], Any] = cache.get
    return get


def nanoseconds(get: Callable[[str], Any]) -> float:
    """The cost of one call."""
    started = time.perf_counter_ns()
    for key in KEYS:
        get(key)
    return (time.perf_counter_ns() - started) / len(KEYS)


def main() -> None:
    """Print the table."""
    lru: LRU[str, Entry] = LRU(1000)
    for key in KEYS:
        lru[key] = Entry("x" * 100, 0.0)
        lru[key].publish(FOREVER)
    gets = {name: make(changes, lru) for name, changes in VARIANTS.items()}
    costs: dict[str, list[float]] = {name: [] for name in gets}
    for _ in range(ROUNDS):
        for name, get in gets.items():
            costs[name].append(nanoseconds(get))
    real = costs["as it is"]
    print(f"Python {platform.python_version()}, medians of {ROUNDS} rounds in turn:")
    for name, cost in costs.items():
        ratio = statistics.median(one / other for one, other in zip(cost, real, strict=True))
        print(f"{name:34}{statistics.median(cost):6.0f} ns {ratio - 1:+6.0%}")


if __name__ == "__main__":
    main()
