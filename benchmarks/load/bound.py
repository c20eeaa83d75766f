"""Whether reads keep the staleness bound: when each value was replaced, in shared memory, and how old it was when served."""

from __future__ import annotations

import ctypes
import threading
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import RawArray
from time import monotonic
from typing import Any

KEYS = 12
RING = 1 << 16  # the writes of a key that are remembered
SLOTS = 16  # processes
BINS = 60
SPARE = 0.005  # seconds: Redis counts TTLs in milliseconds


@dataclass(frozen=True)
class Configuration:
    """What is set up in one run. ``ttl``: seconds after which values expire in the remote; ``None``: they do not."""

    name: str
    backend: str
    options: dict[str, Any]
    ttl: float | None = None

    @property
    def bound(self) -> float:
        return float(self.options["LOCAL_TIMEOUT"]) + float(self.options.get("STALE_WHILE_REVALIDATE", 0))


class Board:
    """Shared memory: when each write had completed, and what each process has counted."""

    def __init__(self) -> None:
        self.completed: Any = RawArray(ctypes.c_double, KEYS * RING)
        self.last: Any = RawArray(ctypes.c_long, KEYS)
        self.counts: Any = RawArray(ctypes.c_long, SLOTS * 5)  # reads, absent, too old, past their TTL, own writes unseen
        self.oldest: Any = RawArray(ctypes.c_double, SLOTS)
        self.ages: Any = RawArray(ctypes.c_long, SLOTS * BINS)

    def wrote(self, key: int, number: int) -> None:
        self.completed[key * RING + number % RING] = monotonic()
        self.last[key] = number

    def replaced_at(self, key: int, number: int) -> float:
        """When the write after ``number`` had completed; 0: it has not."""
        return float(self.completed[key * RING + (number + 1) % RING]) if number < self.last[key] else 0.0


@dataclass
class Checker:
    """Checks the reads of one process."""

    board: Board
    configuration: Configuration
    slot: int
    lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, key: int, value: Any, started: float) -> None:
        board, base = self.board, self.slot * 5
        with self.lock:
            board.counts[base] += 1
            if value is None:
                board.counts[base + 1] += 1
                return
            replaced = board.replaced_at(key, value)
            ttl = self.configuration.ttl
            if ttl is not None:
                completed = float(board.completed[key * RING + value % RING])
                board.counts[base + 3] += completed > 0 and started > completed + ttl + SPARE
            if not replaced or replaced > started:
                return
            age = started - replaced
            bound = self.configuration.bound
            board.oldest[self.slot] = max(board.oldest[self.slot], age)
            board.ages[self.slot * BINS + min(BINS - 1, int(age / bound * (BINS - 10)))] += 1
            board.counts[base + 2] += age > bound


def histogram(board: Board) -> str:
    """The ages of replaced values when they were served, as shares of the bound."""
    bins = [sum(board.ages[number::BINS]) for number in range(BINS)]
    most = max(bins) or 1
    lines = []
    for first in range(0, BINS, 5):
        count = sum(bins[first : first + 5])
        if count:
            share = f"{first / (BINS - 10):.0%} - {(first + 5) / (BINS - 10):.0%}"
            lines.append(f"    {share:>12} {'#' * max(1, round(count / most / 5 * 60))} {count:,}")
    return "\n".join(lines)
