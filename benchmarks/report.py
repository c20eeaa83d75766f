"""The figures of ``docs/performance.md``, from what ``make bench`` has saved: ``python -m benchmarks.report``.

Writes them between the page's markers; with ``--check``, exits with 1 where the page says something else.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "performance.md"
BEGIN, END = "<!-- figures: python -m benchmarks.report -->", "<!-- end of figures -->"
COLUMNS = {
    "get, local hit, 100-character string": "get",
    "aget, local hit, against the peers'": "aget",
    "get_many, 100 local hits": "get_many of 100",
}


def saved() -> list[dict[str, Any]]:
    """What was measured, the oldest Python first."""
    found = [json.loads(path.read_text()) for path in (DOCS / "performance").glob("python*.json")]
    return sorted(found, key=lambda run: [int(part) for part in run["python"].split(".")])


def named(run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The comparisons of a run by their names."""
    return {comparison["name"]: comparison for comparison in run["comparisons"]}


def rows(head: list[str], body: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(page: Path, command: str, figures: str) -> None:
    """Put what ``command`` has found between its markers on ``page``."""
    before, begin, rest = page.read_text().partition(f"<!-- figures: {command} -->")
    page.write_text(f"{before}{begin}\n\n{figures}\n\n{END}{rest.partition(END)[2]}")


def microseconds(nanoseconds: float) -> str:
    """To three digits, as a person would say it."""
    value = nanoseconds / 1000
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits


def side_by_side(run: dict[str, Any]) -> str:
    """A row for each cache, a column for each kind of read."""
    found = named(run)
    peers = dict.fromkeys(name for comparison in COLUMNS for name in found[comparison]["ns"])
    body = [
        [
            f"**{name}**" if name == "TieredCache" else name,
            *(
                microseconds(found[comparison]["ns"][name][1]) if name in found[comparison]["ns"] else ""
                for comparison in COLUMNS
            ),
        ]
        for name in peers
    ]
    return rows([f"microseconds, Python {run['python']}", *COLUMNS.values()], body)


def targets(runs: list[dict[str, Any]]) -> str:
    """A row for each target, with what came out on each Python; in bold what misses it."""
    body = []
    for name, comparison in named(runs[-1]).items():
        for place, target in enumerate(comparison["targets"]):
            cells = [_outcome(named(run)[name]["targets"][place]) for run in runs]
            body.append([name, target["target"], *cells])
    return rows(["measured", "target", *(run["python"] for run in runs)], body)


def _outcome(target: dict[str, Any]) -> str:
    ratio = target["ratio"]
    text = f"{1 / ratio:,.1f} x" if "at least" in target["target"] else f"{ratio:.3g} x"
    return text if target["holds"] else f"**{text}**"


def whole(run: dict[str, Any]) -> str:
    """The comparisons that count more than time."""
    tables = []
    for comparison in run["comparisons"]:
        if "rows" in comparison:
            units = list(next(iter(comparison["rows"].values())))
            body = [[name, *(f"{row[unit]:,.0f}" for unit in units)] for name, row in comparison["rows"].items()]
            tables.append(rows([comparison["name"], *units], body))
    return "\n\n".join(tables)


def more(run: dict[str, Any]) -> str:
    """Comparisons without a target, in microseconds."""
    body = []
    for comparison in run["comparisons"]:
        if "ns" in comparison and not comparison["targets"]:
            body += [[comparison["name"], name, microseconds(middle)] for name, (_, middle, _) in comparison["ns"].items()]
    return rows(["measured", "", "microseconds"], body)


def figures() -> str:
    """All of it."""
    runs = saved()
    packages = ", ".join(f"{name} {version}" for name, version in runs[-1]["packages"].items())
    about = f"{runs[-1]['processor']}, {runs[-1]['cores']} cores; {packages}."
    return "\n\n".join([BEGIN, about, side_by_side(runs[-1]), targets(runs), more(runs[-1]), whole(runs[-1]), END])


def main() -> int:
    """Write or check the page."""
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    page = before + figures() + rest.partition(END)[2]
    if "--check" in sys.argv:
        return int(page != text)
    PAGE.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
