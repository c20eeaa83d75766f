"""Hit ratios by timeout and capacity, in ``docs/performance.md``: ``python -m benchmarks.figures.sizing``, half a minute.

Lines and tables are computed; dots are runs of the package over a remote that costs nothing, with a clock that is moved.
"""

from __future__ import annotations

import json
import math
import random
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.figures.draw import picture, plain
from benchmarks.figures.page import DOCS, PERFORMANCE, table, write
from benchmarks.micro.caches import ECHO, Echo, moving_clock, over_echo, set_up
from benchmarks.micro.command import options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

COMMAND = "python -m benchmarks.figures.sizing"
KEYS = 10_000
EXPONENTS = (0.7, 0.9, 1.1)
TIMEOUTS = (1, 5, 60)
RATES = (0.01, 0.1, 1, 10)
CAPACITIES = (100, 300, 1_000, 3_000, 10_000)


def hits_by_timeout(rate: float, timeout: float, jitter: float = 0) -> float:
    """The share of hits of a key that is read ``rate`` times a second, at random, and served ``timeout`` seconds.

    A copy is made by a read that misses, serves ``rate * timeout`` more on average, and then the next one misses. A jitter
    shortens the time by half of itself on average.
    """
    served = rate * timeout * (1 - jitter / 2)
    return served / (1 + served)


def popularity(exponent: float, keys: int = KEYS) -> list[float]:
    """The share of reads that each key gets, the most popular first: Zipf's law."""
    weights = [rank**-exponent for rank in range(1, keys + 1)]
    total = sum(weights)
    return [weight / total for weight in weights]


def hits_by_capacity(shares: Sequence[float], capacity: int) -> float:
    """The share of hits of an LRU of ``capacity`` entries, where each read draws its key by ``shares``, on its own.

    Che's approximation: a key is still there if it was read within the last ``window`` reads, where the window is as long
    as it takes to read ``capacity`` different keys.
    """
    if capacity >= len(shares):
        return 1.0
    low, high = 0.0, 1.0
    while _read_within(shares, high) < capacity:
        high *= 2
    for _ in range(60):  # halved so often, the window is exact
        window = (low + high) / 2
        low, high = (window, high) if _read_within(shares, window) < capacity else (low, window)
    return sum(share * -math.expm1(-share * low) for share in shares)


def _read_within(shares: Sequence[float], window: float) -> float:
    return sum(-math.expm1(-share * window) for share in shares)


def measured_by_timeout(cache: Any, rate: float, move: Callable[[float], None], reads: int = 20_000) -> float:
    """The same share, counted: ``move`` moves the clock of ``cache`` by so many seconds."""
    draw = random.Random(1)
    before = cache.stats()
    for _ in range(reads):
        move(draw.expovariate(rate))
        cache.get("key")
    return (cache.stats().hits - before.hits) / reads


def measured_by_capacity(cache: Any, shares: Sequence[float], reads: int = 50_000) -> float:
    """The share of hits of ``cache``, counted once every key has been read, and as many as are counted besides."""
    draw = random.Random(1)
    keys = [f"key{number}" for number in range(len(shares))]
    for key in [*keys, *draw.choices(keys, shares, k=reads)]:
        cache.get(key)
    before = cache.stats()
    for key in draw.choices(keys, shares, k=reads):
        cache.get(key)
    return (cache.stats().hits - before.hits) / reads


def bytes_of_an_entry() -> int:
    """What was measured, on the Python where it is most: ``docs/performance``."""
    runs = [json.loads(path.read_text())["comparisons"] for path in (DOCS / "performance").glob("python*.json")]
    return max(found["bytes"]["TieredCache"] for run in runs for found in run if "bytes" in found)


def figures() -> str:
    """What the page says."""
    timeouts = table(
        ["reads of the key a second, by one worker", *(f"`LOCAL_TIMEOUT` {timeout}" for timeout in TIMEOUTS)],
        [[f"{rate:g}", *(f"{hits_by_timeout(rate, timeout):.1%}" for timeout in TIMEOUTS)] for rate in RATES],
    )
    shares = {exponent: popularity(exponent) for exponent in EXPONENTS}
    capacities = table(
        [f"`MAX_ENTRIES`, of {KEYS:,} keys", *(f"exponent {exponent}" for exponent in EXPONENTS)],
        [
            [f"{capacity:,}", *(f"{hits_by_capacity(shares[exponent], capacity):.0%}" for exponent in EXPONENTS)]
            for capacity in CAPACITIES
        ],
    )
    memory = (
        f"An entry of the local tier takes {bytes_of_an_entry()} bytes besides its key and its value "
        f"([measured](#figures), on the Python where it takes most)."
    )
    return "\n\n".join([timeouts, capacities, memory])


