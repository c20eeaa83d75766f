"""Hit ratios by trace and bytes, a picture of ``docs/performance.md``: ``python -m benchmarks.figures.eviction``, 5 minutes.

Each read is a ``cache.get``: of a ``TieredCache`` over a remote that costs nothing; of an ``LRUCache``, which is exact LRU,
and of moka's TinyLFU, both with a ``set`` after each miss. The keys are drawn from the same seed each time. Python's hashes
of strings, by which the tier remembers keys, are not: the last digit may differ.
"""

from __future__ import annotations

import heapq
import itertools
import random
import sys
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any

from benchmarks.figures.draw import picture
from benchmarks.figures.page import DOCS
from benchmarks.micro.caches import ECHO, LRU, Echo, over_echo, set_up
from benchmarks.micro.command import options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

KEYS, READS, ENTRIES = 100_000, 300_000, 500
SCAN = 1_000
SHARES = (20, 10, 4)
BYTES = (100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000)


def zipf(exponent: float, seed: int = 1) -> list[int]:
    """Ranks, drawn by Zipf's law."""
    weights = list(itertools.accumulate(rank**-exponent for rank in range(1, KEYS + 1)))
    return random.Random(seed).choices(range(KEYS), cum_weights=weights, k=READS)


def scans() -> Iterator[int]:
    """After 4,000 reads by Zipf's law come 1,000 keys that are read once."""
    for number, key in enumerate(zipf(1.0)):
        yield KEYS + number if number % 5_000 < SCAN else key


def bursts() -> Iterator[int]:
    """Half of all reads are of keys that are read eight times within a moment, and never again."""
    draw, regular, pending = random.Random(2), iter(zipf(1.0)), []
    for number in range(READS):
        if draw.random() < 1 / 13:
            pending += [(number + draw.randrange(40), KEYS + number) for _ in range(8)]
            heapq.heapify(pending)
        yield heapq.heappop(pending)[1] if pending and pending[0][0] <= number else next(regular)


