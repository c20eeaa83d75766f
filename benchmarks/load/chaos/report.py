"""What was noted of one run: figures before, during and after, and which promise was broken."""

from __future__ import annotations

import collections
import json
import math
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tieredcache.remote.circuit import FIRST_PAUSE

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.load.chaos.publisher import Publisher
    from benchmarks.load.chaos.scenarios import Scenario

HEAD = f"{'':34}{'requests':>9}{'failed':>8}{'p50':>9}{'p99':>9}{'oldest':>9}"
OK = 200
SLOWEST = 0.5  # seconds that a read may take to fail
MARGIN = 0.05  # seconds: the clocks of two processes are read at different moments


@dataclass
class Run:
    """One scenario under one server. Times are of the wall clock, in seconds."""

    scenario: Scenario
    kind: str
    publisher: Publisher
    local_timeout: float
    retry_after: float
    began: float = 0
    broken: float = 0
    back: float = 0
    ended: float = 0
    pages: list[dict[str, Any]] = field(default_factory=list)
    written: list[dict[str, Any]] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)
    absent: set[int] = field(default_factory=set)

    def read(self, notes: Path, log: Path, remote: Any) -> None:
        """Take in what was noted, and ask the remote for every write that was acknowledged."""
        with notes.open() as file:
            found = [json.loads(line) for line in file]
        self.pages = [note for note in found if note["kind"] == "page" and self.began <= note["start"] <= self.ended]
        self.written = [note for note in found if note["kind"] == "written" and note["acknowledged"]]
        self.lines = dict(collections.Counter(line.split()[0] for line in log.read_text().splitlines()))
        numbers = [note["number"] for note in self.written if self.is_kept(note["start"])]
        self.absent = {number for number in numbers if remote.get(f"written{number}") != number}

    def is_kept(self, start: float) -> bool:
        """Whether a write of this moment is to be in the remote now: not what it lost, nor what no replica had received."""
        if self.scenario.loses:
            return start > self.back
        return start > self.broken or not self.scenario.elects

    def phase(self, name: str) -> list[dict[str, Any]]:
        """The pages that were asked for before, during or after the outage."""
        first, last = {
            "before": (self.began, self.broken),
            "during": (self.broken, self.back),
            "after": (self.back, self.ended),
        }[name]
        return [page for page in self.pages if first <= page["start"] < last]

    def oldest(self, pages: list[dict[str, Any]]) -> float:
        """The longest that a value on one of these pages had been replaced when the page was asked for."""
        ages = [
            self.publisher.age(key, value[0], page["start"])
            for page in pages
            for key, value in page.get("values", {}).items()
            if value is not None
        ]
        return max(ages, default=0.0)

    def spared(self) -> list[dict[str, Any]]:
        """The pages asked for in the outage that did not try the remote themselves."""
        return [page for page in self.phase("during") if not tried(page)]

    def attempts(self) -> tuple[int, float]:
        """Pages of one process that tried to reach the remote, and for how many seconds; of the process with most.

        Counted from when every circuit is open: reads have to fail for ``retry_after`` seconds, and the first of them is one
        of a copy that has expired.
        """
        known = self.broken + self.local_timeout + self.retry_after + SLOWEST
        counts = collections.Counter(page["pid"] for page in self.phase("during") if page["start"] > known and tried(page))
        return max(counts.values(), default=0), max(self.back - known, 0.0)

    def recovery(self) -> float:
        """Seconds from the server's return until the last process had shown a value written since."""
        first: dict[int, float] = {}
        for page in self.phase("after"):
            if any(value is not None and value[1] > self.back for value in page.get("values", {}).values()):
                end = page["start"] + page["seconds"]
                first[page["pid"]] = min(first.get(page["pid"], end), end)
        pids = {page["pid"] for page in self.phase("after") if "pid" in page}
        return max((first.get(pid, float("inf")) for pid in pids), default=float("inf")) - self.back

    def table(self) -> str:
        """Three lines of figures, and one of the whole."""
        rows = [f"{self.scenario.name}, {self.kind}: {self.back - self.broken:.1f} s"]
        for name in ("before", "during", "after"):
            pages = self.phase(name)
            times = f"{percentile(pages, 50):6.1f} ms{percentile(pages, 99):6.1f} ms"
            rows.append(f"{'  ' + name:34}{len(pages):9}{failed(pages):8}{times}{self.oldest(pages):7.2f} s")
        during = self.phase("during")
        attempts, seconds = self.attempts()
        rows.append(
            f"  p99 without the {sum(map(tried, during))} pages that tried {percentile(self.spared(), 99):.1f} ms; "
            f"attempts {attempts} in {seconds:.1f} s of a process, "
            f"connections opened {sum(page.get('connects', 0) for page in during)}; "
            f"fresh after {self.recovery():.2f} s; log lines {sorted(self.lines.values())}; "
            f"writes acknowledged {len(self.written)}, lost {len(self.absent)}"
        )
        return "\n".join(rows)

    def problems(self, *, times: bool) -> list[str]:
        """The promises that were broken. ``times``: those too that a busy machine may break."""
        attempts, seconds = self.attempts()
        # One for each pause, and the pauses double until they are retry_after long.
        doubled = math.ceil(math.log2(self.retry_after / FIRST_PAUSE))
        allowed = (seconds / self.retry_after + 1 + doubled) * self.scenario.servers
        settled = [page for page in self.pages if page["start"] > self.back + self.retry_after + 1 + self.local_timeout]
        found = {
            "a page failed": failed(self.pages) > 0,
            "a write that was acknowledged is not in the remote": bool(self.absent),
            "no write was acknowledged": not self.written,
            "more than two lines in a process's log": max(self.lines.values(), default=0) > 2,  # noqa: PLR2004
            "a log line without an outage": bool(self.lines) and not self.scenario.reads_fail,
            "more attempts of a process than the pauses between them allow": attempts > allowed,
            "a value older than the bound before": self.oldest(self.phase("before")) > self.local_timeout + MARGIN,
            "a value older than the bound after": self.oldest(settled) > self.local_timeout + MARGIN
            and (times or not self.scenario.lags),
            "no page after the outage": not settled,
            "a process that shows nothing fresh": self.recovery() == float("inf"),
        }
        if times:
            found["p99 above three times what it was"] = percentile(self.spared(), 99) > 3 * percentile(
                self.phase("before"), 99
            )
            found["nothing fresh within RETRY_AFTER + 1 s"] = self.recovery() > self.retry_after + 1
        return [f"{self.scenario.name}, {self.kind}: {text}" for text, broken in found.items() if broken]


