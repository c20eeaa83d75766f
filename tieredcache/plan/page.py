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
HEIGHT: Final = 200
LEFT: Final = 52
TOP: Final = 14
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
svg { display: block; height: auto; width: 100%; }
svg text { fill: var(--soft); font-size: 12px; } .a { fill: var(--a); } .b { fill: var(--b); }
svg line { stroke: var(--line); } .scroll { overflow-x: auto; }
i { border-radius: 2px; display: inline-block; height: 10px; margin: 0 6px 0 0; width: 10px; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: 4px 14px 4px 0; text-align: left; vertical-align: top; }
th { font-weight: 500; white-space: nowrap; } td:first-child { overflow-wrap: anywhere; }
"""


def page(report: dict[str, Any]) -> str:
    """The page."""
    rows, prefixes = report["timeouts"], report["prefixes"][:MOST_BARS]
    by_timeout = [(f"{row['local_timeout']} s", row) for row in rows]
    pictures = [
        _bars(
            "Hit ratio by LOCAL_TIMEOUT",
            [(label, [row["hit_ratio"], row["without_prefetch"]["hit_ratio"]]) for label, row in by_timeout],
            percent,
            ("with PREFETCH", "PREFETCH 0"),
        ),
        _bars("Stale reads by LOCAL_TIMEOUT", [(label, [row["stale_share"]]) for label, row in by_timeout], percent),
        _bars(
            "Megabytes of a process by MAX_ENTRIES",
            [(f"{row['max_entries']:,}", [row["megabytes_per_process"]]) for row in report["entries"]],
            lambda value: f"{value:.3g}",
        ),
        _lying(
            "Reads by prefix",
            [(row["prefix"], [row["reads"] * (row["hit_ratio"] or 0), row["reads"]]) for row in prefixes if row["reads"]],
            ("answered locally", "by the server"),
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


def _figure(caption: str, names: tuple[str, ...], height: float, shapes: str) -> str:
    legend = "".join(
        f"<i style='background: var(--{color})'></i>{escape(name)} &ensp; " for color, name in zip("ab", names, strict=False)
    )
    return (
        f"<figure><figcaption>{escape(caption)}<span>{legend}</span></figcaption>"
        f"<svg viewBox='0 0 {WIDTH} {height:.0f}' role=img aria-label='{escape(caption)}'>{shapes}</svg></figure>"
    )


def _bars(caption: str, groups: list[Group], text: Callable[[float], str], names: tuple[str, ...] = ()) -> str:
    """Standing bars, side by side in groups; the axis ends at the greatest value."""
    most = max((value for _, values in groups for value in values), default=0) or 1
    foot = HEIGHT - 24
    shapes = []
    for share in (0, 0.5, 1):
        y = foot - share * (foot - TOP)
        shapes.append(f"<line x1={LEFT} x2={WIDTH} y1={y:.1f} y2={y:.1f} />")
        shapes.append(f"<text x={LEFT - 6} y={y + 4:.1f} text-anchor=end>{text(share * most)}</text>")
    step = (WIDTH - LEFT) / len(groups)
    for number, (label, values) in enumerate(groups):
        width = min(28, step * 0.7 / len(values))
        middle = LEFT + step * (number + 0.5)
        shapes.append(f"<text x={middle:.1f} y={HEIGHT - 6} text-anchor=middle>{escape(label)}</text>")
        for place, value in enumerate(values):
            x, height = middle + (place - len(values) / 2) * width, value / most * (foot - TOP)
            shapes.append(
                f"<rect class={'ab'[place]} x={x:.1f} y={foot - height:.1f} width={width - 2:.1f} height={height:.1f} rx=2>"
                f"<title>{escape(label)}: {text(value)}</title></rect>"
            )
    return _figure(caption, names, HEIGHT, "".join(shapes))


def _lying(caption: str, groups: list[Group], names: tuple[str, ...]) -> str:
    """Lying bars, each of a part and the whole."""
    most, left = max((whole for _, (_, whole) in groups), default=1), 150
    shapes = []
    for number, (label, (part, whole)) in enumerate(groups):
        y, name = number * 24 + 4, shown(label)
        short = name if len(name) <= 20 else f"{name[:19]}…"  # noqa: PLR2004 - what has room there
        shapes.append(f"<text x={left - 8} y={y + 13} text-anchor=end>{escape(short)}</text>")
        for color, start, value in (("a", 0.0, part), ("b", part, whole - part)):
            x, width = left + start / most * (WIDTH - left), value / most * (WIDTH - left)
            shapes.append(
                f"<rect class={color} x={x:.1f} y={y} width={max(0, width - 1):.1f} height=18 rx=2>"
                f"<title>{escape(name)}: {value:,.0f} of {whole:,.0f}</title></rect>"
            )
    return _figure(caption, names, len(groups) * 24 + 8, "".join(shapes))
