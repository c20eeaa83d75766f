"""The figures of ``docs/performance.md`` and ``docs/async.md``, from what ``make bench`` has saved.

``python -m benchmarks.figures.report`` writes them between the pages' markers, in a second: it measures nothing. A
comparison that was not measured on some Python leaves its cells empty.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.figures.page import ASYNC, DOCS, PERFORMANCE, table, write
from benchmarks.load.pages import BY_IMPORT
from benchmarks.micro.command import options
from benchmarks.micro.written import ASYNC_MISS, HIT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMMAND = "python -m benchmarks.figures.report"
PARTS = ("django-redis, looked up", "taking a lock", "reading the clock")  # what the others consist of
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
    return table([f"microseconds, Python {run['python']}", *columns], body)


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
    return table([f"{title or name}, {unit}", *(f"Python {python}" for python in found)], body) if found else ""


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
            return table([name, *units], body)
    return ""


def figures(runs: list[dict[str, Any]]) -> str:
    """Those of ``docs/performance.md``."""
    packages = ", ".join(f"{name} {version}" for name, version in runs[-1]["packages"].items())
    about = f"{runs[-1]['processor']}, {runs[-1]['cores']} cores; {packages}."
    written = [by_python(runs, HIT, without=("cache.get of",)), by_python(runs, BY_IMPORT, "rows")]
    parts = [
        by_python(runs, "the same, 0.5 ms away", title="get, a miss with a server 0.5 ms away"),
        *(by_python(runs, name, without=PARTS) for name in ("set", "LRUCache.set")),
    ]
    return _joined(about, side_by_side(runs[-1]), *written, *parts, pages(runs[-1]))


def async_figures(runs: list[dict[str, Any]]) -> str:
    """Those of ``docs/async.md``."""
    return _joined(by_python(runs, ASYNC_MISS))


def _joined(*parts: str) -> str:
    return "\n\n".join(filter(None, parts))


PAGES: dict[Path, Callable[[list[dict[str, Any]]], str]] = {PERFORMANCE: figures, ASYNC: async_figures}


def main() -> int:
    """Write or check the pages."""
    parser = options(__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where a page says something else")
    check, runs = parser.parse_args().check, saved()
    changed = [page.name for page, make in PAGES.items() if write(page, COMMAND, make(runs), check=check)]
    print(f"{'differs' if check else 'written'}: {', '.join(changed) or 'nothing'}")
    return int(check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
