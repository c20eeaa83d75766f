"""``make plan-check``: what ``manage.py tieredcache plan`` predicts for the demo, against what the demo then does.

The shop reads the remote alone, and is watched by ``MONITOR``; that is run through the local tier with the settings of the
demo. Then the shop reads the same keys through both tiers, and the workers and the server count. The same pages come at the
same pace, which the shop keeps up with in both modes: visitors who wait for each other would ask for more of the faster one.
Both begin with empty tiers, and with all that the pages read in the remote. Commands are counted for 100 reads: as many come
a second in both, unless the machine stands still. Two minutes.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import redis

from benchmarks.micro.command import options
from example_project import demo, servers

if TYPE_CHECKING:
    from concurrent.futures import Future

WITHIN = 0.1
LATEST = 5  # seconds
UNCOUNTED = {"info", "client", "hello", "auth", "select", "monitor", "ping", "script"}
Counts = dict[str, tuple[int, ...]]


def page(port: int, number: int, counts: Counts) -> None:
    """Ask for a page, and note what its worker says that it has counted: hits, remote hits, misses."""
    connection = http.client.HTTPConnection(servers.HOST, port, timeout=150)
    connection.request("GET", f"/{number}/")
    response = connection.getresponse()
    response.read()
    connection.close()
    if response.status != http.client.OK:
        raise RuntimeError(f"a page answered {response.status}")
    if worker := response.headers["X-Worker"]:
        found = tuple(map(int, response.headers["X-Stats"].split()))
        counts[worker] = max(counts.get(worker, found), found, key=sum)


def ask(port: int, seconds: float, rate: float) -> Counts:
    """Ask for random pages, so many a second; what each worker has counted by the end."""
    from example_project.shop.views import PAGES

    draw, counts, started = random.Random(1), {}, time.monotonic()
    pages: list[Future[None]] = []
    with ThreadPoolExecutor(demo.WORKERS * 2) as threads:
        for number in range(int(seconds * rate)):
            time.sleep(max(0, started + number / rate - time.monotonic()))  # a fixed rate: both modes get the same load
            pages.append(threads.submit(page, port, draw.randrange(PAGES), counts))
    for each in pages:
        each.result()
    if (over := time.monotonic() - started - seconds) > LATEST:
        raise RuntimeError(f"the shop was {over:.0f} s late: ask for fewer pages (--rate)")
    return counts


def fill() -> None:
    """Put all that the pages read into the remote: what is not there is read from the database, once for both modes."""
    from django.core.cache import caches

    from example_project.geo import models
    from example_project.shop.models import Price

    values = {}
    for model, fields in (
        (models.Subdivision, ["name", "kind", "country_id"]),
        (Price, ["amount", "currency_id"]),
        (models.Country, ["name"]),
        (models.Currency, ["name"]),
    ):
        for key, *row in model.objects.values_list("pk", *fields):
            values[f"{model.__name__.lower()}.{key}"] = tuple(row) if len(fields) > 1 else row[0]
    caches["remote"].set_many(values)


def commands(server: redis.Redis) -> int:
    """Commands that the server has run for the workers."""
    stats = server.info("commandstats")
    return sum(each["calls"] for name, each in stats.items() if name.partition("_")[2].partition("|")[0] not in UNCOUNTED)


def predict(environment: dict[str, str], seconds: float, rate: float, record: str) -> tuple[float, float]:
    """The hit ratio, and the commands for 100 reads, that the plan comes to; the traffic goes to ``record``, a CSV file."""
    from django.core.cache import caches

    from tieredcache.checks.caches import read_aliases
    from tieredcache.config import TieredOptions
    from tieredcache.plan.events import write_trace
    from tieredcache.plan.monitor import watch
    from tieredcache.plan.simulate import Trace, simulate

    options = read_aliases()["default"]
    if not isinstance(options, TieredOptions):
        raise TypeError("the demo's default cache has no local tier")
    with demo.gunicorn(environment | {"DEMO_MODE": "remote"}) as port, ThreadPoolExecutor(1) as thread:
        traffic = thread.submit(ask, port, seconds, rate)
        events, _ = watch(caches["remote"], "remote", seconds + LATEST, None)
        traffic.result()
    if record:
        write_trace(record, events)
    trace = Trace(events)
    demo.say(f"{len(events):,} events of {len(trace.processes)} connections")
    found = simulate(trace, options)
    return found.hits / found.reads, 100 * found.commands / found.reads


def measure(environment: dict[str, str], server: redis.Redis, seconds: float, rate: float) -> tuple[float, float]:
    """The same as the tiered mode has it."""
    with demo.gunicorn(environment | {"DEMO_MODE": "tiered", "DEMO_TABLES": "0"}) as port:
        counted = commands(server)
        workers = ask(port, seconds, rate)
        sent = commands(server) - counted
    reads = [sum(counts[place] for counts in workers.values()) for place in range(3)]
    return reads[0] / sum(reads), 100 * sent / sum(reads)


def main() -> int:
    """Compare the two; 1 where they are further apart than a tenth."""
    parser = options(__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="how long to watch, and to measure (default: 30)")
    parser.add_argument("--rate", type=float, default=2, help="pages a second (default: 2)")
    parser.add_argument("--record", default="", metavar="FILE", help="write what was watched to this CSV file")
    arguments = parser.parse_args()
    try:
        with contextlib.ExitStack() as stack:
            environment = demo.prepare(stack)
            server = stack.enter_context(redis.Redis.from_url(environment["REDIS_URL"]))
            fill()
            demo.say("watching the shop without a local tier ...")
            predicted = predict(environment, arguments.seconds, arguments.rate, arguments.record)
            demo.say("measuring the shop with both tiers ...")
            measured = measure(environment, server, arguments.seconds, arguments.rate)
    finally:
        servers.stop_all()
    rows = [["", "predicted", "measured", "difference"]]
    apart = 0.0
    for name, text, before, after in zip(
        ("hit ratio", "commands for 100 reads"), ("{:.1%}", "{:,.0f}"), predicted, measured, strict=True
    ):
        difference = before / after - 1
        apart = max(apart, abs(difference))
        rows.append([name, text.format(before), text.format(after), f"{difference:+.1%}"])
    print(f"\n{demo.table(rows)}\n\nwithin {WITHIN:.0%}: {'yes' if apart <= WITHIN else 'NO'}")
    return int(apart > WITHIN)


if __name__ == "__main__":
    sys.exit(main())
