"""A signal handler that raises, as a soft time limit does, strikes at random while a tier is used; nothing may stay behind.

Not on Python 3.14, where an exception that a signal handler raises can leave any lock of a ``with`` block held.

    python -m tests.stress.signals TIMES
"""

import faulthandler
import gc
import logging
import random
import signal
import sys
import threading

import django
from django.conf import settings


class Struck(Exception):
    pass


def strike(*_):
    raise Struck


def main(times):
    faulthandler.dump_traceback_later(150, exit=True)
    tiered = {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": "remote"}
    options = {"LOCAL_TIMEOUT": 60, "MAX_ENTRIES": 5, "MAX_BYTES": 10_000}
    remote = {"BACKEND": "tests.stress.races.SlowRemote"}  # without a lock of its own, which the handler would break
    settings.configure(CACHES={"default": {**tiered, "OPTIONS": options}, "remote": remote})
    django.setup()
    logging.getLogger("tieredcache").disabled = True  # a handler that is struck swallows it
    from django.core.cache import caches

    from tieredcache import fresh
    from tieredcache.freshness import demands

    cache = caches["default"]
    tier = cache._tier
    cache.set_many({key: [1] for key in "abcdefgh"})
    signal.signal(signal.SIGALRM, strike)
    struck, held = 0, []

    def probe():
        free = tier.lock.acquire(timeout=1)
        if free:
            tier.lock.release()
        held.append(not free)

    while struck < times:
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.002))
            for _ in range(50):  # not without an end: an exception that strikes in a destructor is lost
                for key in "abcdefgh":
                    cache.get(key)
                    with fresh(60):
                        cache.get_or_set(key + key, list)
                    cache.local.forget(key)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except Struck:
            struck += 1
        thread = threading.Thread(target=probe)
        thread.start()
        thread.join()
        assert not any(held), f"the lock stays held after {struck} signals"
    # What the last exception cut in two, the next change repairs.
    cache.local.forget("a")
    cache.get("a")
    assert len(tier.index) == len(tier.lru), "the store was not repaired"
    assert not tier.busy
    assert tier.bytes == sum(entry.size for entry in tier.index.values()), "the bytes were not summed up"
    assert not tier.inflight.under_way, "a computation stays in flight"
    gc.collect()
    assert not demands, "a demand on freshness goes on"
    print(f"{struck} signals, nothing left behind")


if __name__ == "__main__":
    main(int(sys.argv[1]))