def drift(reads: int) -> Iterator[int]:
    """After so many reads the most popular key is read no more, and each of the others moves up a rank."""
    return (key + number // reads for number, key in enumerate(zipf(1.0)))


TRACES: dict[str, Callable[[], Iterable[int]]] = {
    "Zipf, exponent 0.8": lambda: zipf(0.8),
    "Zipf, exponent 1.0": lambda: zipf(1.0),
    "with scans": scans,
    "with bursts": bursts,
    "drifting, a rank in 100 reads": lambda: drift(100),
    "drifting, a rank in 10 reads": lambda: drift(10),
}


def of_tier(cache: Any, keys: list[str]) -> float:
    """The share of hits, as the cache counts them."""
    cache.local.clear()
    before = cache.stats()
    for key in keys:
        cache.get(key)
    return float(cache.stats().hits - before.hits) / len(keys)


def of_peer(cache: Any, keys: list[str]) -> float:
    """The share of hits of a cache that is filled by its user."""
    hits, values = 0, Echo.values
    for key in keys:
        if cache.get(key) is None:
            cache.set(key, values.get(key))
        else:
            hits += 1
    return hits / len(keys)


class Remote(dict[str, Any]):
    """Has every key; the values are of many sizes, 300 bytes in the middle."""

    sizes = tuple(int(300 * 2 ** draw(0, 1.5)) for draw in [random.Random(3).gauss] * 1009)

    def get(self, key: str, _: Any = None) -> Any:
        return bytes(self.sizes[zlib.crc32(key.encode()) % 1009])


def compared(tier: Any, lru: Any, entries: int, keys: list[str]) -> dict[str, float]:
    """The hit ratio of each, with room for so many entries."""
    import moka_py

    lru.clear()
    return {
        "TieredCache": of_tier(tier, keys),
        "exact LRU": of_peer(lru, keys),
        "moka, TinyLFU": of_peer(moka_py.Moka(entries, policy="tiny_lfu"), keys),
    }


def by_trace(caches: Any, reads: int) -> dict[str, dict[str, float]]:
    """The hit ratio of each, with room for 500 entries."""
    found = {}
    for name, draw in TRACES.items():
        keys = [f"key{number}" for number in itertools.islice(draw(), reads)]
        found[name] = compared(caches["entries"], caches["lru"], ENTRIES, keys)
        print(name, found[name], flush=True)
    return found


def of_trace(path: str) -> int:
    """Print the hit ratios of what one process of a recorded trace has read, with room for shares of its keys."""
    from tieredcache.plan.events import READS, read_trace

    events = [event for event in read_trace([path]) if event.operation in READS]
    [(process, _)] = Counter(event.process for event in events).most_common(1)
    keys = [event.key for event in events if event.process == process]
    sizes = {share: len(set(keys)) // share for share in SHARES}
    lru = {"BACKEND": LRU, "TIMEOUT": None}
    configured: dict[str, Any] = {"default": ECHO}
    for size in sizes.values():
        configured |= {f"lru {size}": {**lru, "LOCATION": f"lru {size}", "OPTIONS": {"MAX_ENTRIES": size}}}
        configured |= over_echo(f"tier {size}", LOCAL_TIMEOUT=1e9, MAX_ENTRIES=size)
    caches = set_up(configured)
    Echo.values = dict.fromkeys(keys, 1)
    print(f"{len(keys):,} reads of {len(set(keys)):,} keys by one process")
    behind = False
    for share, size in sizes.items():
        found = compared(caches[f"tier {size}"], caches[f"lru {size}"], size, keys)
        print(f"room for one key in {share}", *(f"{policy} {hits:.3f}" for policy, hits in found.items()), sep="  ")
        behind = behind or found["TieredCache"] < max(found.values()) - 0.005
    return int(behind)


def by_bytes(caches: Any, reads: int) -> dict[int, dict[str, float]]:
    """The hit ratio of both backends, with room for so many bytes."""
    Echo.values = Remote()
    keys = [f"key{number}" for number in zipf(1.0)[:reads]]
    found = {}
    for size in BYTES:
        found[size] = {
            "TieredCache": of_tier(caches[f"bytes {size}"], keys),
            "exact LRU": of_peer(caches[f"lru {size}"], keys),
        }
        print(f"{size:,} bytes", found[size], flush=True)
    return found


def draw(traces: dict[str, dict[str, float]], sizes: dict[int, dict[str, float]]) -> None:
    """Two panels: by trace and by bytes."""
    with picture(DOCS / "eviction.svg", 1, 2, figsize=(9, 3.8), width_ratios=(3, 2)) as (_, (left, right)):
        colours = {"TieredCache": "#0b6e4f", "exact LRU": "#d98e04", "moka, TinyLFU": "#8a8f98"}
        for offset, (name, colour) in enumerate(colours.items()):
            places = [place + 0.27 * (offset - 1) for place in range(len(traces))]
            left.barh(places, [100 * found[name] for found in traces.values()], height=0.25, color=colour, label=name)
        left.set_yticks(range(len(traces)), list(traces))
        left.invert_yaxis()
        left.set_title(f"by trace, {ENTRIES} entries", loc="left", fontsize=10)
        left.set_xlabel("% of reads that are hits", fontsize=8)
        left.legend(fontsize=8, frameon=False)
        for name in ("TieredCache", "exact LRU"):
            shares = [100 * found[name] for found in sizes.values()]
            right.plot([size / 1e6 for size in sizes], shares, "o-", color=colours[name], markersize=4)
        right.set_xscale("log")
        right.xaxis.set_major_formatter("{x:g}")
        right.set_ylim(0, 100)
        right.set_title("by MAX_BYTES, Zipf, exponent 1.0", loc="left", fontsize=10)
        right.set_xlabel("megabytes", fontsize=8)
        for panel in (left, right):
            panel.tick_params(labelsize=8)


def main() -> int:
    """Print the hit ratios and draw the picture; 1 where exact LRU or TinyLFU is better by more than 0.005."""
    parser = options(__doc__)
    parser.add_argument("--short", action="store_true", help="a tenth of the reads: not judged, not drawn; half a minute")
    parser.add_argument("--trace", metavar="FILE", help="a recorded trace instead, such as `make plan-check` records")
    arguments = parser.parse_args()
    if arguments.trace:
        return of_trace(arguments.trace)
    short = arguments.short
    lru = {"BACKEND": LRU, "TIMEOUT": None}
    configured: dict[str, Any] = {
        "default": ECHO,
        "lru": {**lru, "OPTIONS": {"MAX_ENTRIES": ENTRIES}},
        **over_echo("entries", LOCAL_TIMEOUT=1e9, MAX_ENTRIES=ENTRIES),
    }
    for size in BYTES:
        room = {"MAX_BYTES": size, "MAX_ENTRIES": KEYS}
        configured |= {f"lru {size}": {**lru, "LOCATION": f"lru {size}", "OPTIONS": room}}
        configured |= over_echo(f"bytes {size}", LOCAL_TIMEOUT=1e9, **room)
    caches = set_up(configured)
    Echo.values = {f"key{number}": 1 for number in range(KEYS + READS)}
    reads = READS // 10 if short else READS
    traces, sizes = by_trace(caches, reads), by_bytes(caches, reads)
    for name, found in traces.items():
        print(name, *(f"{policy} {share:.3f}" for policy, share in found.items()), sep="  ")
    if not short:
        draw(traces, sizes)
    return int(not short and any(found["TieredCache"] < max(found.values()) - 0.005 for found in traces.values()))


if __name__ == "__main__":
    sys.exit(main())
