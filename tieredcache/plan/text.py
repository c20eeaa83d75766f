"""The plan as text, and the settings to paste."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tieredcache.plan.report import AGES, MOST_STALE

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_PREFIXES: Final = 20
ALMOST_NONE: Final = 0.5  # the share of keys with known sizes below which the memory is a guess


def sentences(report: dict[str, Any]) -> list[str]:
    """The three figures that matter."""
    new = report["recommended"]
    oldest = f", at most {new['oldest_stale_seconds']:.1f} s earlier" if new["stale_share"] else ""
    hits, stale = percent(new["hit_ratio"]), percent(new["stale_share"])
    after, before = (
        f"{row['commands_per_second']:,.1f} commands in {row['round_trips_per_second']:,.1f} round trips a second"
        for row in (new, report)
    )
    setting = f"LOCAL_TIMEOUT {new['LOCAL_TIMEOUT']} and MAX_ENTRIES {new['MAX_ENTRIES']}"
    return [
        f"With {setting}, {hits} of the reads would be answered from the process's own memory.",
        f"The server would be sent {after}, instead of {before}.",
        f"{stale} of the reads would be stale: answered by a copy that another process had replaced{oldest}.",
    ]


def notes(report: dict[str, Any]) -> list[str]:
    """What the plan is based on, and what it does not know."""
    part, tiered = report["simulated"], report["tiered_alias"]
    events = f"{report['events']:,} events in {report['seconds']:,.0f} s"
    rate = f"{report['reads_per_second']:,.1f} reads a second"
    by = f"{report['processes']} process{'es' * (report['processes'] > 1)}"
    found = [f"From {events}, {rate} by {by}, run through this package's own local tier (eviction: {part['policy']})."]
    if part["events"] < report["events"]:
        found.append(f"The tables were simulated on {part['events']:,} of the events, of {part['processes']} processes.")
    if report["recommended"]["stale_share"] > MOST_STALE:
        found.append(f"More than {MOST_STALE:.0%} of the reads would be stale: the table by prefix shows whose to keep out.")
    if any(row["writes"] and row["hit_ratio"] for row in report["prefixes"]):
        found.append("Some of these keys are written: ReadYourWritesMiddleware shows visitors at once what they have saved.")
    if tiered:
        found.append(f"CACHES[{tiered!r}] is a TieredCache: its local hits never reach the server, and are missing here.")
    if report["others"]:
        found.append(f"{report['others']:,} commands on keys of another prefix or version were left out.")
    found.append(f"A process would take {_memory(report, report['recommended'])}.")
    if report["sizes_known"] < ALMOST_NONE:
        found[-1] += " That is a guess: the sizes of most values are not known, because nobody wrote them meanwhile."
    return found


def percent(share: float | None) -> str:
    """A share of all."""
    return "-" if share is None else f"{share:.1%}"


def _memory(report: dict[str, Any], row: dict[str, Any]) -> str:
    megabytes = row["megabytes_per_process"]
    return f"{'about ' * (report['sizes_known'] < ALMOST_NONE)}{megabytes:,.{0 if megabytes >= 10 else 2}f} MB"  # noqa: PLR2004


def settings(report: dict[str, Any]) -> str:
    """The recommendation, to be put below ``CACHES``."""
    new, alias, tiered = report["recommended"], json.dumps(report["alias"]), json.dumps(report["tiered_alias"])
    names = ("LOCAL_TIMEOUT", "MAX_ENTRIES", "LOCAL_TIMEOUTS")
    options = {name: new[name] for name in names if new[name]}
    if report["tiered_alias"]:
        own, prefixes = f'CACHES[{tiered}].setdefault("OPTIONS", {{}})', options.pop("LOCAL_TIMEOUTS", {})
        parts = (own, options), (f'{own}.setdefault("LOCAL_TIMEOUTS", {{}})', prefixes)
        return "\n".join(f"{place}.update({json.dumps(part, indent=4)})" for place, part in parts if part)
    tier = {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": report["remote_alias"], "OPTIONS": options}
    return f"CACHES[{json.dumps(report['remote_alias'])}] = CACHES[{alias}]\nCACHES[{alias}] = {json.dumps(tier, indent=4)}"


def tables(report: dict[str, Any]) -> dict[str, list[list[str]]]:
    """The tables by their headings; the first row of each is its head."""
    head = ["LOCAL_TIMEOUT", "hit ratio", "stale", "commands/s", "trips/s"]
    timeouts, alone = [[*head, *(f"{age} s" for age in AGES)]], [head]
    for row in report["timeouts"]:
        for target, figures in ((timeouts, row), (alone, row["without_prefetch"])):
            rates = (figures["commands_per_second"], figures["round_trips_per_second"])
            shares = (percent(figures["hit_ratio"]), percent(figures["stale_share"]))
            target.append([f"{row['local_timeout']} s", *shares, *(f"{rate:,.1f}" for rate in rates)])
        timeouts[-1] += [percent(row["stale_share_by_age"][str(age)]) for age in AGES]
    prefixes = [["prefix", "reads", "writes", "hit ratio", "stale"]]
    for row in report["prefixes"][:MOST_PREFIXES]:
        shares = (percent(row["hit_ratio"]), percent(row["stale_share"]))
        prefixes.append([shown(row["prefix"]), f"{row['reads']:,}", f"{row['writes']:,}", *shares])
    suspects = [
        [shown(row["prefix"]), "yes" if row["stays_out"] else "no", "; ".join(row["evidence"])] for row in report["suspects"]
    ]
    return {
        "By timeout; on the right, stale for no longer than": timeouts,
        "The same with PREFETCH 0": alone,
        "By entries": [
            ["MAX_ENTRIES", "hit ratio", "memory of a process"],
            *([f"{row['max_entries']:,}", percent(row["hit_ratio"]), _memory(report, row)] for row in report["entries"]),
        ],
        "By prefix, with what is recommended": prefixes,
        "Suspects": [["prefix", "kept out", "evidence"], *suspects],
    }


def shown(key: str) -> str:
    """A key as one line of text."""
    text = key.encode(errors="backslashreplace").decode()
    return text if text.isprintable() else ascii(text)[1:-1]


def lines(report: dict[str, Any]) -> Iterator[str]:
    """The whole plan."""
    yield from (*sentences(report), "", *notes(report), "", "Put this below CACHES in the settings:", "")
    yield from (f"    {line}" for line in settings(report).splitlines())
    for heading, rows in tables(report).items():
        if rows[1:]:
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            yield from ("", f"{heading}:", "")
            for row in rows:
                yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
