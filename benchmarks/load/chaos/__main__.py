"""``make chaos``: what visitors of a site notice while the server of its cache is broken, in each of eight ways.

Gunicorn (4 workers of 4 threads) and uvicorn (2 workers), Locust as the visitors, real servers. The warm keys are written
again and again by another process, and each value that a page shows is checked for how long it had been replaced. It takes
seven minutes.

    python -m benchmarks.load.chaos [--short] [--only WORD] [--server gunicorn|uvicorn]
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings

from benchmarks.load.chaos import report, scenarios
from benchmarks.load.chaos.publisher import Publisher, make_remote
from benchmarks.micro.caches import tiered
from benchmarks.micro.command import options
from tests.support import servers
from tests.support.servers import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCAL_TIMEOUT, RETRY_AFTER = 1.0, 1.0
OPTIONS = {"LOCAL_TIMEOUT": LOCAL_TIMEOUT, "STALE_IF_ERROR": 600, "RETRY_AFTER": RETRY_AFTER}
KEYS = [f"warm{number}" for number in range(20)]
WORKERS = {"gunicorn": 4, "uvicorn": 2}
ANSWERS = 50  # of each worker: under traffic most of them count reads under way


@contextlib.contextmanager
def site(kind: str, environment: dict[str, str]) -> Iterator[int]:
    """The site, on its own workers; yields its port."""
    port = servers.free_port()
    workers = ["--workers", str(WORKERS[kind]), "--log-level", "critical"]
    if kind == "gunicorn":
        command = ["gunicorn", "benchmarks.load.chaos.site:application", "--bind", f"{HOST}:{port}", "--no-control-socket"]
        command += [*workers, "--threads", "4", "--keep-alive", "30"]
    else:
        command = ["uvicorn", "benchmarks.load.chaos.site:async_application", "--host", HOST, "--port", str(port), *workers]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "benchmarks.load.chaos.site", **environment}
    with servers.running([sys.executable, "-m", *command], port, seconds=30, environment=environment):
        yield port


@contextlib.contextmanager
def visitors(port: int, kind: str, notes: Path) -> Iterator[None]:
    """Locust, until the block ends."""
    command = [sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("visitors.py")), "--headless"]
    command += ["--users", "13", "--spawn-rate", "13", "--host", f"http://{HOST}:{port}", "--only-summary"]
    environment = {**os.environ, "CHAOS_NOTES": str(notes), "CHAOS_PREFIX": prefix(kind)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def prefix(kind: str) -> str:
    """Before the paths of the async pages."""
    return "a" if kind == "uvicorn" else ""


def answer(port: int, path: str) -> dict[str, Any]:
    """What the site answers, on a connection of its own, and so from any worker."""
    with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=30)) as connection:
        connection.request("GET", path)
        found = connection.getresponse()
        text = found.read()
        return json.loads(text) if found.status == http.client.OK else {}


def states(port: int, kind: str) -> dict[int, dict[str, int]]:
    """How each worker is, by its process id: the least of several answers, because the reads under way count too."""
    found: dict[int, list[dict[str, int]]] = {}
    for _ in range(1000):
        state = answer(port, f"/{prefix(kind)}state/")
        found.setdefault(state["pid"], []).append(state)
        if len(found) == WORKERS[kind] and min(map(len, found.values())) >= ANSWERS:
            break
    return {pid: {thing: min(state[thing] for state in states) for thing in states[0]} for pid, states in found.items()}


def warm(port: int, kind: str) -> None:
    """Let each worker come to know all keys: an outage that finds it without a copy is another test's."""
    warmed: set[int] = set()
    for _ in range(5000):
        answer(port, f"/{prefix(kind)}page/")
        state = answer(port, f"/{prefix(kind)}state/")
        if state.get("entries", 0) >= len(KEYS):
            warmed.add(state["pid"])
        if len(warmed) == WORKERS[kind]:
            return
    raise RuntimeError(f"only {len(warmed)} workers have come to know all keys")


