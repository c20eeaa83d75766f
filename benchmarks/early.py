"""What happens when a hot key expires, with and without ``REFRESH_EARLY``: ``python -m benchmarks.early``.

First by simulation: the package's own rule, half a minute. Then by workers: 16 processes of two threads that ask for one key
of a real Valkey, 50 times a second each, whose computation takes half a second and whose TTL is 20 s; eight minutes, or four
with ``--short``. With ``--save``, the figures and a picture go to ``docs/prefetch.md``.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
import multiprocessing
import random
import statistics
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import django
import redis
from django.conf import settings as configured
from django.core.cache import caches

from tests.support import servers
from tieredcache.clock import clock
from tieredcache.local.early import Early

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "prefetch.md"
MARK = "<!-- simulated: python -m benchmarks.early --save -->"
END = "<!-- end of figures -->"
PROCESSES, RATE, DURATION, TTL = 16, 50, 0.5, 20.0
BETAS = (0, 1, 2)
EXPIRIES = 300  # that are simulated
WAITED = 0.25  # seconds: a call that took longer, and computed nothing early, has waited for a computation

# --- by simulation ---


class Process:
    """One that knows how long the computation takes."""

    def __init__(self, beta: float, duration: float) -> None:
        self.early = Early(10, {}, alone=False)
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
    """The rows of the table."""
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


# --- by workers ---


def settings(url: str, beta: float) -> dict[str, Any]:
    """``CACHES`` of a worker."""
    options = {"LOCAL_TIMEOUT": 5, "REFRESH_EARLY": beta}
    return {
        "default": {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": "remote", "OPTIONS": options},
        "remote": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"{url}/1"},
    }


def work(url: str, beta: float, start: float, end: float) -> dict[str, Any]:
    """A worker: its computations, and what the calls took that computed nothing early."""
    configured.configure(CACHES=settings(url, beta))
    django.setup()
    computed: list[tuple[float, float]] = []
    calls: list[tuple[float, float]] = []

    def ask() -> None:
        cache: Any = caches["default"]
        early = []

        def compute() -> float:
            began = time.time()
            early.append(cache.remote.get("hot") is not None)
            time.sleep(DURATION)  # what is computed: a query of another server, say, for which a process waits
            computed.append((began, time.time()))
            return began

        turn = start + random.random() / RATE
        while turn < end:
            time.sleep(max(0.0, turn - time.time()))  # the pace of the visitors, who come whether it is fast or not
            turn += 2 / RATE
            began, called = time.time(), time.perf_counter()
            early.clear()
            cache.get_or_set("hot", compute, TTL)
            if not any(early):
                calls.append((began, time.perf_counter() - called))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"computed": computed, "calls": calls}


def measure(url: str, beta: float, expiries: int) -> dict[str, Any]:
    """All workers."""
    redis.Redis.from_url(f"{url}/1").flushdb()
    start = time.time() + 3
    end = start + TTL * (expiries + 0.5)
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        found = pool.starmap(work, [(url, beta, start, end)] * PROCESSES, chunksize=1)
    computed = sorted((began, ended, number) for number, each in enumerate(found) for began, ended in each["computed"])
    rounds: list[list[tuple[float, float, int]]] = []
    for each in computed:
        if not rounds or each[0] > rounds[-1][-1][0] + TTL / 4:
            rounds.append([])
        rounds[-1].append(each)
    stored = [min(ended for _, ended, _ in each) for each in rounds]
    given = [max(0.0, before + TTL - now) / TTL for before, now in itertools.pairwise(stored)]
    calls = [tuple(call) for each in found for call in each["calls"] if call[0] > stored[0] + 1]
    waits = [began for began, seconds in calls if seconds > WAITED]
    after = [at for at in stored[1:] if any(abs(began - at) < TTL / 4 for began in waits)]
    last = rounds[-1]
    return {
        "beta": beta,
        "expiries": len(rounds) - 1,
        "computations": statistics.fmean(len(each) for each in rounds[1:]),
        "given": statistics.fmean(given),
        "p99.9": sorted(seconds for _, seconds in calls)[int(len(calls) * 0.999)],
        "waited": len(after) / (len(rounds) - 1),
        # The last expiry, for the picture: seconds from it, and the number of the worker.
        "computed": [(began - stored[-2] - TTL, ended - stored[-2] - TTL, number) for began, ended, number in last],
        "waits": [
            (began - stored[-2] - TTL, began + seconds - stored[-2] - TTL, number)
            for number, each in enumerate(found)
            for began, seconds in each["calls"]
            if seconds > WAITED and began > stored[-2] + 1
        ],
    }


def judged(found: dict[str, Any]) -> list[str]:
    """Each promise with what came out."""
    if not found["beta"]:
        return []
    most, share = {1: (3.0, 0.12), 2: (2.0, 0.22)}[found["beta"]]
    lines = [
        (f"{found['computations']:.1f} computations an expiry (at most {most:g})", found["computations"] <= most),
        (f"{found['given']:.1%} of the TTL given away (at most {share:.0%})", found["given"] <= share),
        (f"p99.9 of the others {found['p99.9'] * 1000:.1f} ms (at most 20)", found["p99.9"] <= 0.02),  # noqa: PLR2004
        (f"somebody waited at {found['waited']:.0%} of the expiries (at most 5 %)", found["waited"] <= 0.05),  # noqa: PLR2004
    ]
    return [f"  {'holds' if holds else 'MISSED'}  {line}" for line, holds in lines]


# --- the page ---


def table(head: list[str], rows: list[list[str]]) -> str:
    """In Markdown."""
    first, *others = [f"| {' | '.join(line)} |" for line in [head, *rows]]
    return "\n".join([first, "|" + "---:|" * len(head), *others])


def put(figures: str) -> None:
    """Write the table between the page's marks."""
    before, _, rest = PAGE.read_text().partition(MARK)
    PAGE.write_text(f"{before}{MARK}\n\n{figures}\n\n{END}{rest.partition(END)[2]}")


