"""Prefixes whose keys had better stay out of a local tier, each with the evidence."""

from __future__ import annotations

import math
import re
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


def count(trace: Trace, prefix_of: dict[str, str]) -> dict[str, Counter[str]]:
    """What is known of each prefix: the number of events by operation, and of what is suspicious."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    latest: dict[tuple[str, str], float] = {}
    found: dict[tuple[str, str], float] = {}  # the reads that found a value, until a write
    reads = Counter((event.process, event.key) for event in trace.events if event.operation in READS)
    chances: defaultdict[str, float] = defaultdict(float)  # writes that would follow a read, if all were random
    for time, process, operation, key, _ in trace.events:
        known, mine = counts[prefix_of[key]], (process, key)
        known.update((operation, "all"))
        if operation in READS:
            known["again"] += time - latest.get(mine, float("-inf")) <= SOON
            latest[mine] = time
            if operation == "get":
                found[mine] = time
        elif operation in {"set", "delete"}:
            known["read, then written"] += time - found.pop(mine, float("-inf")) <= AT_ONCE
            chances[prefix_of[key]] += 1 - math.exp(-reads[mine] * AT_ONCE / trace.seconds)
    for key, size in trace.sizes.items():
        known = counts[prefix_of[key]]
        known["large"] += size > LARGE
        known["largest"] = max(known["largest"], size)
    for prefix, number in chances.items():
        counts[prefix]["by chance"] = round(number)
    return counts


def suspects(counts: dict[str, Counter[str]]) -> list[dict[str, Any]]:
    """Rows of ``prefix``, ``evidence``, and ``stays_out``: whether a stale copy would do harm, or a copy no good."""
    found = [(prefix, *_evidence(prefix, counts[prefix])) for prefix in sorted(counts)]
    return [
        {"prefix": prefix, "evidence": harm + rest, "stays_out": bool(harm)} for prefix, harm, rest in found if harm or rest
    ]


def _evidence(prefix: str, known: Counter[str]) -> tuple[list[str], list[str]]:
    """Why its keys must stay out, or are no good there; and what else is to be considered."""
    harm, rest, reads = [], [], known["get"] + known["miss"]
    if prefix in BUILT_IN:
        harm.append("a package keeps here what must not be stale; it is kept out by default")
    both, writes = known["read, then written"], known["set"] + known["delete"]
    # Half of the reads; or half of the writes, where these are not simply keys that are read all the time.
    if both >= FEWEST and (both >= reads / 2 or both >= max(writes / 2, BY_CHANCE * known["by chance"])):
        harm.append(f"read and then written by one process within a second: {both:,} of {reads:,} reads, {writes:,} writes")
    if known["incr"]:
        harm.append(f"counters: {known['incr']:,} increments")
    if re.search("(?<![a-z])lock", prefix.lower()) or (
        min(known["set"], known["delete"]) >= FEWEST and reads < known["set"]
    ):
        harm.append(f"locks, or the like: {known['set']:,} times set, {known['delete']:,} deleted, {reads:,} read")
    if reads >= FEWEST_READS and not known["again"]:
        harm.append(f"no process reads a key twice within a minute: {reads:,} reads")
    if known["large"]:
        rest.append(f"values over 16 kB: {known['large']:,} keys, the largest of {known['largest'] / 1024:,.0f} kB")
    return harm, rest
