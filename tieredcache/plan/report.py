"""What the trace comes to: the rows of the tables, the prefixes, the suspects and the settings to paste."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from copy import copy
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from tieredcache.config import TieredOptions
from tieredcache.plan.events import BUILT_IN, READS
from tieredcache.plan.monitor import AT_ONCE
from tieredcache.plan.simulate import POLICY, simulate

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieredcache.plan.simulate import Outcome, Trace

TIMEOUTS: Final = (1, 2, 5, 10, 30, 60)
ENTRIES: Final = (100, 300, 1_000, 3_000, 10_000)
AGES: Final = TIMEOUTS
ROWS_EVENTS: Final = 100_000
"""Events that a row is simulated on: there are eleven, each with and without prefetching."""
MOST_STALE: Final = 0.01  # the share of stale reads that a recommended timeout stays below, where one does
NEARLY: Final = 0.97  # of the best hit ratio: what is worth no longer timeout and no larger tier
LONGER: Final = 60  # seconds that may be served what was not written in all the trace
OFTEN: Final = 0.01  # of all reads
# Of suspects:
LARGE: Final = 16 * 1024  # bytes of a value, of which each process would keep a copy
SOON: Final = 60  # seconds within which a process reads a key again that is worth keeping
FEWEST: Final = 3  # occurrences: one may be chance
FEWEST_READS: Final = 20  # of which not one comes again
BY_CHANCE: Final = 3  # times as often as by chance


def build(trace: Trace, prefix_of: dict[str, str], progress: Callable[[str], None]) -> dict[str, Any]:
    """All that the plan says; the names are those of the JSON."""
    counts = count_events(trace, prefix_of)
    found = suspects(counts)
    stay_out = {row["prefix"] for row in found if row["stays_out"]}
    kept_out = dict.fromkeys(stay_out.union(BUILT_IN), 0.0)
    options = _with(TieredOptions(), kept_out)
    part, number_of = _part(trace), count(1)

    def row(**changes: Any) -> dict[str, Any]:
        progress(f"simulating setting {next(number_of)} of {len(TIMEOUTS) + len(ENTRIES)} ...")
        with_prefetch, alone = (
            figures(part, simulate(part, replace(options, **changes, prefetch=keys))) for keys in (options.prefetch, 0)
        )
        return changes | with_prefetch | {"without_prefetch": alone}

    timeouts = [row(local_timeout=seconds, max_entries=max(ENTRIES)) for seconds in TIMEOUTS]
    timeout = _choose(timeouts, "local_timeout")
    entries = [row(local_timeout=timeout, max_entries=number) for number in ENTRIES]
    number = max(_choose(entries, "max_entries"), options.max_entries)  # the default: a trace shows few of a site's keys
    longer = dict.fromkeys(_longer(trace, counts, timeout) - kept_out.keys(), LONGER)
    progress("simulating what is recommended ...")
    outcome = simulate(trace, _with(replace(options, local_timeout=timeout, max_entries=number), kept_out | longer))
    return {
        "seconds": trace.seconds,
        "events": len(trace.events),
        "processes": len(trace.processes),
        "reads_per_second": sum(known["reads"] for known in counts.values()) / trace.seconds,
        "commands_per_second": trace.trips / trace.seconds,
        "round_trips_per_second": trace.trips / trace.seconds,
        "sizes_known": sum(key in trace.sizes for key in prefix_of) / len(prefix_of),
        "simulated": {"events": sum(map(len, part.processes.values())), "processes": len(part.processes), "policy": POLICY},
        "recommended": {
            "LOCAL_TIMEOUT": timeout,
            "MAX_ENTRIES": number,
            "LOCAL_TIMEOUTS": dict.fromkeys(sorted(stay_out.difference(BUILT_IN)), 0) | dict(sorted(longer.items())),
            **figures(trace, outcome),
        },
        "timeouts": timeouts,
        "entries": entries,
        "prefixes": _prefixes(counts, prefix_of, outcome),
        "suspects": found,
    }


def _with(options: TieredOptions, timeouts: dict[str, float]) -> TieredOptions:
    return replace(options, local_timeouts=tuple(sorted(timeouts.items(), key=lambda item: -len(item[0]))))


def figures(trace: Trace, outcome: Outcome) -> dict[str, Any]:
    """The figures of one setting. Shares are of all reads, rates are a second, over all processes."""
    ages, reads = outcome.ages, outcome.reads or 1
    rate = len(trace.events) / trace.seconds / outcome.events  # of a part, as if of all
    return {
        "hit_ratio": outcome.hits / reads,
        "commands_per_second": outcome.commands * rate,
        "round_trips_per_second": outcome.trips * rate,
        "megabytes_per_process": outcome.bytes / 1e6,
        "stale_share": len(ages) / reads,
        "stale_share_by_age": {str(age): bisect_left(ages, age) / reads for age in AGES},
        "oldest_stale_seconds": ages[-1] if ages else 0,
    }


def _part(trace: Trace) -> Trace:
    """Whole processes, as many as make ``ROWS_EVENTS`` events, with all writes; of one that is larger, its beginning."""
    part, left = copy(trace), ROWS_EVENTS
    part.processes = {}
    for process, events in trace.processes.items():
        if len(events) <= left or not part.processes:
            part.processes[process] = events[:left]
            left -= len(part.processes[process])
    return part


def _choose(rows: list[dict[str, Any]], name: str) -> Any:
    """The least that has nearly the best hit ratio of those with few stale reads."""
    few = [row for row in rows if row["stale_share"] <= MOST_STALE] or rows[:1]
    best = max(row["hit_ratio"] for row in few)
    return next(row[name] for row in few if row["hit_ratio"] >= NEARLY * best)


def _longer(trace: Trace, counts: dict[str, Counter[str]], timeout: float) -> set[str]:
    """The prefixes that were read often, and not written in a trace that is long enough to tell."""
    if trace.seconds < LONGER or timeout >= LONGER:
        return set()
    often = OFTEN * sum(known["reads"] for known in counts.values())
    return {prefix for prefix, known in counts.items() if known["reads"] >= often and not known["writes"]}


def _prefixes(counts: dict[str, Counter[str]], prefix_of: dict[str, str], outcome: Outcome) -> list[dict[str, Any]]:
    """What is recommended, by prefix, those with the most reads first."""
    missed, stale = Counter[str](), Counter[str]()
    for key, prefix in prefix_of.items():
        missed[prefix] += outcome.missed[key]
        stale[prefix] += outcome.stale[key]
    rows = [
        {
            "prefix": prefix,
            "reads": (reads := known["reads"]),
            "writes": known["writes"],
            "hit_ratio": 1 - missed[prefix] / reads if reads else None,
            "stale_share": stale[prefix] / reads if reads else None,
        }
        for prefix, known in counts.items()
    ]
    return sorted(rows, key=lambda row: (-row["reads"], -row["writes"], row["prefix"]))


def count_events(trace: Trace, prefix_of: dict[str, str]) -> dict[str, Counter[str]]:
    """What is known of each prefix: the number of events by operation, and of what is suspicious."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    latest: dict[tuple[str, str], float] = {}
    found: dict[tuple[str, str], float] = {}  # the reads that found a value, until a write
    reads = Counter((event.process, event.key) for event in trace.events if event.operation in READS)
    chances: defaultdict[str, float] = defaultdict(float)  # writes that would follow a read, if all were random
    for time, process, operation, key, _ in trace.events:
        known, mine = counts[prefix_of[key]], (process, key)
        known[operation] += 1
        known["reads" if operation in READS else "writes"] += 1
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
    harm, rest, reads = [], [], known["reads"]
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
