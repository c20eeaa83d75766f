"""Own writes under threads and tasks: a read that starts after a write has returned sees that write, or a newer one.

Few keys, each with one writer that counts up; readers compare what they get with what had been written when they started.
The interpreter switches threads every 10 microseconds, the remote yields between reading and returning, and the local tier
has room for fewer entries than there are keys.

    python -m tests.stress.races OPERATIONS [--without-marks]
"""

import asyncio
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import django
from django.conf import settings
from django.core.cache.backends.base import BaseCache

KEYS = [f"key{number}" for number in range(4)]
_values = {}


class SlowRemote(BaseCache):
    """A dict that lets others run between a read and its return."""

    def __init__(self, _, params):
        super().__init__(params)

    def get(self, key, default=None, version=None):
        value = _values.get(key, default)
        for _ in range(random.randrange(3)):
            time.sleep(0)  # lets other threads run, and takes no time
        return value

    async def aget(self, key, default=None, version=None):
        value = _values.get(key, default)
        for _ in range(random.randrange(3)):
            await asyncio.sleep(0)
        return value

    def set(self, key, value, timeout=None, version=None):
        _values[key] = value

    def add(self, key, value, timeout=None, version=None):
        return _values.setdefault(key, value) is value

    def delete(self, key, version=None):
        return _values.pop(key, None) is not None


def main(operations, *, marks=True):  # noqa: PLR0915 - one scene
    options = {"LOCAL_TIMEOUT": 60, "MAX_ENTRIES": 3}
    settings.configure(
        CACHES={
            "default": {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": "remote", "OPTIONS": options},
            "remote": {"BACKEND": "tests.stress.races.SlowRemote"},
        }
    )
    django.setup()
    from django.core.cache import caches

    if not marks:
        from benchmarks.load.staleness import break_

        break_("mark")
    sys.setswitchinterval(1e-5)
    written = dict.fromkeys(KEYS, 0)
    done = [0]
    violations = []
    for key in KEYS:
        caches["default"].set(key, 0)

    def check(key, value, before):
        done[0] += 1
        if value < before:
            violations.append((key, value, before))

    def finished():
        return done[0] >= operations or len(violations) > 20

    def write(mine):
        cache = caches["default"]
        number = 0
        while not finished():
            number += 1
            for key in mine:
                if number % 3:
                    cache.set(key, number)
                else:
                    cache.set_many({key: number})
                written[key] = number
                check(key, cache.get(key), number)
                time.sleep(0)  # lets the readers run

    def read():
        cache = caches["default"]
        while not finished():
            key = random.choice(KEYS)
            before = written[key]
            check(key, cache.get(key), before)
            wanted = {key: written[key] for key in KEYS}
            found = cache.get_many(KEYS)
            for key, before in wanted.items():
                check(key, found[key], before)

    async def aread():
        cache = caches["default"]

        async def one():
            while not finished():
                key = random.choice(KEYS)
                before = written[key]
                check(key, await cache.aget(key), before)
                wanted = {key: written[key] for key in KEYS}
                found = await cache.aget_many(KEYS)
                for key, before in wanted.items():
                    check(key, found[key], before)
                await asyncio.sleep(0)

        await asyncio.gather(*(one() for _ in range(5)))

    with ThreadPoolExecutor(6) as pool:
        threads = [pool.submit(write, KEYS[:2]), pool.submit(write, KEYS[2:])]
        threads += [pool.submit(read) for _ in range(3)]
        threads += [pool.submit(asyncio.run, aread())]
    print(f"{done[0]:,} reads checked, {sum(written.values()):,} writes, {len(violations)} violations {violations[:3]}")
    for thread in threads:
        thread.result()  # raises what has ended it early
    return bool(violations)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), marks="--without-marks" not in sys.argv))