def draw(results: list[dict[str, Any]]) -> None:
    """What each worker does around one expiry."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "tieredcache"
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.2), sharey=True, sharex=True)
    for panel, found in zip(panels, results, strict=False):
        kinds = (("waits", "#c9cdd3", 0.8, "readers wait"), ("computed", "#0b6e4f", 0.4, "computes"))
        for kind, colour, height, label in kinds:
            spans = found[kind]
            panel.barh(
                [number for _, _, number in spans],
                [ended - began for began, ended, _ in spans],
                height,
                left=[began for began, _, _ in spans],
                color=colour,
                label=label,
            )
        panel.axvline(0, color="#b3413b", linewidth=1)
        panel.set_title(f"REFRESH_EARLY {found['beta']}", loc="left", fontsize=9)
        panel.set_xlim(-4, 1.5)
        panel.set_xlabel("seconds from the expiry", fontsize=8)
        panel.tick_params(labelsize=8)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    panels[0].set_ylabel("worker", fontsize=8)
    panels[0].legend(fontsize=8, frameon=False, loc="upper left")
    figure.tight_layout()
    figure.savefig(DOCS / "stampedes.svg", metadata={"Date": None}, facecolor="white")


def main() -> int:
    """Print the figures; 1 where a promise is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="three expiries each, not ten; without, two will do")
    parser.add_argument("--simulate", action="store_true", help="no workers")
    parser.add_argument("--save", action="store_true")
    arguments = parser.parse_args()
    ways = [f"{beta}: computations, given away, found missing" for beta in BETAS]
    simulation = table(["processes", "local timeout", "duration", "TTL", *ways], simulated())
    print(simulation, flush=True)
    if arguments.save:
        put(simulation)
    if arguments.simulate:
        return 0
    results, missed = [], 0
    with servers.valkey() as url:
        for beta in BETAS:
            found = measure(url, beta, 2 if not beta else 3 if arguments.short else 10)
            results.append(found)
            print({name: value for name, value in found.items() if name not in {"computed", "waits"}})
            lines = judged(found)
            missed += sum("MISSED" in line for line in lines)
            print("\n".join(lines), flush=True)
    if arguments.save:
        draw(results)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
