"""``make demo``: the shop's price list read from the database, from the remote cache, and through both tiers, side by side.

Through both tiers in two ways: each key for itself, and together with those that were read together before.

Real tables in SQLite, a real Valkey server (or the one that REDIS_URL names), gunicorn with four workers, real requests.
``make serve`` starts the same and keeps it running, to be looked at.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import redis

from example_project import servers, traffic

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parents[1]
WORKERS = 4
NAMES = {
    "database": "database only",
    "remote": "remote cache only",
    "alone": "tiered, PREFETCH 0",
    "tiered": "tiered",
}
MODES = {name: {"DEMO_MODE": name} for name in NAMES} | {"alone": {"DEMO_MODE": "tiered", "DEMO_PREFETCH": "0"}}
# Each is one round trip: PTTL, which the tier sends along with a GET, is none of its own.
TRIPS = ("get", "mget", "set")


@contextlib.contextmanager
def gunicorn(environment: dict[str, str], port: int | None = None, workers: int = WORKERS) -> Iterator[int]:
    """Gunicorn with the shop; yields its port."""
    port = port or servers.free_port()
    command = [sys.executable, "-m", "gunicorn", "example_project.wsgi", "--bind", f"{servers.HOST}:{port}"]
    command += ["--workers", str(workers), "--log-level", "warning", "--chdir", str(PROJECT), "--no-control-socket"]
    command += ["--timeout", "120"]  # a machine that has stopped for a while is no worker that hangs
    with servers.running(command, port, seconds=30, environment=os.environ | environment, heard=True):
        yield port


def trips(server: redis.Redis) -> tuple[int, int, int]:
    """Round trips, reads that found something and reads that did not, as the server has counted them."""
    stats = server.info("commandstats")
    count = sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in TRIPS)
    found = server.info("stats")
    return count, found["keyspace_hits"], found["keyspace_misses"]


def measure(mode: str, environment: dict[str, str], server: redis.Redis, seconds: float) -> list[str]:
    """The row of the table for ``mode``."""
    from example_project.shop.views import PAGES

    say(f"{NAMES[mode]}: starting {WORKERS} workers, warming up for {seconds / 2:g} s ...")
    with gunicorn(environment | MODES[mode]) as port:
        before = traffic.ask(port, PAGES, seconds / 2)
        say(f"{NAMES[mode]}: measuring for {seconds:g} s ...")
        counted = trips(server)
        measured = traffic.ask(port, PAGES, seconds)
        count, found, missed = (now - then for now, then in zip(trips(server), counted, strict=True))
    ratio = "-"
    if mode == "remote":
        ratio = f"{found / (found + missed):.1%} remote"
    elif measured.workers:
        reads = [0, 0, 0]
        for worker, counts in measured.workers.items():
            earlier = before.workers.get(worker, (0, 0, 0))
            reads = [total + now - then for total, now, then in zip(reads, counts, earlier, strict=True)]
        ratio = f"{reads[0] / sum(reads):.1%} local"
    return [
        NAMES[mode],
        f"{measured.rate:.1f}",
        f"{measured.percentile(50):.1f} ms",
        f"{measured.percentile(99):.1f} ms",
        f"{count / len(measured.pages):.1f}",
        ratio,
    ]


def say(message: str) -> None:
    """Progress, at once."""
    print(f"  {message}", flush=True)


def table(rows: list[list[str]]) -> str:
    """``rows`` in columns, the first of them the head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def prepare(stack: contextlib.ExitStack) -> dict[str, str]:
    """A server and a database with everything in it, both gone when ``stack`` ends; the environment that leads to them."""
    directory = stack.enter_context(tempfile.TemporaryDirectory(prefix=f".demo-{os.getpid()}-", dir=PROJECT))
    url = os.environ.get("REDIS_URL")
    if url:
        say("using the server in REDIS_URL ...")
    else:
        say("starting a Valkey server ...")
        port = servers.free_port()
        server = servers.launch(servers.valkey_command(port, directory), port)
        stack.callback(servers.stop, server)
        url = f"redis://{servers.HOST}:{port}/1"
        os.environ["DEMO_SERVER_PID"] = str(server.pid)
    environment = {"DEMO_DATABASE": str(Path(directory) / "demo.sqlite3"), "REDIS_URL": url}
    os.environ.update(environment, DJANGO_SETTINGS_MODULE="example_project.settings")

    import django

    django.setup()
    from django.core.cache import caches

    from example_project.geo import tables

    say("loading countries, currencies, subdivisions and prices into SQLite ...")
    say(f"{tables.load():,} rows loaded")
    # In a database of one's own, what the demo has written is removed by its prefix.
    stack.callback(lambda: caches["remote"].delete_pattern("*"))
    return environment


def compare(stack: contextlib.ExitStack, seconds: float) -> None:
    """The ways, one after the other."""
    started = time.monotonic()
    environment = prepare(stack)
    from django.core.cache import caches

    from example_project.shop import views

    server = stack.enter_context(redis.Redis.from_url(environment["REDIS_URL"]))
    rows = [["", "requests/s", "p50", "p99", "remote round trips/page", "hit ratio"]]
    for mode in NAMES:
        caches["remote"].delete_pattern("*")
        rows.append(measure(mode, environment, server, seconds))
    cells = views.ROWS * views.CELLS
    print(
        f"\nA page of {views.ROWS} rows, {cells} look-ups; {WORKERS} gunicorn workers, {seconds:g} s each:\n"
        f"\n{table(rows)}\n"
    )
    print(f"done in {time.monotonic() - started:.0f} s; to look at the page: make serve")


def serve(stack: contextlib.ExitStack, port: int) -> None:
    """The shop, until it is interrupted."""
    environment = prepare(stack)
    from example_project.geo import tables

    stack.enter_context(gunicorn(environment | {"DEMO_MODE": "tiered"}, port))
    print(f"\n  the shop:  http://{servers.HOST}:{port}/", flush=True)
    print(f"  the tiers: http://{servers.HOST}:{port}/tiers/", flush=True)
    print(f"  the admin: http://{servers.HOST}:{port}/admin/ (user {tables.USER!r}, password {tables.USER!r})", flush=True)
    print("\n  Ctrl-C stops it.", flush=True)
    threading.Event().wait()


def stop(*_: object) -> NoReturn:
    """Leave by way of everything that cleans up."""
    raise KeyboardInterrupt


def main() -> int:
    """Run the demo; 130 where it was interrupted."""
    parser = argparse.ArgumentParser(description="The same page read in four ways, side by side; or kept running.")
    parser.add_argument("--serve", type=int, metavar="PORT", help="keep the shop running there")
    parser.add_argument("--seconds", type=float, default=8, help="how long to measure each of the four (default: 8)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    try:
        with contextlib.ExitStack() as stack:
            if arguments.serve:
                serve(stack, arguments.serve)
            else:
                compare(stack, arguments.seconds)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    finally:
        servers.stop_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
