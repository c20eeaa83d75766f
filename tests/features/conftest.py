"""Caches over a server whose trips are counted."""

import pytest
import redis

from tests.support.prefetched import read_once
from tests.support.trips import counting
from tieredcache.remote.script import SCRIPT


@pytest.fixture
def counted(make_cache, clock, valkey_url):
    """Makes such a cache: ``counted(PREFETCH=2)``."""

    def make(**options):
        with redis.Redis.from_url(valkey_url) as server:
            server.script_load(SCRIPT)  # the first to use it on a server pays two trips more
        return make_cache(counting("django-redis", valkey_url), **{"LOCAL_TIMEOUT": 5, "JITTER": 0, **options})

    return make


@pytest.fixture
def expired(counted, clock):
    """Makes one whose page has been read once, and has expired."""
    return lambda **options: read_once(counted(**options), clock)
