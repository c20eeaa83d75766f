"""Traffic for the demo: threads that ask for pages, and what they measured.

``python -m example_project.traffic HOST PORT``: a few pages a second until it is stopped, whatever comes of them.
"""

from __future__ import annotations

import argparse
import http.client
import random
import signal
import statistics
import threading
import time
from dataclasses import dataclass, field
from typing import Final, NoReturn

from example_project.servers import HOST

PAUSE: Final = 0.5
"""Seconds between two pages of a visitor, where nothing is measured: the machine has other things to do."""


@dataclass
class Measured:
    """Seconds per page, the time it all took, and the counters of each worker, by its process id."""

    pages: list[float] = field(default_factory=list)
    seconds: float = 0
    workers: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Pages per second."""
        return len(self.pages) / self.seconds

    def percentile(self, percent: int) -> float:
        """Milliseconds that ``percent`` of the pages stayed within."""
        return statistics.quantiles(self.pages, n=100)[percent - 1] * 1000


def ask(  # noqa: PLR0913 - most of them by name
    port: int,
    pages: int,
    seconds: float,
    *,
    threads: int = 6,
    host: str = HOST,
    pause: float = 0,
    under: tuple[str, ...] = ("/",),
) -> Measured:
    """Ask for random pages for so many seconds, once at least; raises ``RuntimeError`` where one is not answered.

    ``pause``: seconds between two pages of a thread. ``under``: the paths that the threads find the pages under, by turns.
    """
    measured = Measured()
    started = time.monotonic()
    end = started + seconds
    problems: list[str] = []

    def work(seed: int) -> None:
        draw = random.Random(seed)
        try:
            while not problems:
                begin = time.monotonic()
                # Longer than gunicorn's own limit: its log then tells of the worker that it has ended.
                connection = http.client.HTTPConnection(host, port, timeout=150)
                connection.request("GET", f"{under[seed % len(under)]}{draw.randrange(pages)}/")
                response = connection.getresponse()
                response.read()
                connection.close()
                measured.pages.append(time.monotonic() - begin)
                if response.status != http.client.OK:
                    problems.append(f"a page answered {response.status}")
                if worker := response.headers["X-Worker"]:
                    measured.workers[worker] = tuple(map(int, response.headers["X-Stats"].split()))
                if time.monotonic() + pause >= end:
                    return
                time.sleep(pause)
        except OSError as error:
            problems.append(f"a page was not answered: {error!r}")

    # Daemons: an interrupt must not wait for them.
    workers = [threading.Thread(target=work, args=[seed], daemon=True) for seed in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if problems:
        raise RuntimeError(problems[0])
    measured.seconds = time.monotonic() - started
    return measured


def stop(*_: object) -> NoReturn:
    """End now: as the first process of a container, Python would ignore the signal."""
    raise SystemExit(0)


def main() -> None:
    """A little traffic, until it is stopped."""
    parser = argparse.ArgumentParser(description="Asks the shop for pages.")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--under", nargs="+", default=["/"], help="the paths that the shop is found under")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    under = tuple(arguments.under)
    while True:
        try:
            measured = ask(arguments.port, 500, 10, threads=2, host=arguments.host, pause=PAUSE, under=under)
            print(f"{measured.rate:.0f} pages/s, half of them within {measured.percentile(50):.0f} ms", flush=True)
        except RuntimeError as problem:
            print(f"{problem}; going on", flush=True)
            time.sleep(1)  # a server that refuses does so at once


if __name__ == "__main__":
    main()
