"""What happens when a hot key expires, by simulation: the package's own rule of ``REFRESH_EARLY``, and no clock."""

from __future__ import annotations

import heapq
import math
import random
import statistics
from types import SimpleNamespace
from typing import Any

from tieredcache.clock import clock
from tieredcache.local.early import Early

DURATION, TTL = 0.5, 20.0  # seconds: of the computation, and of the value
BETAS = (0, 1, 2)
EXPIRIES = 300


class Process:
    """One that knows how long the computation takes."""

    def __init__(self, beta: float, duration: float) -> None:
        self.early = Early(10, alone=False)
        self.computes = False
        own: Any = SimpleNamespace(key="key", began=clock() - duration, beta=beta, old=None)
        self.early.took(own)


def simulate(processes: int, local_timeout: float, duration: float, ttl: float, beta: float) -> dict[str, float]:
    """Computations for each expiry, the share of the TTL given away, and of expiries at which the key was found missing."""
    draw = random.Random(1)
    random.seed(1)
    workers = [Process(beta, duration) for _ in range(processes)]
    # Looks long before the expiry change nothing, and so are left out.
    horizon = min(ttl, duration * beta * (math.log(processes) + 15) + 2 * local_timeout)
    events: list[tuple[float, int, str, float]] = []
    computed, given, missing, expires, now = 0, [], set(), ttl, 0.0

    def replaced(at: float) -> float:
        events[:] = [event for event in events if event[2] == "store"]
        first = at + ttl - horizon
        spread = min(local_timeout, horizon / 4)  # the copies of the value before end a while before this one expires
        events.extend((first + draw.random() * spread, number, "look", 0) for number in range(processes))
        heapq.heapify(events)
        return at + ttl

    expires = replaced(0)
    while len(given) < EXPIRIES:
        now, number, what, seen = heapq.heappop(events)
        worker = workers[number]
        if what == "store":
            worker.computes = False
            if seen == expires:
                given.append(max(0.0, expires - now) / ttl)
                expires = replaced(now)
            continue
        left = expires - now
        timeout = local_timeout * (1 - 0.1 * draw.random())
        if left > 0 and beta:
            timeout = worker.early.limit("key", now, left, min(timeout, left))
        if left <= 0:
            missing.add(expires)
        if (left <= 0 or "key" in worker.early.due) and not worker.computes:
            worker.computes = True
            computed += 1
            heapq.heappush(events, (now + duration, number, "store", expires))
        if left > 0:
            heapq.heappush(events, (now + max(min(timeout, left), 1e-6), number, "look", 0))
    return {
        "computations": computed / EXPIRIES,
        "given": statistics.fmean(given),
        "missing": len(missing) / EXPIRIES,
    }


def simulated() -> list[list[str]]:
    """A row for each case: processes, local timeout, duration, TTL, and what came out with each of ``BETAS``."""
    rows = []
    cases = [(count, 5.0, DURATION, TTL) for count in (1, 4, 16, 400)]
    cases += [(16, 5.0, 0.01, 30.0), (400, 60.0, 10.0, 3600.0)]
    for case in cases:
        count, timeout, duration, ttl = case
        row = [f"{count}", f"{timeout:g} s", f"{duration:g} s", f"{ttl:g} s"]
        for beta in BETAS:
            found = simulate(*case, beta)
            row.append(f"{found['computations']:.1f}, {found['given']:.1%}, {found['missing']:.0%}")
        rows.append(row)
    return rows