def draw(path: Path, dots: dict[str, dict[Any, dict[float, float]]]) -> None:
    """Two panels: by timeout and by capacity."""
    with picture(path, 1, 2, figsize=(9, 3.8), sharey=True) as (figure, (left, right)):
        colours = ("#5bb59a", "#0b6e4f", "#d98e04")
        rates = [10 ** (step / 20) for step in range(-50, 31)]
        for timeout, colour in zip(TIMEOUTS, colours, strict=True):
            left.plot(rates, [100 * hits_by_timeout(rate, timeout) for rate in rates], color=colour, label=f"{timeout} s")
            counted = dots["timeout"][timeout]
            left.plot(counted.keys(), [100 * share for share in counted.values()], "o", color=colour, markersize=4)
        left.set_title("by LOCAL_TIMEOUT", loc="left", fontsize=10)
        left.set_xlabel("reads of a key a second, by one worker", fontsize=8)
        left.set_ylabel("% of reads that are hits", fontsize=8)
        capacities = [round(10 ** (step / 10)) for step in range(10, 41)]
        for exponent, colour in zip(EXPONENTS, colours, strict=True):
            shares = popularity(exponent)
            right.plot(
                capacities,
                [100 * hits_by_capacity(shares, capacity) for capacity in capacities],
                color=colour,
                label=f"exponent {exponent}",
            )
            counted = dots["capacity"][exponent]
            right.plot(counted.keys(), [100 * share for share in counted.values()], "o", color=colour, markersize=4)
        right.set_title(f"by MAX_ENTRIES, {KEYS:,} keys", loc="left", fontsize=10)
        right.set_xlabel("entries", fontsize=8)
        for panel in (left, right):
            panel.set_xscale("log")
            plain(panel.xaxis)
            panel.set_ylim(0, 103)
            panel.tick_params(labelsize=8)
            panel.grid(axis="y", color="#e5e7ea", linewidth=0.6)
            panel.legend(fontsize=8, frameon=False)
        figure.supxlabel("lines: computed; dots: counted in runs of the package", fontsize=8, color="#8a8f98")


def count_dots() -> dict[str, dict[Any, dict[float, float]]]:
    """The runs."""
    aliases = {timeout: f"timeout {timeout}" for timeout in TIMEOUTS}
    sizes = {capacity: f"capacity {capacity}" for capacity in CAPACITIES}
    configured: dict[str, Any] = {"default": ECHO}
    for timeout, alias in aliases.items():
        configured |= over_echo(alias, LOCAL_TIMEOUT=timeout)
    for exponent in EXPONENTS:
        for capacity, alias in sizes.items():
            configured |= over_echo(f"{alias} {exponent}", LOCAL_TIMEOUT=1e9, MAX_ENTRIES=capacity)
    caches = set_up(configured)
    Echo.values = {"key": 1} | {f"key{number}": number for number in range(KEYS)}
    for alias in configured:
        caches[alias]
    move = moving_clock(float)  # which says 0.0 each time: what a run takes is no part of it
    by_timeout = {
        timeout: {rate: measured_by_timeout(caches[alias], rate, move) for rate in RATES}
        for timeout, alias in aliases.items()
    }
    by_capacity = {
        exponent: {
            capacity: measured_by_capacity(caches[f"{alias} {exponent}"], popularity(exponent))
            for capacity, alias in sizes.items()
        }
        for exponent in EXPONENTS
    }
    return {"timeout": by_timeout, "capacity": by_capacity}


def main() -> int:
    """Write or check the page; draw the picture."""
    parser = options(__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where the page says something else")
    check = parser.parse_args().check
    changed = write(PERFORMANCE, COMMAND, figures(), check=check)
    print(f"{PERFORMANCE.name} {'says something else' if changed and check else 'says what is computed'}")
    if not check:
        draw(DOCS / "sizing.svg", count_dots())
    return int(changed and check)


if __name__ == "__main__":
    sys.exit(main())
