"""Pages of 200 look-ups from gunicorn's workers, and how many commands they cost the remote."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import statistics
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import redis

from tests.support import servers
from tests.support.servers import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS = 4
KEYS = 1000
VISITORS = 16
COMMANDS = ("get", "mget", "pttl")
BY_IMPORT = "pages of 200 look-ups, as people write them"
IMPORTS = {"by_tieredcache": "from tieredcache import cache", "by_django": "from django.core.cache import cache"}


@contextlib.contextmanager
def site(url: str, workers: int, keys: int) -> Iterator[int]:
    """Gunicorn with the site; yields its port."""
    port = servers.free_port()
    environment = {"DJANGO_SETTINGS_MODULE": "benchmarks.load.pages_site", "BENCH_URL": url, "BENCH_KEYS": str(keys)}
    command = [sys.executable, "-m", "gunicorn", "benchmarks.load.pages_site", "--bind", f"{HOST}:{port}"]
    command += ["--workers", str(workers), "--log-level", "warning", "--no-control-socket"]
    with servers.running(command, port, seconds=60, environment=os.environ | environment):
        visit(port, "fill", 0)
        yield port


def visit(port: int, path: str, seconds: float) -> float:
    """Ask for the page for so many seconds, once at least; pages per second.

    Each on a connection of its own, so that all the workers get some.
    """
    end = time.monotonic() + seconds
    counts = itertools.count()
    problems: list[str] = []

    def work() -> None:
        request = f"GET /{path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
        while not problems:
            with socket.create_connection((HOST, port), timeout=60) as connection:
                connection.sendall(request)
                answer = b""
                while part := connection.recv(65536):
                    answer += part
            if not (answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"the end")):
                problems.append(answer.decode(errors="replace"))
                return
            next(counts)
            if time.monotonic() >= end:
                return

    started = time.monotonic()
    visitors = [threading.Thread(target=work, daemon=True) for _ in range(VISITORS)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    if problems:
        raise RuntimeError(f"/{path} answered {problems[0]!r}")
    return next(counts) / (time.monotonic() - started)


def commands(server: redis.Redis, names: tuple[str, ...] = COMMANDS) -> int:
    """The reads that the server has been asked for since it started."""
    stats: dict[str, Any] = server.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names)


def measured(port: int, alias: str, server: redis.Redis, seconds: float) -> tuple[float, float]:
    """Pages per second, and commands per second at the remote."""
    before, started = commands(server), time.monotonic()
    pages = visit(port, alias, seconds)
    return pages, (commands(server) - before) / (time.monotonic() - started)


def side_by_side(url: str, share: float = 1) -> list[dict[str, Any]]:
    """Remote only and tiered, and the two imports, in turns, in one session of four workers."""
    names = {"remote": "remote only", "tiered5": "tiered, LOCAL_TIMEOUT 5", "tiered60": "tiered, LOCAL_TIMEOUT 60"}
    rounds: dict[str, list[float]] = {path: [] for path in names | IMPORTS}
    asked = {}
    with site(url, WORKERS, KEYS) as port, contextlib.closing(redis.Redis.from_url(url)) as server:
        for path in rounds:
            visit(port, path, 4)  # warm
        for _ in range(max(2, int(6 * share))):
            for path, found in rounds.items():
                found.append(visit(port, path, 3))
        # Deadlines pass whether anybody asks or not, so commands are counted in one go, over a whole local timeout.
        for alias, seconds in (("remote", 5), ("tiered5", 20), ("tiered60", 60)):
            visit(port, alias, 2)
            asked[alias] = measured(port, alias, server, seconds * max(share, 0.2))[1]
    pages = {path: statistics.median(found) for path, found in rounds.items()}
    base = pages["remote"]
    targets = [
        outcome("pages/s at least 8 x remote only", base / pages["tiered5"], 1 / 8),
        outcome("pages/s at least 8 x remote only, LOCAL_TIMEOUT 60", base / pages["tiered60"], 1 / 8),
        outcome("commands/s at most 0.02 x remote only, LOCAL_TIMEOUT 60", asked["tiered60"] / asked["remote"], 0.02),
    ]
    faster = statistics.median(
        mine / theirs for mine, theirs in zip(rounds["by_django"], rounds["by_tieredcache"], strict=True)
    )
    return [
        {
            "name": f"pages of 200 look-ups, {KEYS:,} keys, {WORKERS} gunicorn workers",
            "rows": {
                name: {"pages/s": round(pages[alias], 1), "commands/s": round(asked[alias], 1)}
                for alias, name in names.items()
            },
            "targets": targets,
        },
        {
            "name": BY_IMPORT,
            "rows": {name: {"pages/s": round(pages[path], 1)} for path, name in IMPORTS.items()},
            "targets": [outcome("pages/s at least 1 x those by Django's import", faster, 1)],
        },
    ]


def both(url: str, share: float = 1) -> Iterator[dict[str, Any]]:
    """The comparisons and the curve."""
    yield from side_by_side(url, share)
    yield by_workers(url, share)


def outcome(target: str, ratio: float, limit: float) -> dict[str, Any]:
    """A target and what came out."""
    return {"target": target, "ratio": round(ratio, 5), "holds": ratio <= limit}


def by_workers(url: str, share: float = 1) -> dict[str, Any]:
    """Commands per second as workers are added, against ``distinct hot keys x workers / LOCAL_TIMEOUT``.

    Twice that: GET and PTTL. A deadline is shortened by JITTER, 0.05 of it on average.
    """
    keys, seconds = 200, 1
    rows = {}
    for workers in (1, 2, 4, 8, 16) if share == 1 else (1, 2):
        with site(url, workers, keys) as port, contextlib.closing(redis.Redis.from_url(url)) as server:
            visit(port, "tiered1", 4 * seconds)
            pages, asked = measured(port, "tiered1", server, 15 * seconds)
        most = 2 * keys * workers / (seconds * 0.95)
        rows[str(workers)] = {"pages/s": round(pages, 1), "commands/s": round(asked, 1), "arithmetic": round(most, 1)}
    worst = max(row["commands/s"] / row["arithmetic"] for row in rows.values())
    return {
        "name": f"commands at the remote by workers, {keys} keys, LOCAL_TIMEOUT {seconds}",
        "rows": rows,
        "targets": [outcome("commands/s at most 1.1 x the arithmetic", worst, 1.1)],
    }
