"""The plan as text, with the settings to paste; and as one HTML page, which fetches nothing."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any, Final

from tieredcache.plan.report import AGES, MOST_STALE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    by, some = (f"{number} process{'es' * (number > 1)}" for number in (report["processes"], part["processes"]))
    found = [f"From {events}, {rate} by {by}, run through this package's own local tier (eviction: {part['policy']})."]
    if part["events"] < report["events"]:
        found.append(f"The tables were simulated on {part['events']:,} of the events, of {some}.")
    if report["recommended"]["stale_share"] > MOST_STALE:
        found.append(f"More than {MOST_STALE:.0%} of the reads would be stale: the table by prefix shows whose to keep out.")
    if any(row["writes"] and row["hit_ratio"] for row in report["prefixes"]):
        found.append("Some of these keys are written: ReadYourWritesMiddleware shows visitors at once what they have saved.")
    if tiered:
        found.append(f"CACHES[{tiered!r}] is a TieredCache: MONITOR does not show its local hits.")
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


# --- the page ---

MOST_BARS: Final = 10
_STYLE: Final = """
:root { color-scheme: light dark; --page: #fff; --ink: #1c1c1a; --soft: #62615c; --line: #deddd6; --box: #f6f5f1;
  --a: #2a78d6; --b: #eb6834; }
@media (prefers-color-scheme: dark) { :root { --page: #191918; --ink: #f0efea; --soft: #a9a8a1; --line: #3a3a37;
  --box: #232321; --a: #5b9df0; --b: #f08a5d; } }
body { background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 960px;
  padding: 24px 16px; }
h1 { font-size: 26px; } h2 { font-size: 18px; margin: 32px 0 8px; }
.lead { font-size: 18px; } .soft, figcaption span, th { color: var(--soft); }
pre { background: var(--box); border-radius: 6px; overflow-x: auto; padding: 12px 16px; }
.pictures { display: grid; gap: 24px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); }
figure { margin: 0; } figcaption { font-weight: 600; } figcaption span { display: block; font-weight: 400; }
dl { align-items: center; color: var(--soft); display: grid; font-size: 13px; gap: 8px; grid-template-columns: 120px 1fr; }
dt { overflow: hidden; text-align: right; text-overflow: ellipsis; white-space: nowrap; }
dd { line-height: 17px; margin: 0; padding-right: 60px; white-space: nowrap; }
.a, .b { border-radius: 2px; display: inline-block; height: 14px; margin-right: 6px; vertical-align: middle; }
.a { background: var(--a); } .b { background: var(--b); } .a, .b { print-color-adjust: exact; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: 4px 14px 4px 0; text-align: left; vertical-align: top; }
th { font-weight: 500; white-space: nowrap; } td:first-child { overflow-wrap: anywhere; }
"""


def page(report: dict[str, Any]) -> str:
    """The page."""
    timeouts = [(f"{row['local_timeout']} s", row) for row in report["timeouts"]]
    prefixes = [row for row in report["prefixes"][:MOST_BARS] if row["reads"]]
    pictures = [
        _bars(
            "Hit ratio by LOCAL_TIMEOUT",
            [(label, [row["hit_ratio"], row["without_prefetch"]["hit_ratio"]]) for label, row in timeouts],
            percent,
            ("with PREFETCH", "PREFETCH 0"),
        ),
        _bars("Stale reads by LOCAL_TIMEOUT", [(label, [row["stale_share"]]) for label, row in timeouts], percent),
        _bars(
            "Megabytes of a process by MAX_ENTRIES",
            [(f"{row['max_entries']:,}", [row["megabytes_per_process"]]) for row in report["entries"]],
            lambda value: f"{value:.3g}",
        ),
        _bars(
            "Reads by prefix",
            [(shown(row["prefix"]), [row["reads"], row["reads"] * (1 - row["hit_ratio"])]) for row in prefixes],
            lambda value: f"{value:,.0f}",
            ("all", "of these, by the server"),
        ),
    ]
    found = "".join(f"<h2>{escape(heading)}</h2>{_table(rows)}" for heading, rows in tables(report).items() if rows[1:])
    return (
        "<!doctype html>\n<html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>What would a local tier save?</title><style>{_STYLE}</style>\n<h1>What would a local tier save?</h1>"
        f"<p class=lead>{'<p class=lead>'.join(map(escape, sentences(report)))}"
        f"<p class=soft>{'<br>'.join(map(escape, notes(report)))}"
        f"<h2>Put this below CACHES in the settings</h2><pre>{escape(settings(report))}</pre>"
        f"<h2>Pictures</h2><div class=pictures>{''.join(pictures)}</div>{found}</html>\n"
    )


def _table(rows: list[list[str]]) -> str:
    head, *rest = rows
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rest)
    return f"<div class=scroll><table><tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>{body}</table></div>"


def _bars(
    caption: str, groups: list[tuple[str, list[float]]], text: Callable[[float], str], names: tuple[str, ...] = ()
) -> str:
    """Lying bars in groups, which have a label, each with its value; the longest is the greatest."""
    most = max((value for _, values in groups for value in values), default=0) or 1
    rows = ""
    for label, values in groups:
        bars = (f"{_bar(color, f'{value / most:.1%}')}{text(value)}" for color, value in zip("ab", values, strict=False))
        rows += f"<dt title='{escape(label)}'>{escape(label)}<dd>{'<br>'.join(bars)}"
    legend = "".join(f"{_bar(color, '10px')}{escape(name)} &ensp; " for color, name in zip("ab", names, strict=False))
    return f"<figure><figcaption>{escape(caption)}<span>{legend}</span></figcaption><dl>{rows}</dl></figure>"


def _bar(color: str, width: str) -> str:
    return f"<span class={color} style='width: {width}'></span>"
