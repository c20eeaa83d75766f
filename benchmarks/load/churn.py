"""Whether memory grows: ``python -m benchmarks.load.churn [FILLS]``, a minute for a million.

A tier of 20 MB is filled with values of all kinds and many sizes, each key by chance; a million fills are what a worker does
in an hour that misses 278 times a second. Prints the resident memory by the way; 1 where the second half takes a tenth more.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

from benchmarks.micro.caches import ECHO, Echo, over_echo, set_up
from benchmarks.micro.command import options

KEYS, SAMPLES = 200_000, 10


def value(number: int, draw: random.Random) -> Any:
    """One of five kinds, of another size each time."""
    size = int(2 ** draw.uniform(0, 9))
    return (
        "x" * size,
        {"id": number, "name": "x" * size},
        (number, "x" * size, number / 7),
        bytes(20 * size),
        [number * each for each in range(size)],
    )[number % 5]


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> int:
    """Print the samples."""
    parser = options(__doc__)
    parser.add_argument("fills", type=int, nargs="?", default=1_000_000, help="how many (default: a million)")
    fills = parser.parse_args().fills
    small = over_echo("bytes", LOCAL_TIMEOUT=3600, MAX_BYTES="20MB", MAX_ENTRIES=KEYS, PREFETCH=0)
    caches = set_up({"default": ECHO, **small})
    draw, before, samples = random.Random(1), resident(), []
    for number in range(fills):
        key = f"key{draw.randrange(KEYS)}"
        Echo.values = {key: value(number, draw)}
        caches["bytes"].get(key)
        if number % (fills // SAMPLES) == fills // SAMPLES - 1:
            samples.append(resident())
            stats = caches["bytes"].stats()
            print(f"{number + 1:10,} reads {samples[-1] - before:12,} resident {stats.bytes:12,} estimated", flush=True)
    first, second = samples[1 : SAMPLES // 2], samples[SAMPLES // 2 :]  # the allocator's: it goes up and down
    return int(sum(second) / len(second) - before > 1.1 * (sum(first) / len(first) - before))


if __name__ == "__main__":
    sys.exit(main())