def tried(page: dict[str, Any]) -> bool:
    """Whether the page tried the remote, and met a failure."""
    return bool(page.get("failures"))


def failed(pages: list[dict[str, Any]]) -> int:
    """How many of them are not what was asked for."""
    return sum(page["status"] != OK for page in pages)


def percentile(pages: list[dict[str, Any]], percent: int) -> float:
    """Milliseconds that ``percent`` of the pages stayed within."""
    times = [page["seconds"] * 1000 for page in pages]
    return statistics.quantiles(times, n=100)[percent - 1] if len(times) > 1 else sum(times)


def grown(before: dict[int, dict[str, int]], after: dict[int, dict[str, int]], keys: int) -> list[str]:
    """What a worker has more of: threads, tasks and sockets than a handful, memory than 5 MB, entries than ``keys``."""
    allowed = {"threads": 2, "tasks": 2, "sockets": 4, "memory": 5_000_000, "outage": 0, "entries": 0}
    # A server that has been killed comes back empty: for a moment some keys are not there, and so not in a local tier.
    before = {pid: {**state, "entries": keys} for pid, state in before.items()}
    return [
        f"{thing} ({before[pid][thing]} -> {after[pid][thing]})"
        for pid in before.keys() & after.keys()
        for thing, more in allowed.items()
        if after[pid][thing] > before[pid][thing] + more
    ]
