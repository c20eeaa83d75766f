"""The picture of the figures: the time of a local hit, ours and the peers', on a logarithmic scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

DRAWN = {
    "get, local hit, 100-character string": "get, a string",
    "get, local hit, small dict, own copy": "get, a dict of one's own",
    "aget, local hit, against the peers'": "aget, a string",
    "get_many, 100 local hits": "get_many, 100 strings",
}
OURS, PEER = "#0b6e4f", "#8a8f98"


def draw(results: list[dict[str, Any]], python: str, path: Path) -> None:
    """Bars of medians with their quartiles, a panel for each kind of read."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "tieredcache"
    from matplotlib import pyplot

    found = [result for result in results if result["name"] in DRAWN]
    figure, panels = pyplot.subplots(len(found), 1, figsize=(8, 1.2 + 1.7 * len(found)), squeeze=False)
    for panel, result in zip(panels[:, 0], found, strict=True):
        names = list(result["ns"])[::-1]
        middles = [result["ns"][name][1] / 1000 for name in names]
        spread = [
            [middle - result["ns"][name][0] / 1000 for name, middle in zip(names, middles, strict=True)],
            [result["ns"][name][2] / 1000 - middle for name, middle in zip(names, middles, strict=True)],
        ]
        colours = [OURS if name.startswith("TieredCache") else PEER for name in names]
        panel.barh(names, middles, color=colours, xerr=spread, error_kw={"linewidth": 0.8})
        panel.set_xscale("log")
        panel.set_title(DRAWN[result["name"]], loc="left", fontsize=10)
        panel.spines[["top", "right"]].set_visible(False)
        for place, middle in enumerate(middles):
            panel.annotate(
                f" {middle:,.2f}", (middle, place), va="center", fontsize=8, xytext=(6, 0), textcoords="offset points"
            )
        panel.margins(x=0.15)
    panels[-1, 0].set_xlabel(f"microseconds a call, logarithmic; Python {python}")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
