"""A remote that fails when a test tells it to, and the ways in which it does."""

import contextlib

from tests.support.doubles import RemoteDouble

DOUBLE = {"BACKEND": "tests.support.doubles.RemoteDouble", "LOCATION": "failing"}
KEYS = ["a", "b", "c"]  # as many as have to fail before the others are held back
RETRY_AFTER = 1  # seconds, the default
FIRST_PAUSE = 0.05  # seconds from the first failure to the first attempt


def fail(error=None):
    """Let every read raise this."""
    RemoteDouble.broken_reads = error or ConnectionError("refused")


def heal():
    """Let reads succeed."""
    RemoteDouble.broken_reads = None


def read_in_vain(cache, keys=KEYS):
    """Read keys, and take no notice of the error."""
    for key in keys:
        with contextlib.suppress(Exception):
            cache.get(key)


def hiccup(cache):
    """Let a read of each key fail once, as when the server pauses for a moment."""
    fail()
    read_in_vain(cache)
    heal()


def go_down(cache, clock):
    """Let reads fail until the remote is known to be down."""
    fail()
    read_in_vain(cache)
    clock.move(RETRY_AFTER)
    read_in_vain(cache)
    assert cache.local.in_outage


def with_stale_copy(make_cache, clock, **options):
    """A tier that has a copy of "stale" past its deadline, and whose remote fails."""
    heal()
    cache = make_cache(DOUBLE, LOCAL_TIMEOUT=5, JITTER=0, **options)
    cache.set("stale", "old")
    assert cache.get("stale") == "old"
    clock.move(5)
    fail()
    RemoteDouble.reads = 0
    return cache
