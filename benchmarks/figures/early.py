"""The table and the picture of ``REFRESH_EARLY`` in ``docs/prefetch.md``, from what ``benchmarks.load.early`` has found."""

from __future__ import annotations

from typing import Any

from benchmarks.figures.draw import picture
from benchmarks.figures.page import DOCS, PREFETCH, write

COMMAND = "python -m benchmarks.load.early --save"


def save(simulation: str, results: list[dict[str, Any]]) -> None:
    """Write the table, draw the picture."""
    write(PREFETCH, COMMAND, simulation, kind="simulated")
    if results:
        draw(results)


def draw(results: list[dict[str, Any]]) -> None:
    """What each worker does around one expiry."""
    with picture(DOCS / "stampedes.svg", 1, 2, figsize=(9, 3.2), sharey=True, sharex=True) as (_, panels):
        for panel, found in zip(panels, results, strict=False):
            kinds = (("waits", "#c9cdd3", 0.8, "readers wait"), ("computed", "#0b6e4f", 0.4, "computes"))
            for kind, colour, height, label in kinds:
                spans = found[kind]
                panel.barh(
                    [number for _, _, number in spans],
                    [ended - began for began, ended, _ in spans],
                    height,
                    left=[began for began, _, _ in spans],
                    color=colour,
                    label=label,
                )
            panel.axvline(0, color="#b3413b", linewidth=1)
            panel.set_title(f"REFRESH_EARLY {found['beta']}", loc="left", fontsize=9)
            panel.set_xlim(-4, 1.5)
            panel.set_xlabel("seconds from the expiry", fontsize=8)
            panel.tick_params(labelsize=8)
        panels[0].set_ylabel("worker", fontsize=8)
        panels[0].legend(fontsize=8, frameon=False, loc="upper left")
