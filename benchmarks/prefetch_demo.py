"""The demo's price list at one page a second, with and without ``PREFETCH``: ``python -m benchmarks.prefetch_demo``.

Eight minutes. The shop under gunicorn twice, and a visitor that asks both for the same list in each second, one after the
other: one of a few lists, or of all 500. A list has 200 rows, 800 look-ups.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import statistics
import sys
import time
import urllib.request

import redis

from benchmarks import delay
from example_project import demo
from tests.support import servers

LEARNING = 60  # seconds, and pages
SECONDS = 40  # that are measured
FASTER = 2  # times, the median
ROWS = [  # lists, workers, seconds that the server is away
    (20, 1, 0.0005),
    (20, 1, 0.0),
    (20, 4, 0.0005),
    (500, 1, 0.0005),
]


def visit(port: int, number: int) -> float:
    """Ask for a list; milliseconds."""
    started = time.perf_counter()
    with urllib.request.urlopen(f"http://{servers.HOST}:{port}/{number}/", timeout=60) as answer:
        answer.read()
    return (time.perf_counter() - started) * 1000


def measured(
    environment: dict[str, str], url: str, lists: int, workers: int, away: float
) -> dict[str, list[tuple[float, int]]]:
    """Milliseconds and round trips of each page, by the demo's name for what it measures."""
    with contextlib.ExitStack() as stack:
        far = stack.enter_context(delay.behind(url, away)) if away else url
        ports = {
            mode: stack.enter_context(
                demo.gunicorn({**environment, **demo.MODES[mode], "REDIS_URL": f"{far}/1"}, workers=workers)
            )
            for mode in ("alone", "tiered")
        }
        server = stack.enter_context(redis.Redis.from_url(url))
        found: dict[str, list[tuple[float, int]]] = {mode: [] for mode in ports}
        draw, started = random.Random(1), time.monotonic()
        for second in range(LEARNING + SECONDS):
            time.sleep(max(0, started + second - time.monotonic()))  # the pace of the visitor
            number = draw.randrange(lists)
            for mode in sorted(ports, key=lambda _: draw.random()):
                before = demo.trips(server)[0]
                found[mode].append((visit(ports[mode], number), demo.trips(server)[0] - before))
        if (late := time.monotonic() - started - LEARNING - SECONDS) > 1:
            print(f"  {late:.0f} s late: this machine is too slow, or too busy", flush=True)
    return {mode: pages[LEARNING:] for mode, pages in found.items()}


def fill() -> None:
    """Read everything once: the remote has it then."""
    from example_project.geo.models import Subdivision
    from example_project.shop import cells

    for code in Subdivision.objects.values_list("pk", flat=True):
        cells.subdivision(code)
        cells.price(code)


def main() -> int:
    """Print the figures; 1 where a promise is missed."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    missed = False
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(servers.valkey())
        os.environ["REDIS_URL"] = f"{url}/1"
        environment = demo.prepare(stack)
        fill()
        for lists, workers, away in ROWS:
            found = measured(environment, url, lists, workers, away)
            (before, ours), trips = (
                [statistics.median(page[place] for page in found[mode]) for mode in ("alone", "tiered")] for place in (0, 1)
            )
            missed |= before < FASTER * ours
            where = f"{away * 1000} ms away" if away else "same machine"
            row = f"{lists} lists, {workers} worker{'s' * (workers > 1)}, {where}"
            cells = [row, f"{trips[0]:.0f} → {trips[1]:.0f}", f"{before:.0f} → {ours:.0f}", f"{before / ours:.1f} x"]
            print(f"  {'MISSED' if before < FASTER * ours else 'holds'} ", ", ".join(cells), flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
