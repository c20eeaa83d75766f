"""The picture of a run of ``benchmarks.load.staleness``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.figures.draw import picture
from benchmarks.load.bound import BINS

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.load.bound import Board, Configuration


def draw(results: list[tuple[Configuration, Board]], path: Path) -> None:
    """How old replaced values were when they were served, a panel for each configuration."""
    size = (10, 2.2 * len(results))
    with picture(path, len(results), 1, figsize=size, layout="constrained") as (figure, axes):
        for axis, (configuration, board) in zip(axes, results, strict=True):
            bins = [sum(board.ages[number::BINS]) for number in range(BINS)]
            width = configuration.bound / (BINS - 10)
            axis.bar([number * width for number in range(BINS)], bins, width=width, align="edge", color="#2a6f97")
            axis.axvline(configuration.bound, color="#c1121f", label=f"bound: {configuration.bound:g} s")
            oldest = max(board.oldest)
            axis.axvline(oldest, color="#333333", linestyle=":", label=f"oldest served: {oldest:.4f} s")
            axis.set_yscale("symlog")
            axis.set_title(configuration.name, loc="left")
            axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        axes[-1].set_xlabel("seconds since the value was replaced, when it was served")
        figure.supylabel("reads")
