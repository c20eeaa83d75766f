"""A signal handler that raises, as a soft time limit does, strikes at random while a tier is used; no lock may stay held.

python -m tests.signals SECONDS
"""

import faulthandler
import logging
import signal
import sys
import threading
import time

import django
from django.conf import settings


class Struck(Exception):
    pass


def strike(*_):
    raise Struck


def main(seconds):
    faulthandler.dump_traceback_later(seconds + 30, exit=True)
    tiered = {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": "remote"}
    # What strikes amid a remote read looks like an outage: none is to keep the reads away.
    options = {"LOCAL_TIMEOUT": 60, "MAX_ENTRIES": 5, "RETRY_AFTER": 0}
    remote = {"BACKEND": "tests.stress.SlowRemote"}  # without a lock of its own, which the handler would break
    settings.configure(CACHES={"default": {**tiered, "OPTIONS": options}, "remote": remote})
    django.setup()
    logging.getLogger("tieredcache").disabled = True  # a handler that is struck swallows it
    from django.core.cache import caches

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

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0002)
            for _ in range(50):
                for key in "abcdefgh":
                    cache.get(key)
                    cache.local.forget(key)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except Struck:
            struck += 1
        thread = threading.Thread(target=probe)
        thread.start()
        thread.join()
        assert not any(held), f"the lock is held for ever after {struck} signals"
    assert struck > 100
    # What the last strike cut in two, the next change mends.
    cache.local.forget("a")
    cache.get("a")
    assert len(tier.index) == len(tier.lru), "the store was not mended"
    print(f"{struck} signals, no lock held")


if __name__ == "__main__":
    main(float(sys.argv[1]))
