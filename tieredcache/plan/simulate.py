"""Runs a trace through the package's own local tier: one tier for each process, on the times of the trace.

The modules are a second instance of the tier's and of prefetching's: they have a clock of their own, and the live tiers of
this process theirs. The processes are run one after another: what one of them finds at the remote depends on the writes in
the trace only, and so does what is stale.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from contextvars import Context
from dataclasses import dataclass, field, replace
from importlib.util import module_from_spec
from itertools import pairwise
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from django.core.signals import request_started

from tieredcache.local import tier as live_tier
from tieredcache.local.entries import MISSING, UNKNOWN
from tieredcache.plan.events import READS, WRITES
from tieredcache.remote import prefetch as live_prefetch

if TYPE_CHECKING:
    from types import ModuleType

    from tieredcache.config import TieredOptions
    from tieredcache.plan.events import Event

    Row: TypeAlias = tuple[float, str, str, int]


def _instance(module: ModuleType) -> Any:
    spec = module.__spec__
    if spec is None or spec.loader is None:
        raise ImportError(module.__name__)
    copy = module_from_spec(spec)
    spec.loader.exec_module(copy)
    return copy


_tier: Final = _instance(live_tier)
_prefetch: Final = _instance(live_prefetch)
request_started.disconnect(_prefetch.begin_burst)  # no request of this process is one of a trace

POLICY: Final = "ghosts and lives"
"""What the tier evicts by: ``tieredcache.local.eviction``."""
UNKNOWN_SIZE: Final = 500
"""Bytes of a value, where the trace has the size of none."""
SCRIPT: Final = 16
"""Keys from which the tier reads by a script, which is one command more."""
PAUSE: Final = 0.1  # seconds without an event, at most, after which a request has ended
SHORTEST_PAUSE: Final = 0.01  # a process that waits for its turn to run pauses, too


class Trace:
    """Events, with what the remote holds at any time: the version of a key is the number of writes before."""

    def __init__(self, events: list[Event]) -> None:
        self.events = events
        self.seconds: float = max(events[-1].time - events[0].time, 1e-6)
        self.writes: dict[str, list[float]] = {}  # the times
        self.deleted: dict[str, list[bool]] = {}  # whether each of them was a deletion
        self.sizes: dict[str, int] = {}
        self.processes: dict[str, list[Row]] = {}
        self.trips: int = 0  # without a local tier: keys that a process reads at the same time are read by one command
        latest: dict[str, float | None] = {}
        for time, process, operation, key, size in events:
            if size is not None:
                self.sizes[key] = size
            if operation in WRITES:
                self.writes.setdefault(key, []).append(time)
                self.deleted.setdefault(key, []).append(operation == "delete")
            self.trips += operation not in READS or latest.get(process) != time
            latest[process] = time if operation in READS else None
            version = len(self.writes.get(key, ()))
            self.processes.setdefault(process, []).append((time, operation, key, version))
        known = self.sizes.values()
        self.usual_size: int = sum(known) // len(known) if known else UNKNOWN_SIZE

    def found(self, key: str, now: float) -> Any:
        """The version of ``key`` that the remote holds at this time, or ``MISSING``."""
        version = bisect_right(self.writes.get(key, ()), now)
        return MISSING if version and self.deleted[key][version - 1] else version


@dataclass
class Outcome:
    """What one setting comes to. ``missed``, ``stale``: reads, by key. ``ages``: seconds, of each stale read.

    ``bytes``: of the fullest tier. A round trip is a read or a write, of however many keys; a script is one.
    """

    events: int = 0
    reads: int = 0
    hits: int = 0
    trips: int = 0
    commands: int = 0
    bytes: int = 0
    missed: Counter[str] = field(default_factory=Counter)
    stale: Counter[str] = field(default_factory=Counter)
    ages: list[float] = field(default_factory=list)


def simulate(trace: Trace, options: TieredOptions) -> Outcome:
    """Run ``trace`` with these options."""
    outcome = Outcome()
    options = replace(options, share_values=True)  # a value is a number here
    _tier.random = Random(1)  # noqa: S311 - jitter: the same trace makes the same plan
    for events in trace.processes.values():
        # In a context of its own, as a thread has: bursts belong to it.
        Context().run(_Process(trace, options, outcome).run, events)
    outcome.ages.sort()
    return outcome


def _accepts(_: float) -> bool:
    return True


class _Process:
    """One process: its tier, and what it asks the remote."""

    def __init__(self, trace: Trace, options: TieredOptions, outcome: Outcome) -> None:
        self.trace, self.outcome = trace, outcome
        self.tier = _tier.LocalTier(options)
        self.prefetch = _prefetch.Prefetch(options.prefetch, options.max_entries) if options.prefetch else None
        self.now = self.asked_at = float("-inf")
        _tier.clock = _prefetch.clock = lambda: self.now

    def run(self, events: list[Row]) -> None:
        trace, outcome, serve, pause = self.trace, self.outcome, self.tier.serve, _pause(events)
        for time, operation, key, version in events:
            if self.prefetch and time - self.now > pause:
                self.now = time
                _prefetch.begin_burst()
            self.now = time
            if operation not in READS:
                outcome.trips += 1
                outcome.commands += 1
                self.tier.forget(key)
                continue
            outcome.reads += 1
            copy = serve(key, _accepts)
            if copy is UNKNOWN:
                self.ask(key, version if operation == "get" else MISSING)
            elif copy is not MISSING and copy < version:
                outcome.hits += 1
                outcome.stale[key] += 1
                outcome.ages.append(time - trace.writes[key][copy])
            elif operation == "get":
                outcome.hits += 1
            else:  # the remote's entry has expired, and a copy does not outlive it
                self.tier.forget(key)
                self.ask(key, MISSING)
        outcome.events += len(events)
        size = trace.sizes.get
        kept = sum(size(key, trace.usual_size) + len(key) + _tier.TIER_ENTRY for key in self.tier.index)
        outcome.bytes = max(outcome.bytes, kept)

    def ask(self, key: str, found: Any) -> None:
        """Ask the remote, which answers ``found``, as ``TieredCache`` does."""
        tier, prefetch, outcome, now = self.tier, self.prefetch, self.outcome, self.now
        outcome.missed[key] += 1
        read = tier.begin(key, None, key)
        if now == self.asked_at:
            outcome.commands += 1  # a key more in the same trip
        else:
            self.asked_at, asked = now, 1
            if prefetch and key in prefetch.known and (trip := prefetch.trip({key: None}, tier.index, _accepts)):
                asked += len(trip.keys)
                for other, _ in trip.keys:
                    if (value := self.trace.found(other, now)) is MISSING:
                        prefetch.missing(other)
                    tier.keep(tier.begin(other, None, other), value, None, trip.proved)
            outcome.trips += 1
            outcome.commands += 2 if asked == 1 else asked + 1 + (asked >= SCRIPT)
        if prefetch and found is MISSING:
            prefetch.missing(key)
        tier.keep(read, found, None)
        if prefetch and key in tier.index and self.trace.sizes.get(key, 0) <= _prefetch.LARGEST_VALUE:
            prefetch.note(key, key, tier.index[key], now)


def _pause(events: list[Row]) -> float:
    """Seconds after which a request has ended: a trace does not tell requests apart, but between them there is more time."""
    gaps = [after[0] - before[0] for before, after in pairwise(events)]
    return min(PAUSE, max(SHORTEST_PAUSE, 50 * median(gaps))) if gaps else PAUSE
