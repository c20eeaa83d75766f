"""The table and the picture of ``docs/prefetch.md``, from what ``benchmarks.load.prefetch`` has measured."""

from __future__ import annotations

from typing import Any

from benchmarks.figures.draw import picture
from benchmarks.figures.page import PREFETCH, table, write

COMMAND = "python -m benchmarks.load.prefetch --save"


def change(found: dict[str, Any], figure: str) -> str:
    """A figure without and with ``PREFETCH``."""
    return " → ".join(f"{found['candidates'][name][figure]:.1f}" for name in ("without", "with"))


def save(results: list[dict[str, Any]]) -> None:
    """Write the table and draw the picture."""
    head = ["", "trips a page", "mean, ms", "commands a page", "by hand: trips, ms", "django-redis alone: ms"]
    body = []
    for found in results:
        by_hand, remote = (found["candidates"][name] for name in ("by hand", "django-redis"))
        changes = [change(found, figure) for figure in ("trips", "mean", "commands")]
        body.append([found["name"], *changes, f"{by_hand['trips']:.1f}, {by_hand['mean']:.1f}", f"{remote['mean']:.0f}"])
    write(PREFETCH, COMMAND, table(head, body))

    with picture(PREFETCH.with_suffix(".svg"), figsize=(9, 3.4)) as (_, axes):
        places = range(len(results))
        for name, shift, colour in (("without", 0.2, "#c9cdd3"), ("with", -0.2, "#0b6e4f")):
            trips = [found["candidates"][name]["trips"] for found in results]
            bars = axes.barh([place + shift for place in places], trips, 0.38, color=colour, label=f"{name} PREFETCH")
            axes.bar_label(bars, fmt="%.1f", fontsize=8, padding=3)
        axes.set_yticks(places, [found["name"] for found in results], fontsize=8)
        axes.invert_yaxis()
        axes.set_xlabel("round trips a page of 200 look-ups", fontsize=8)
        axes.tick_params(axis="x", labelsize=8)
        axes.legend(fontsize=8, frameon=False)
