"""The plan as one HTML page, which fetches nothing."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

from tieredcache.plan.text import notes, percent, sentences, settings, shown, tables

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    # The label of a group of bars, and their values.
    Group = tuple[str, Sequence[float]]

WIDTH: Final = 440
LEFT: Final = 130  # of the bars; the labels stand before them
RIGHT: Final = 60  # of them, for their values
BAR: Final = 16
MOST_BARS: Final = 10
LONGEST: Final = 17  # letters of a label
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
svg { display: block; height: auto; width: 100%; }
svg text { fill: var(--soft); font-size: 12px; } .a { fill: var(--a); } .b { fill: var(--b); }
.scroll { overflow-x: auto; }
i { border-radius: 2px; display: inline-block; height: 10px; margin: 0 6px 0 0; width: 10px; }
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


def _bars(caption: str, groups: list[Group], text: Callable[[float], str], names: tuple[str, ...] = ()) -> str:
    """Lying bars in groups, each with its value; the longest is the greatest."""
    most = max((value for _, values in groups for value in values), default=0) or 1
    shapes, y = [], 4
    for label, values in groups:
        short = label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"
        middle = y + BAR * len(values) / 2 + 4
        shapes.append(f"<text x={LEFT - 8} y={middle} text-anchor=end>{escape(short)}<title>{escape(label)}</title></text>")
        for color, value in zip("ab", values, strict=False):
            width = value / most * (WIDTH - LEFT - RIGHT)
            shapes.append(f"<rect class={color} x={LEFT} y={y} width={width:.1f} height={BAR - 2} rx=2 />")
            shapes.append(f"<text x={LEFT + width + 6:.1f} y={y + 11}>{text(value)}</text>")
            y += BAR
        y += 8
    legend = "".join(
        f"<i style='background: var(--{color})'></i>{escape(name)} &ensp; " for color, name in zip("ab", names, strict=False)
    )
    return (
        f"<figure><figcaption>{escape(caption)}<span>{legend}</span></figcaption>"
        f"<svg viewBox='0 0 {WIDTH} {y}' role=img aria-label='{escape(caption)}'>{''.join(shapes)}</svg></figure>"
    )
