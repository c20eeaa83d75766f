"""The figures of ``docs/performance.md`` and ``docs/async.md``, from what ``make bench`` has saved.

``python -m benchmarks.report`` writes them between the pages' markers; with ``--check``, it exits with 1 where a page says
something else. A comparison that was not measured on some Python leaves its cells empty.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.pages import BY_IMPORT
from benchmarks.written import ASYNC_MISS, HIT

if TYPE_CHECKING:
    from collections.abc import Callable

DOCS = Path(__file__).parents[1] / "docs"
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
    first, *others = [f"| {' | '.join(line)} |" for line in [head, *body]]
    return "\n".join([first, "|---|" + "---:|" * (len(head) - 1), *others])


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
    columns = {column: named(run)[name]["ns"] for name, column in COLUMNS.items() if name in named(run)}
    body = [
        [
            f"**{name}**" if name == "TieredCache" else name,
            *(microseconds(ns[name][1]) if name in ns else "" for ns in columns.values()),
        ]
        for name in dict.fromkeys(name for ns in columns.values() for name in ns)
    ]
    return rows([f"microseconds, Python {run['python']}", *columns], body)


def by_python(
    runs: list[dict[str, Any]], name: str, kind: str = "ns", title: str = "", without: tuple[str, ...] = ()
) -> str:
    """One comparison: a row for each candidate, a column for each Python that it was measured on."""
    found = {run["python"]: named(run)[name][kind] for run in runs if name in named(run)}
    candidates = dict.fromkeys(candidate for measured in reversed(found.values()) for candidate in measured)
    body = [
        [candidate, *(_cell(measured.get(candidate)) for measured in found.values())]
        for candidate in candidates
        if not candidate.startswith(without)
    ]
    unit = "microseconds" if kind == "ns" else "pages/s"
    return rows([f"{title or name}, {unit}", *(f"Python {python}" for python in found)], body) if found else ""


def _cell(measured: Any) -> str:
    if measured is None:
        return ""
    return f"{measured['pages/s']:,.0f}" if isinstance(measured, dict) else microseconds(measured[1])


def pages(run: dict[str, Any]) -> str:
    """What whole pages take, and what they send."""
    for name, found in named(run).items():
        if name.startswith("pages of"):
            units = list(next(iter(found["rows"].values())))
            body = [[each, *(f"{row[unit]:,.0f}" for unit in units)] for each, row in found["rows"].items()]
            return rows([name, *units], body)
    return ""


def figures(runs: list[dict[str, Any]]) -> str:
    """Those of ``docs/performance.md``."""
    packages = ", ".join(f"{name} {version}" for name, version in runs[-1]["packages"].items())
    about = f"{runs[-1]['processor']}, {runs[-1]['cores']} cores; {packages}."
    written = [by_python(runs, HIT, without=("cache.get of",)), by_python(runs, BY_IMPORT, "rows")]
    parts = [
        by_python(runs, "the same, 0.5 ms away", title="get, a miss with a server 0.5 ms away"),
        *(by_python(runs, name) for name in ("set", "LRUCache.set")),
    ]
    return _joined(about, side_by_side(runs[-1]), *written, *parts, pages(runs[-1]))


def async_figures(runs: list[dict[str, Any]]) -> str:
    """Those of ``docs/async.md``."""
    return _joined(by_python(runs, ASYNC_MISS))


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in (BEGIN, *parts, END) if part)


PAGES: dict[Path, Callable[[list[dict[str, Any]]], str]] = {
    DOCS / "performance.md": figures,
    DOCS / "async.md": async_figures,
}


def main() -> int:
    """Write or check the pages."""
    changed = False
    for path, make in PAGES.items():
        text = path.read_text()
        before, _, rest = text.partition(BEGIN)
        page = before + make(saved()) + rest.partition(END)[2]
        changed |= page != text
        if "--check" not in sys.argv:
            path.write_text(page)
    return int(changed and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
