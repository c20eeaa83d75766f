"""The demo's price list at one page a second, with and without ``PREFETCH``: ``python -m benchmarks.load.prefetch_demo``.

Eight minutes. The shop under gunicorn twice, and a visitor that asks both for the same list in each second, one after the
other: one of a few lists, or of all 500. A list has 200 rows, 800 look-ups.
"""

from __future__ import annotations

import contextlib
import os
import random
import statistics
import sys
import time
import urllib.request

import redis

from benchmarks.load import delay
from benchmarks.micro.command import judged, options
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
    environment: dict[str, str], url: str, row: tuple[int, int, float], learning: int, seconds: int
) -> dict[str, list[tuple[float, int]]]:
    """Milliseconds and round trips of each page, by the demo's name for what it measures."""
    lists, workers, away = row
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
        for second in range(learning + seconds):
            time.sleep(max(0, started + second - time.monotonic()))  # the load: a page a second, to real workers
            number = draw.randrange(lists)
            for mode in sorted(ports, key=lambda _: draw.random()):
                before = demo.trips(server)[0]
                found[mode].append((visit(ports[mode], number), demo.trips(server)[0] - before))
        if (late := time.monotonic() - started - learning - seconds) > 1:
            print(f"  {late:.0f} s late: this machine is too slow, or too busy", flush=True)
    return {mode: pages[learning:] for mode, pages in found.items()}


def fill() -> None:
    """Read everything once: the remote has it then."""
    from example_project.geo.models import Subdivision
    from example_project.shop import cells

    for code in Subdivision.objects.values_list("pk", flat=True):
        cells.subdivision(code)
        cells.price(code)


def main() -> int:
    """Print the figures; 1 where a promise is missed."""
    parser = options(__doc__)
    parser.add_argument("--short", action="store_true", help="the first row, 30 s of it: not judged; a minute")
    arguments = parser.parse_args()
    missed, length = 0, (20, 10) if arguments.short else (LEARNING, SECONDS)
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(servers.valkey())
        os.environ["REDIS_URL"] = f"{url}/1"
        environment = demo.prepare(stack)
        fill()
        for row in ROWS[:1] if arguments.short else ROWS:
            found = measured(environment, url, row, *length)
            (before, ours), trips = (
                [statistics.median(each[place] for each in found[mode]) for mode in ("alone", "tiered")] for place in (0, 1)
            )
            lists, workers, away = row
            where = f"{away * 1000} ms away" if away else "same machine"
            cells = [f"{lists} lists, {workers} worker{'s' * (workers > 1)}, {where}", f"{trips[0]:.0f} → {trips[1]:.0f}"]
            cells += [f"{before:.0f} → {ours:.0f}", f"{before / ours:.1f} x"]
            missed += judged([(", ".join(cells), before >= FASTER * ours)])
    return int(missed > 0 and not arguments.short)


if __name__ == "__main__":
    sys.exit(main())
