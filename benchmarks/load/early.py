"""What happens when a hot key expires, with and without ``REFRESH_EARLY``: ``python -m benchmarks.load.early``.

First by simulation: the package's own rule, half a minute. Then by workers: 16 processes of two threads that ask for one key
of a real Valkey, 50 times a second each, whose computation takes half a second and whose TTL is 20 s; eight minutes, or four
with ``--short``. With ``--save``, the figures and a picture go to ``docs/prefetch.md``.
"""

from __future__ import annotations

import itertools
import multiprocessing
import random
import statistics
import sys
import threading
import time
from typing import Any

import redis

from benchmarks.figures.early import save
from benchmarks.figures.page import table
from benchmarks.load.expiry import BETAS, DURATION, TTL, simulated
from benchmarks.micro.caches import DJANGO_REDIS, set_up, tiered
from benchmarks.micro.command import judged, options
from tests.support import servers

PROCESSES, RATE = 16, 50
WAITED = 0.25  # seconds: a call that took longer, and computed nothing early, has waited for a computation


def work(url: str, beta: float, start: float, end: float) -> dict[str, Any]:
    """A worker: its computations, and what the calls took that computed nothing early."""
    remote = {"BACKEND": DJANGO_REDIS, "LOCATION": f"{url}/1"}
    caches = set_up({"default": tiered(LOCAL_TIMEOUT=5, REFRESH_EARLY=beta), "remote": remote})
    computed: list[tuple[float, float]] = []
    calls: list[tuple[float, float]] = []

    def ask() -> None:
        cache: Any = caches["default"]
        early = []

        def compute() -> float:
            began = time.time()
            early.append(cache.remote.get("hot") is not None)
            time.sleep(DURATION)  # simulates a slow query: it waits for a database and uses no processor
            computed.append((began, time.time()))
            return began

        turn = start + random.random() / RATE
        while turn < end:
            time.sleep(max(0.0, turn - time.time()))  # visitors come at a fixed rate, which is the load, in real processes
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


def promises(found: dict[str, Any]) -> list[tuple[str, bool]]:
    """Each with what came out, and whether it holds."""
    if not found["beta"]:
        return []
    most, share = {1: (3.0, 0.12), 2: (2.0, 0.22)}[found["beta"]]
    return [
        (f"{found['computations']:.1f} computations an expiry (at most {most:g})", found["computations"] <= most),
        (f"{found['given']:.1%} of the TTL given away (at most {share:.0%})", found["given"] <= share),
        (f"p99.9 of the others {found['p99.9'] * 1000:.1f} ms (at most 20)", found["p99.9"] <= 0.02),  # noqa: PLR2004
        (f"somebody waited at {found['waited']:.0%} of the expiries (at most 5 %)", found["waited"] <= 0.05),  # noqa: PLR2004
    ]


def main() -> int:
    """Print the figures; 1 where a promise is missed."""
    parser = options(__doc__)
    parser.add_argument("--short", action="store_true", help="three expiries each, not ten; without, two will do")
    parser.add_argument("--simulate", action="store_true", help="no workers; half a minute")
    parser.add_argument("--save", action="store_true", help="into the page")
    arguments = parser.parse_args()
    ways = [f"{beta}: computations, given away, found missing" for beta in BETAS]
    simulation = table(["processes", "local timeout", "duration", "TTL", *ways], simulated())
    print(simulation, flush=True)
    results: list[dict[str, Any]] = []
    missed = 0
    with servers.valkey() as url:
        for beta in () if arguments.simulate else BETAS:
            found = measure(url, beta, 2 if not beta else 3 if arguments.short else 10)
            results.append(found)
            print({name: value for name, value in found.items() if name not in {"computed", "waits"}})
            missed += judged(promises(found))
    if arguments.save:
        save(simulation, results)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
