"""Prefixes whose keys had better stay out of a local tier, each with the evidence."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

from tieredcache.plan.events import BUILT_IN, READS
from tieredcache.plan.parser import AT_ONCE

if TYPE_CHECKING:
    from tieredcache.plan.simulate import Trace

LARGE: Final = 16 * 1024  # bytes of a value, of which each process would keep a copy
SOON: Final = 60  # seconds within which a process reads a key again that is worth keeping
FEWEST: Final = 3  # occurrences: one may be chance
FEWEST_READS: Final = 20  # of which not one comes again
BY_CHANCE: Final = 3  # times as often as by chance


def suspects(trace: Trace, prefix_of: dict[str, str]) -> list[dict[str, Any]]:
    """Rows of ``prefix``, ``evidence``, and ``stays_out``: whether a stale copy would do harm, or a copy no good."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    latest: dict[tuple[str, str], float] = {}
    found: dict[tuple[str, str], float] = {}  # the reads that found a value, until a write
    reads = Counter((event.process, event.key) for event in trace.events if event.operation in READS)
    chances: defaultdict[str, float] = defaultdict(
        float
    )  # the writes before which there would be a read, if these were random
    for time, process, operation, key, _ in trace.events:
        count, mine = counts[prefix_of[key]], (process, key)
        count[operation] += 1
        if operation in READS:
            count["again"] += time - latest.get(mine, float("-inf")) <= SOON
            latest[mine] = time
            if operation == "get":
                found[mine] = time
        elif operation in {"set", "delete"}:
            count["read, then written"] += time - found.pop(mine, float("-inf")) <= AT_ONCE
            chances[prefix_of[key]] += 1 - math.exp(-reads[mine] * AT_ONCE / trace.seconds)
    for key, size in trace.sizes.items():
        count = counts[prefix_of[key]]
        count["large"] += size > LARGE
        count["largest"] = max(count["largest"], size)
    rows = []
    for prefix, count in sorted(counts.items()):
        harm, rest = _evidence(prefix, count, chances[prefix])
        if harm or rest:
            rows.append({"prefix": prefix, "evidence": harm + rest, "stays_out": bool(harm)})
    return rows


def _evidence(prefix: str, count: Counter[str], by_chance: float) -> tuple[list[str], list[str]]:
    """Why its keys must stay out, or are no good there; and what else is to be considered."""
    harm, rest, reads = [], [], count["get"] + count["miss"]
    if prefix in BUILT_IN:
        harm.append("a package keeps here what must not be stale; it is kept out by default")
    both, writes = count["read, then written"], count["set"] + count["delete"]
    # Half of the reads; or half of the writes, where these are not simply keys that are read all the time.
    if both >= FEWEST and (both >= reads / 2 or both >= max(writes / 2, BY_CHANCE * by_chance)):
        harm.append(f"read and then written by one process within a second: {both:,} of {reads:,} reads, {writes:,} writes")
    if count["incr"]:
        harm.append(f"counters: {count['incr']:,} increments")
    if "lock" in prefix.lower() or (min(count["set"], count["delete"]) >= FEWEST and reads < count["set"]):
        harm.append(f"locks, or the like: {count['set']:,} times set, {count['delete']:,} deleted, {reads:,} read")
    if reads >= FEWEST_READS and not count["again"]:
        harm.append(f"no process reads a key twice within a minute: {reads:,} reads")
    if count["large"]:
        rest.append(f"values over 16 kB: {count['large']:,} keys, the largest of {count['largest'] / 1024:,.0f} kB")
    return harm, rest
