"""Caches over a server whose trips are counted, and caches that compute a value early."""

import contextlib
import random
import uuid
from unittest.mock import Mock

import pytest
import redis
from django.core.cache import caches
from django.test import override_settings

from tests.support.caches import LRU, TIERED
from tests.support.doubles import RemoteDouble
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


# --- values that are computed early ---

DRAWN = 3.0
"""What every process draws here. A value that took 1 s, and lives for 100, is due when it is 97 s old."""


@pytest.fixture
def compute(clock):
    """Takes a second of the clock; returns 1, 2, 3. ``meanwhile``: what happens in that second; it may raise."""

    def compute():
        compute.calls += 1
        clock.move(1)
        compute.meanwhile()
        return compute.calls

    compute.calls, compute.meanwhile = 0, lambda: None
    return compute


@pytest.fixture
def draws(monkeypatch):
    """Counts the draws."""
    monkeypatch.setattr(random, "expovariate", draws := Mock(return_value=DRAWN))
    return draws


@pytest.fixture
def make(clock, draws):
    """Makes the aliases "tiered" and "other", which are two processes to each other, over one remote, and "lru"."""
    with contextlib.ExitStack() as stack:

        def make(alias="tiered", *, early=1, **options):
            remote = {"BACKEND": "tests.support.doubles.TellingDouble", "LOCATION": uuid.uuid4().hex}
            tiered = {"LOCAL_TIMEOUT": 60, "JITTER": 0, "REFRESH_EARLY": early, **options}
            alone = {name: tiered[name] for name in {"REFRESH_EARLY", "MAX_ENTRIES"} & tiered.keys()}
            settings = {"default": remote, "remote": remote}
            settings["tiered"] = {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": {**tiered}}
            settings["other"] = {"BACKEND": TIERED, "LOCATION": "default", "OPTIONS": {**tiered}}
            settings["lru"] = {"BACKEND": LRU, "LOCATION": uuid.uuid4().hex, "OPTIONS": alone}
            stack.enter_context(override_settings(CACHES=settings))
            return caches[alias]

        yield make


@pytest.fixture
def due(make, clock, compute):
    """Makes a cache that has computed the value 1, which is due when ``get`` is called next."""

    def due(alias="tiered", **options):
        cache, compute.calls, RemoteDouble.broken = make(alias, **options), 0, None
        assert cache.get_or_set("key", compute, 100) == 1
        for seconds in (50, 46, 2):  # a copy is filled that ends after 97 s, and one when it has ended
            clock.move(seconds)
            cache.get("key")
        return cache

    return due
