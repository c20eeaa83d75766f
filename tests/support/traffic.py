"""The same traffic over a remote alone and through a tier over it, and the reads of it that were lost."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import threading
import time

from django.core.cache import caches
from django.test import override_settings

ALONE, TIER = "remote", "default"  # the aliases
TIERED = "tieredcache.backends.TieredCache"


@dataclasses.dataclass
class Outcome:
    """What became of reads, of keys that exist. ``failed``: raised an error. ``missed``: got no value."""

    reads: int = 0
    failed: int = 0
    missed: int = 0

    @property
    def lost(self):
        return self.failed + self.missed

    def __add__(self, other):
        return Outcome(self.reads + other.reads, self.failed + other.failed, self.missed + other.missed)

    def __str__(self):
        return f"{self.lost} of {self.reads} reads lost ({self.failed} failed, {self.missed} missed)"


def redis_alias(url, **options):
    """The settings of a django-redis alias; ``options``: its OPTIONS."""
    return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url, "OPTIONS": options}


@contextlib.contextmanager
def aliases(remote, *, others=None, **options):
    """Set up the remote alias, a tier over it with ``options``, and ``others``."""
    tier = {"BACKEND": TIERED, "LOCATION": ALONE, "OPTIONS": options}
    with override_settings(CACHES={TIER: tier, ALONE: remote, **(others or {})}):
        try:
            yield
        finally:
            caches.close_all()


def get(cache, key):
    return cache.get(key)


def get_many(cache, key):
    return cache.get_many([key]).get(key)


def aget(cache, key):
    return asyncio.run(cache.aget(key))


WAYS = [get, get_many, aget]


def read_one(cache, key, way=get):
    """Read a key that exists."""
    try:
        value = way(cache, key)
    except Exception:
        return Outcome(1, failed=1)
    return Outcome(1, missed=value is None)


def read_all(alias, keys, *, way=get, pause=0.0, seconds=None, least=25):
    """Read keys that exist, one after the other; ``pause``: seconds after each, on average.

    ``seconds``: stop after so many, once ``least`` keys have been read.
    """
    cache, total, started = caches[alias], Outcome(), time.monotonic()
    for key in keys:
        total += read_one(cache, key, way)
        if pause:
            time.sleep(random.uniform(0, 2 * pause))  # what a page does besides
        if seconds is not None and total.reads >= least and time.monotonic() - started > seconds:
            break
    return total


def in_threads(count, work, *, seconds=60):
    """The results of ``work(0)`` to ``work(count - 1)``, each in a thread of its own; all must end within ``seconds``."""
    results, errors = {}, []
    barrier = threading.Barrier(count)

    def run(number):
        try:
            barrier.wait(10)
            results[number] = work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=[number], daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    waiting = sum(thread.is_alive() for thread in threads)
    assert not waiting, f"{waiting} of {count} threads still wait after {seconds} s"
    if errors:
        raise errors[0]
    return [results[number] for number in range(count)]


def assert_no_worse(tier, alone, *, margin):
    """Fail where more reads are lost through the tier than alone. ``margin``: the share of reads that chance may add."""
    report = f"through the tier {tier}; alone {alone}"
    print(report)
    assert tier.lost <= alone.lost * tier.reads / alone.reads + margin * tier.reads, report


def in_new_thread(function, *args):
    """What ``function`` returns in a thread that has no cache instances yet, as each of runserver's requests is."""
    return in_threads(1, lambda _: function(*args))[0]
