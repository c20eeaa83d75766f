"""What ``PREFETCH`` does at full load: ``python -m benchmarks.prefetch_load``, five minutes.

Gunicorn with four workers and 16 visitors, the pages of ``benchmarks.pages``: 200 look-ups of 1,000 keys, at random by
Zipf's law; a Valkey server on the same machine, and 0.5 ms away. The tier with ``PREFETCH`` and the one without take turns
of ten seconds, by a clock that nobody moves: copies expire several times in each. Ratios are those of two turns that follow
each other, and the median of them is judged. With ``--save``, the figures go to ``docs/prefetch.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys

import redis

from benchmarks import delay, pages, prefetch_page, report
from tests.support import servers

COMMAND = "python -m benchmarks.prefetch_load --save"
DISTANCES = {"same machine": 0.0, "0.5 ms away": 0.0005}
TURNS = 5
SECONDS = 10
WARM = 2  # seconds at the beginning of a turn: the copies have expired in the other's
CANDIDATES = ("without", "tiered")  # the names of the site's aliases
PAGES_AT_LEAST, COMMANDS_AT_MOST = 0.97, 0.85  # against without


def turns(url: str, seconds: float, timeout: int) -> dict[str, list[tuple[float, float]]]:
    """Pages and commands a second, of each candidate in each turn. ``seconds``: how far away the server is."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CANDIDATES}
    with contextlib.ExitStack() as stack:
        far = stack.enter_context(delay.behind(url, seconds)) if seconds else url
        port = stack.enter_context(pages.site(far, pages.WORKERS, pages.KEYS))
        server = stack.enter_context(contextlib.closing(redis.Redis.from_url(url)))
        for name in CANDIDATES:
            pages.visit(port, f"{name}{timeout}", 2 * timeout)  # it learns
        for turn in range(TURNS):
            for name in CANDIDATES if turn % 2 else CANDIDATES[::-1]:
                pages.visit(port, f"{name}{timeout}", WARM)
                found[name].append(pages.measured(port, f"{name}{timeout}", server, SECONDS))
    return found


def judged(found: dict[str, list[tuple[float, float]]]) -> list[tuple[str, float, float, float, bool]]:
    """For pages and commands a second: without, with, their ratio, and whether it is what is promised."""
    lines = []
    for place, figure in enumerate(("pages/s", "commands/s")):
        without, ours = ([turn[place] for turn in found[name]] for name in CANDIDATES)
        ratio = statistics.median(mine / other for mine, other in zip(ours, without, strict=True))
        holds = ratio >= PAGES_AT_LEAST if figure == "pages/s" else ratio <= COMMANDS_AT_MOST
        lines.append((figure, statistics.median(without), statistics.median(ours), ratio, holds))
    return lines


def main() -> int:
    """Print the figures; 1 where a promise is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timeout", type=int, choices=(1, 5), default=5, help="LOCAL_TIMEOUT, seconds (default: 5)")
    parser.add_argument("--save", action="store_true")
    arguments = parser.parse_args()
    body, missed = [], False
    for distance, seconds in DISTANCES.items():
        with servers.valkey() as url:
            lines = judged(turns(url, seconds, arguments.timeout))
        print(distance)
        for figure, without, ours, ratio, holds in lines:
            missed |= not holds
            print(f"  {'holds' if holds else 'MISSED'}  {figure:10} {without:.0f} → {ours:.0f}, {ratio:.2f} x", flush=True)
        body.append([distance, *(f"{without:.0f} → {ours:.0f} ({ratio:.2f} x)" for _, without, ours, ratio, _ in lines)])
    if arguments.save:
        report.write(prefetch_page.PAGE, COMMAND, report.rows(["", "pages a second", "commands a second"], body))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
