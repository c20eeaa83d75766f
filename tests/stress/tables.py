"""Lookup tables under threads and tasks: nobody sees rows older than its own last reload, and nobody waits without an end.

The source is a number that goes up. Each worker raises it now and then, reloads the table, and compares what it looks up
from then on with the number as it was before that reload. Some delete the entry, and all of them load it again when its
local timeout is over. The interpreter switches threads every 10 microseconds, and source and remote let others run.

    python -m tests.stress.tables OPERATIONS [--unserialised]
"""

import asyncio
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import django
from django.conf import settings

LONGEST = 10
"""Seconds: a caller that waits for another gives up after five, and then reads the source itself."""


class Scene:
    """One table, what its source has, and what has been seen of it."""

    def __init__(self, alias, operations):
        from tieredcache.lookups import LookupTable

        self.number, self.lock = 0, threading.Lock()
        self.table = LookupTable("table", self.source, key="code", timeout=60, alias=alias)
        self.left = operations
        self.violations, self.longest = [], 0.0

    def source(self):
        number = self.number
        for _ in range(random.randrange(3)):
            time.sleep(0)  # lets other threads run, and takes no time
        return [{"code": "GB", "number": number}]

    def change(self):
        with self.lock:
            self.number += 1
            return self.number

    def goes_on(self):
        return self.left > 0 and not self.violations

    def check(self, row, floor, start):
        self.left -= 1
        self.longest = max(self.longest, time.monotonic() - start)
        if row.number < floor:
            self.violations.append((row.number, floor))

    def in_thread(self, cache):
        floor = 0
        while self.goes_on():
            start = time.monotonic()
            chance = random.random()
            if chance < 0.02:
                changed = self.change()
                self.table.reload()
                floor = changed
            elif chance < 0.025:
                cache.delete("table")
            self.check(self.table["GB"], floor, start)

    async def in_task(self):
        floor = 0
        while self.goes_on():
            start = time.monotonic()
            chance = random.random()
            if chance < 0.02:
                changed = self.change()
                await self.table.areload()
                floor = changed
            elif chance < 0.021:
                changed = self.change()
                self.table.reload()  # in the event loop's thread, where it cannot wait
                floor = changed
            self.check(await self.table.aget("GB") if chance < 0.9 else self.table["GB"], floor, start)
            await asyncio.sleep(0)

    async def in_tasks(self):
        await asyncio.gather(*(self.in_task() for _ in range(5)))


def main(operations, *, serialised=True):
    tiered = {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": "remote", "OPTIONS": {"LOCAL_TIMEOUT": 0.05}}
    settings.configure(
        CACHES={
            "default": tiered,
            "remote": {"BACKEND": "tests.stress.races.SlowRemote"},
            "lru": {"BACKEND": "tieredcache.backends.LRUCache"},
        }
    )
    django.setup()
    from django.core.cache import caches

    from tieredcache.lookups import LookupTable

    if not serialised:
        LookupTable._reload = lambda self, _: self._bound().set("table", self._source.load(), 60)
    sys.setswitchinterval(1e-5)
    failed = False
    for alias in ("default", "lru"):
        scene = Scene(alias, operations // 2)
        with ThreadPoolExecutor(6) as pool:
            workers = [pool.submit(scene.in_thread, caches[alias]) for _ in range(4)]
            workers += [pool.submit(asyncio.run, scene.in_tasks()) for _ in range(2)]
        for worker in workers:
            worker.result()  # raises what has ended it early
        print(
            f"{alias}: {scene.number:,} changes, the longest call {scene.longest:.2f} s, "
            f"{len(scene.violations)} violations {scene.violations[:3]}"
        )
        failed = failed or scene.longest > LONGEST or bool(scene.violations)
    return failed


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), serialised="--unserialised" not in sys.argv))
