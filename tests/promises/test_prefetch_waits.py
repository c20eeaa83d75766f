"""Promise 9, for a read that brings others along: in an outage no more reads fail than without it, and none waits longer
than for the client's time-out twice, whatever reads it.
"""

import os
import signal
import time

import pytest
import redis
from django.core.cache import caches
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support import servers
from tests.support.traffic import ALONE, TIER, WAYS, Outcome, aliases, in_threads, read_one, redis_alias
from tieredcache.remote import prefetch

PAGE = [f"key:{number}" for number in range(8)]
READERS = 4
TIME_OUT = 1  # seconds
CHANCE = 0.9  # seconds that a busy machine may add, less than a third time-out
ONE_ATTEMPT = {"retry": Retry(NoBackoff(), 0)}


@pytest.fixture
def process(clock):
    """A server's process, under a tier whose page has been read together, and has expired."""
    with servers.valkey() as url:
        remote = redis_alias(f"{url}/1", SOCKET_TIMEOUT=TIME_OUT, CONNECTION_POOL_KWARGS=ONE_ATTEMPT)
        with aliases(remote, JITTER=0):
            cache = caches[TIER]
            cache.set_many(dict.fromkeys(PAGE, "value"))
            for _ in range(2):
                prefetch.begin_burst()
                assert [cache.get(key) for key in PAGE] == ["value"] * 8
                clock.move(6)
            assert cache.stats().prefetched == 7, "a read does bring others along"
            yield redis.Redis.from_url(url).info("server")["process_id"]


def read_in_an_outage(process, alias, way):
    """What becomes of one read of each reader, and how long the slowest took."""

    def read(number):
        started = time.monotonic()
        return read_one(caches[alias], PAGE[number], way), time.monotonic() - started

    os.kill(process, signal.SIGSTOP)
    try:
        outcomes, seconds = zip(*in_threads(READERS, read), strict=True)
    finally:
        os.kill(process, signal.SIGCONT)
    return sum(outcomes, Outcome()), max(seconds)


@pytest.mark.parametrize("way", WAYS)
def test_a_reader_waits_for_two_time_outs_at_most_when_its_trip_would_bring_others_along(process, way):
    alone, without = read_in_an_outage(process, ALONE, way)
    tier, first = read_in_an_outage(process, TIER, way)
    print(f"alone {alone} within {without:.2f} s; through the tier {tier} within {first:.2f} s")
    assert tier.lost <= alone.lost == READERS
    assert first <= 2 * without + CHANCE
    _, then = read_in_an_outage(process, TIER, way)
    assert then <= without + CHANCE, "while the remote fails, each key is asked for alone"
