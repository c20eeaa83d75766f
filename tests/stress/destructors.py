"""Threads write and read values whose destructors yield, sleep and use the same cache; a third of them are in cycles.

test_destructors.py runs it in processes of their own: with plain lru-dict (``plain``) the interpreter crashes, which
``make crash`` shows; with both backends it must not, and no thread may wait without an end.

    python -m tests.stress.destructors {plain,lru,tiered} SECONDS
"""

import asyncio
import contextlib
import faulthandler
import gc
import random
import sys
import threading
import time

import django
from django.conf import settings
from django.core.cache.backends.base import BaseCache

KEYS = [f"key{number}" for number in range(60)] + [1, 2.5]
CAPACITY = 25
WRITERS, READERS = 4, 3

use = None  # what a destructor does with the cache; set by main()


class Noisy:
    """A value whose destructor does what a destructor should not."""

    def __init__(self, number=0):
        self.number = number
        if random.random() < 1 / 3:
            self.cycle = self

    def __add__(self, delta):
        return Noisy(self.number + delta)

    def __del__(self):
        what = random.random()
        if what < 0.5:
            time.sleep(1e-5)  # yields to the other threads
        elif what < 0.52:
            time.sleep(0.001)  # for long enough that all of them come by
        if use is not None and what < 0.6:
            use("in a destructor")


class FreshRemote(BaseCache):
    """A remote that keeps nothing and answers every read with a new noisy value: each fill displaces one."""

    def __init__(self, _, params):
        super().__init__(params)

    def get(self, key, default=None, version=None):
        return Noisy() if random.random() < 0.9 else default

    def set(self, key, value, timeout=None, version=None):
        pass

    def add(self, key, value, timeout=None, version=None):
        return True

    def touch(self, key, timeout=None, version=None):
        return True

    def delete(self, key, version=None):
        return True

    def clear(self):
        pass


def operate(cache):
    """One random operation, of every method there is."""

    def call(why=""):
        key = random.choice(KEYS)
        # What a destructor stores has none of its own: else each could start another one, without an end.
        value = why or Noisy()
        name = random.choices(
            ["set", "get", "get_many", "set_many", "add", "delete", "delete_many", "touch", "incr", "has_key", "version",
             "get_or_set", "clear", "stats", "expire", "async"],
            [30, 20, 8, 4, 8, 8, 2, 4, 6, 4, 2, 4, 1, 1, 4, 4],
        )[0]  # fmt: skip
        try:
            if name == "set":
                cache.set(key, value, random.choice([None, 10, 0.001]))
            elif name == "get":
                cache.get(key)
            elif name == "get_many":
                cache.get_many(random.sample(KEYS, 4))
            elif name == "set_many":
                cache.set_many({key: value, "key1": why or Noisy()})
            elif name == "add":
                cache.add(key, value, random.choice([None, 0.001]))
            elif name == "delete":
                cache.delete(key)
            elif name == "delete_many":
                cache.delete_many(random.sample(KEYS, 3))
            elif name == "touch":
                cache.touch(key, random.choice([None, 10, 0.001, 0]))
            elif name == "incr":
                cache.incr(key)
            elif name == "has_key":
                key in cache  # noqa: B015
            elif name == "version":
                cache.incr_version(key, random.choice([1, -1]), version=2)
            elif name == "get_or_set":
                cache.get_or_set(key, why or Noisy)
            elif name == "clear":
                (cache.local.clear if hasattr(cache, "local") and random.random() < 0.5 else cache.clear)()
            elif name == "stats":
                cache.stats()
            elif name == "expire":
                cache.set(key, value, 0)
            elif not why:  # a destructor may run inside an event loop, where another cannot
                asyncio.run(asynchronous(cache, key))
        except (ValueError, TypeError):
            pass  # incr and incr_version of nothing, or of a word

    return call


async def asynchronous(cache, key):
    await cache.aget(key)
    await cache.aget_many(KEYS[:4])
    await cache.ahas_key(key)


def backend_operation(kind):
    room = {"MAX_ENTRIES": CAPACITY, "MAX_BYTES": random.choice((None, 10_000))}
    caches = {
        "lru": {"BACKEND": "tieredcache.backends.LRUCache", "OPTIONS": room},
        "tiered": {
            "BACKEND": "tieredcache.backends.TieredCache",
            "LOCATION": "remote",
            "OPTIONS": {"SHARE_VALUES": True, "LOCAL_TIMEOUT": 0.01, "MISS_TIMEOUT": 0.005, **room},
        },
        "remote": {"BACKEND": "tests.stress.destructors.FreshRemote"},
    }
    settings.configure(CACHES=caches | {"default": caches[kind]})
    django.setup()
    from django.core.cache import caches as made

    cache = made["default"]
    return operate(cache), lambda: check(cache)


def check(cache):
    """Nothing is left behind, and both views of the store agree."""
    global use  # noqa: PLW0603
    use = None
    gc.collect()
    tiered = hasattr(cache, "local")
    store = cache._tier if tiered else cache._store
    for number in range(10 * CAPACITY):  # each that is kept, if only in one of the views, is evicted or replaced
        cache.get(f"new{number}") if tiered else cache.set(f"new{number}", number)
    assert len(store.index) == len(store.lru) <= CAPACITY, (len(store.index), len(store.lru))
    assert all(store.index[key] is store.lru[key] for key in store.lru.keys())  # noqa: SIM118 - not a dict
    assert store.bytes == sum(getattr(entry, "size", 0) for entry in store.index.values()) <= 10_000
    assert not store.inflight.under_way
    assert not store.busy


def plain_operation():
    from lru import LRU

    lru = LRU(CAPACITY)

    def call(_=""):
        lru[random.choice(KEYS)] = Noisy()
        with contextlib.suppress(KeyError):
            lru[random.choice(KEYS)]

    return call, lambda: None


def main(kind, seconds):
    global use  # noqa: PLW0603 - destructors have no other way to it
    faulthandler.enable()
    faulthandler.dump_traceback_later(seconds + 60, exit=True)  # a deadlock
    sys.setswitchinterval(1e-5)
    gc.set_threshold(30, 3, 3)
    operation, finish = plain_operation() if kind == "plain" else backend_operation(kind)
    use = None if kind == "plain" else operation
    end = time.monotonic() + seconds
    counts = []

    def work():
        count = 0
        while time.monotonic() < end:
            operation()
            count += 1
        counts.append(count)

    threads = [threading.Thread(target=work) for _ in range(WRITERS + READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    finish()
    assert len(counts) == len(threads), "a thread died"
    print(f"{kind}: {sum(counts)} operations in {seconds:g} s, alive")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