@contextlib.contextmanager
def under_traffic(scenario: scenarios.Scenario, kind: str, directory: Path) -> Iterator[tuple[int, report.Run]]:
    """The site with its visitors and the publisher; yields its port, and what is noted."""
    remote = scenario.start()
    log, notes = directory / "log", directory / "notes"
    log.touch()
    publisher = Publisher(remote, KEYS)
    publisher.start()
    environment = {"CHAOS_CACHES": json.dumps({"default": tiered(**OPTIONS), "remote": remote}), "CHAOS_LOG": str(log)}
    run = report.Run(scenario, kind, publisher, LOCAL_TIMEOUT, RETRY_AFTER)
    with site(kind, environment) as port:
        warm(port, kind)
        log.write_text("")  # a worker that starts on a busy machine may have taken its time-out for an outage
        with visitors(port, kind, notes):
            yield port, run
        publisher.finish()
    run.read(notes, log, make_remote(remote))


def one(scenario: scenarios.Scenario, kind: str, seconds: tuple[float, float, float], directory: Path) -> report.Run:
    """Before, during and after one outage."""
    before, during, after = seconds
    with under_traffic(scenario, kind, directory) as (_, run):
        wait(3 + before)  # three for Locust to start, and the first pages
        run.began = time.time() - before
        run.broken = time.time()
        scenario.break_()
        if scenario.elects:
            scenarios.await_(lambda: run.publisher.back(run.broken), "nobody was elected")
            run.back = run.publisher.back(run.broken) or 0.0
        else:
            wait(during)
            scenario.restore()
            run.back = time.time()
        wait(after)
        run.ended = time.time()
    return run


def many(kind: str, outages: int, directory: Path, stack: contextlib.ExitStack) -> list[str]:
    """What a worker has more of after so many outages than before."""
    scenario = scenarios.Killed(stack)
    with under_traffic(scenario, kind, directory) as (port, _):
        cycle(scenario, 2)  # the first ones warm up pools and threads
        before = states(port, kind)
        cycle(scenario, outages)
        after = states(port, kind)
    return report.grown(before, after, len(KEYS))


def cycle(scenario: scenarios.Scenario, outages: int) -> None:
    """Break and restore."""
    wait(3)
    for _ in range(outages):
        scenario.break_()
        wait(1.5)
        scenario.restore()
        wait(2)
    wait(LOCAL_TIMEOUT)


def wait(seconds: float) -> None:
    """Let the site run."""
    time.sleep(seconds)  # gunicorn and the visitors are real processes, whose clock no test can move: this is the traffic


def main() -> int:
    """Run the scenarios; 1 where one did not go as promised."""
    parser = options(__doc__)
    parser.add_argument("--short", action="store_true", help="each scenario once, for a few seconds; no times are judged")
    parser.add_argument("--only", default="", help="the scenarios with this in their names")
    parser.add_argument("--server", choices=WORKERS, help="only this one")
    arguments = parser.parse_args()
    settings.configure(CACHES={})
    kinds = [arguments.server] if arguments.server else list(WORKERS)
    seconds = (2.0, 3.0, 4.0) if arguments.short else (6.0, 10.0, 6.0)
    problems = []
    print(report.HEAD, flush=True)
    for number, found in enumerate(scenarios.ALL):
        if arguments.only not in found.name:
            continue
        for kind in [kinds[number % len(kinds)]] if arguments.short else kinds:
            with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory(prefix="tieredcache-") as directory:
                run = one(found(stack), kind, seconds, Path(directory))
            print(run.table(), flush=True)
            problems += run.problems(times=not arguments.short)
    outages = 3 if arguments.short else 20
    for kind in kinds if not arguments.only else []:
        with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory(prefix="tieredcache-") as directory:
            grown = many(kind, outages, Path(directory), stack)
        print(f"{kind}, after {outages} outages, a worker has more of: {', '.join(grown) or 'nothing'}", flush=True)
        problems += [f"{kind}, {outages} outages: more {thing}" for thing in grown]
    for problem in problems:
        print(f"BROKEN: {problem}")
    print("broken promises: " + str(len(problems)))
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
