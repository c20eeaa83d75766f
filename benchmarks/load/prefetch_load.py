"""What ``PREFETCH`` does at full load: ``python -m benchmarks.load.prefetch_load``, five minutes.

Gunicorn with four workers and 16 visitors, the pages of ``benchmarks.load.pages``: 200 look-ups of 1,000 keys, at random by
Zipf's law; a Valkey server on the same machine, and 0.5 ms away. The tier with ``PREFETCH`` and the one without take turns
of ten seconds, by a clock that nobody moves: copies expire several times in each. Ratios are those of two turns that follow
each other, and the median of them is judged. With ``--save``, the figures go to ``docs/prefetch.md``.
"""

from __future__ import annotations

import contextlib
import statistics
import sys

import redis

from benchmarks.figures import page
from benchmarks.load import delay, pages
from benchmarks.micro.command import judged, options
from tests.support import servers

COMMAND = "python -m benchmarks.load.prefetch_load --save"
DISTANCES = {"same machine": 0.0, "0.5 ms away": 0.0005}
TURNS = 5
SECONDS = 10
WARM = 2  # seconds at the beginning of a turn: the copies have expired in the other's
CANDIDATES = ("without", "tiered")  # the names of the site's aliases
PAGES_AT_LEAST, COMMANDS_AT_MOST = 0.97, 0.85  # against without


def turns(url: str, away: float, timeout: int, count: int, seconds: float) -> dict[str, list[tuple[float, float]]]:
    """Pages and commands a second, of each candidate in each turn; the server is ``away`` seconds off."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CANDIDATES}
    with contextlib.ExitStack() as stack:
        far = stack.enter_context(delay.behind(url, away)) if away else url
        port = stack.enter_context(pages.site(far, pages.WORKERS, pages.KEYS))
        server = stack.enter_context(contextlib.closing(redis.Redis.from_url(url)))
        for name in CANDIDATES:
            pages.visit(port, f"{name}{timeout}", 2 * timeout)  # it learns
        for turn in range(count):
            for name in CANDIDATES if turn % 2 else CANDIDATES[::-1]:
                pages.visit(port, f"{name}{timeout}", WARM)
                found[name].append(pages.measured(port, f"{name}{timeout}", server, seconds))
    return found


def compared(found: dict[str, list[tuple[float, float]]]) -> list[tuple[str, bool]]:
    """Pages and commands a second, without and with, their ratio, and whether it is what is promised."""
    lines = []
    for place in range(2):
        without, ours = ([turn[place] for turn in found[name]] for name in CANDIDATES)
        ratio = statistics.median(mine / other for mine, other in zip(ours, without, strict=True))
        holds = ratio <= COMMANDS_AT_MOST if place else ratio >= PAGES_AT_LEAST
        lines.append((f"{statistics.median(without):.0f} → {statistics.median(ours):.0f} ({ratio:.2f} x)", holds))
    return lines


def main() -> int:
    """Print the figures; 1 where a promise is missed."""
    parser = options(__doc__)
    parser.add_argument("--timeout", type=int, choices=(1, 5), default=5, help="LOCAL_TIMEOUT, seconds (default: 5)")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--short", action="store_true", help="one turn of two seconds each: not judged; a minute")
    ways.add_argument("--save", action="store_true", help="into the page")
    arguments = parser.parse_args()
    body, missed, length = [], 0, (1, 2) if arguments.short else (TURNS, SECONDS)
    for distance, away in DISTANCES.items():
        with servers.valkey() as url:
            found = compared(turns(url, away, arguments.timeout, *length))
        print(f"{distance}: pages a second, commands a second")
        missed += judged(found)
        body.append([distance, *(line for line, _ in found)])
    if arguments.save:
        page.write(page.PREFETCH, COMMAND, page.table(["", "pages a second", "commands a second"], body))
    return int(missed > 0 and not arguments.short)


if __name__ == "__main__":
    sys.exit(main())
