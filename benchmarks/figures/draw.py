"""Pictures, all of one look: here of what a read costs, ours and the peers', and how that grows."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DRAWN = {
    "get, local hit, 100-character string": "get, a string",
    "get, local hit, small dict, own copy": "get, a dict of one's own",
    "aget, local hit, against the peers'": "aget, a string",
    "get_many, 100 local hits": "get_many, 100 strings",
}
OURS, PEER = "#0b6e4f", "#8a8f98"
COLOURS = {
    "TieredCache": OURS,
    "TieredCache, own copy": "#5bb59a",
    "LRUCache": "#d98e04",
    "LocMemCache": PEER,
    "django-redis": "#b3413b",
}


@contextlib.contextmanager
def picture(path: Path, *shape: int, below: str = "", **options: Any) -> Iterator[tuple[Any, Any]]:
    """A figure and its panels, to draw in and saved then: from the same figures, the same file. ``below``: words in grey."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "tieredcache"
    mpl.rcParams["axes.spines.top"] = mpl.rcParams["axes.spines.right"] = False
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(*shape, **options)
    yield figure, panels
    if below:
        figure.supxlabel(below, fontsize=8, color=PEER)
    if "layout" not in options:
        figure.tight_layout()
    figure.savefig(path, metadata={"Date": None}, facecolor="white")
    pyplot.close(figure)


def draw(results: list[dict[str, Any]], python: str, folder: Path) -> list[Path]:
    """Writes ``calls.svg``, ``growth.svg`` and ``workers.svg``, those of them that there are figures for."""
    made = []
    for plot, chosen in (
        (calls, [result for result in results if result["name"] in DRAWN]),
        (growth, [result for result in results if "curves" in result]),
        (workers, [result for result in results if result["name"].startswith("commands at the remote")]),
    ):
        if chosen:
            made.append(folder / f"{plot.__name__}.svg")
            plot(made[-1], chosen, f"Python {python}")
    return made


def plain(axis: Any) -> None:
    """Numbers as people write them."""
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")


def calls(path: Path, results: list[dict[str, Any]], below: str) -> None:
    """Bars of medians with their quartiles, a panel for each kind of read."""
    heights = [len(result["ns"]) for result in results]
    # One axis for all: on logarithmic axes of their own, two bars that differ by half look like ten and one.
    shape = {"figsize": (8, 1 + 0.32 * sum(heights) + 0.5 * len(heights)), "height_ratios": heights, "sharex": True}
    with picture(path, len(results), 1, below=below, squeeze=False, **shape) as (_, panels):
        for panel, result in zip(panels[:, 0], results, strict=True):
            names = list(result["ns"])[::-1]
            middles = [result["ns"][name][1] / 1000 for name in names]
            spread = [
                [middle - result["ns"][name][0] / 1000 for name, middle in zip(names, middles, strict=True)],
                [result["ns"][name][2] / 1000 - middle for name, middle in zip(names, middles, strict=True)],
            ]
            colours = [OURS if name.startswith("TieredCache") else PEER for name in names]
            panel.barh(names, middles, color=colours, xerr=spread, error_kw={"linewidth": 0.8})
            panel.set_xscale("log")
            plain(panel.xaxis)
            panel.set_title(DRAWN[result["name"]], loc="left", fontsize=10)
            panel.tick_params(labelsize=8)
            for place, middle in enumerate(middles):
                panel.annotate(
                    f" {middle:,.2f}", (middle, place), va="center", fontsize=8, xytext=(6, 0), textcoords="offset points"
                )
            panel.margins(x=0.15)
        panels[-1, 0].set_xlabel("microseconds a call, logarithmic: medians and quartiles")


def growth(path: Path, results: list[dict[str, Any]], below: str) -> None:
    """A line for each candidate, both axes logarithmic."""
    with picture(path, (len(results) + 1) // 2, 2, below=below, figsize=(9, 6.5), squeeze=False) as (_, panels):
        for panel, result in zip(panels.flat, results, strict=False):
            for name, points in result["curves"].items():
                sizes, costs = [int(size) for size in points], [point / 1000 for point in points.values()]
                panel.plot(sizes, costs, marker="o", markersize=3, color=COLOURS[name], label=name)
            panel.set_xscale("log")
            panel.set_yscale("log")
            plain(panel.xaxis)
            plain(panel.yaxis)
            panel.set_title(result["name"], loc="left", fontsize=10)
            panel.set_xlabel(result["axis"], fontsize=8)
            panel.set_ylabel("microseconds a call", fontsize=8)
            panel.tick_params(labelsize=8)
            panel.legend(fontsize=7, frameon=False)


def workers(path: Path, results: list[dict[str, Any]], below: str) -> None:
    """Commands that were counted, and the arithmetic."""
    rows = results[0]["rows"]
    counts = [int(count) for count in rows]
    with picture(path, below=below, figsize=(6, 3.4)) as (_, panel):
        expected, counted = ([row[figure] for row in rows.values()] for figure in ("arithmetic", "commands/s"))
        panel.plot(counts, expected, color=PEER, linestyle="--", label="the arithmetic")
        panel.plot(counts, counted, color=OURS, marker="o", markersize=4, label="counted")
        panel.set_title(results[0]["name"], loc="left", fontsize=10)
        panel.set_xticks(counts)
        panel.set_xlabel("workers", fontsize=8)
        panel.set_ylabel("commands a second", fontsize=8)
        panel.tick_params(labelsize=8)
        panel.legend(fontsize=8, frameon=False)
