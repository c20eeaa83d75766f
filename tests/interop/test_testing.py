"""What docs/testing.md says of settings, clocks and mocks."""

import copy
import datetime
import runpy
from functools import partial
from time import monotonic
from unittest import mock

import pytest
import time_machine
from django.conf import settings
from django.core.cache import cache, caches
from django.test import override_settings
from freezegun import freeze_time

from tests.support.caches import LRU
from tieredcache import clock
from tieredcache.backends import TieredCache


@pytest.fixture(autouse=True)
def tiers():
    """Of this test's own."""
    with override_settings(CACHES=copy.deepcopy(settings.CACHES)):
        cache.clear()
        yield
        cache.clear()


def learn(key):
    cache.set(key, "old", timeout=None)
    cache.get(key)
    cache.remote.set(key, "new", timeout=None)


def deadline(key):
    """That of the local copy, by the monotonic clock."""
    return cache._tier.index[cache.local_key(key)].until


def test_other_settings_make_new_tiers():
    """Empty ones, and so does their end."""
    learn("key")
    with override_settings(CACHES=copy.deepcopy(settings.CACHES)):
        assert len(cache.local) == 0
        learn("key")
        assert cache.get("key") == "old"
    assert len(cache.local) == 0
    assert cache.get("key") == "new"


def test_an_instance_bound_before_keeps_its_tier():
    """Emptied, and it is not told of writes through the tiers of other settings, which may lead to another server."""
    bound = caches["default"]
    learn("key")
    with override_settings(CACHES=copy.deepcopy(settings.CACHES)):
        assert bound.get("key") == "new"
        assert (len(bound.local), len(caches["default"].local)) == (1, 0)
        cache.set("key", "newest", timeout=None)
        assert bound.get("key") == "new"
        assert cache.get("key") == "newest"


YEAR_2030 = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


def frozen(tool, to):
    """The time frozen by one of the two."""
    return freeze_time(to) if tool == "freezegun" else time_machine.travel(to, tick=False)


@pytest.mark.parametrize("tool", ["freezegun", "time-machine"])
@pytest.mark.parametrize("to", [datetime.datetime.now(datetime.UTC), YEAR_2030], ids=["today", "2030"])
def test_frozen_time_leaves_deadlines_alone(tool, to):
    """What was stored before is there inside and afterwards, and what is stored inside lives no longer than elsewhere."""
    with override_settings(CACHES={**settings.CACHES, "local": {"BACKEND": LRU, "LOCATION": f"{tool} {to}"}}):
        local = caches["local"]
        learn("before")
        local.set("before", "old", 60)
        with frozen(tool, to) as now:
            assert cache.get("before") == local.get("before") == "old"
            learn("inside")
            local.set("inside", "old", 60)
            (now.tick if tool == "freezegun" else now.shift)(3600)
            assert cache.get("inside") == local.get("inside") == local.get("before") == "old"
        assert cache.get("before") == local.get("before") == local.get("inside") == "old"
        assert deadline("inside") < monotonic() + 60
        assert local._store.index["inside"].deadline < monotonic() + 60


def test_the_clock_is_the_machines_when_it_is_imported_in_frozen_time():
    """As where a test freezes the time before it first uses a cache; and one that somebody has put there first is taken."""
    imported = partial(runpy.run_path, clock.__file__)
    with freeze_time("2030-01-01"):
        found = imported()["clock"]
    assert monotonic() <= found() < monotonic() + 60
    with mock.patch("time.monotonic", return_value=5):
        assert imported()["clock"]() == 5


@pytest.mark.parametrize("what", [TieredCache, cache], ids=["class", "object"])
def test_patches_are_seen(what):
    """On the class, or on the object."""
    cache.set("key", "value")
    assert cache.get("key") == "value"
    with mock.patch.object(what, "get", return_value="mocked"):
        assert cache.get("key") == caches["default"].get("key") == "mocked"
    assert cache.get("key") == "value"


@pytest.mark.parametrize("options", [{}, {"RETRY_AFTER": 0}], ids=["default", "no pause"])
def test_a_remote_that_is_down_for_a_moment(options):
    """One read that fails is no outage; where there is no pause between attempts, the next read ends one."""
    config = {**settings.CACHES["default"], "OPTIONS": options}
    with override_settings(CACHES={**settings.CACHES, "default": config}):
        cache.set("key", "value")
        with mock.patch.object(cache.remote, "get", side_effect=ConnectionError), pytest.raises(ConnectionError):
            cache.get("key")
        assert cache.get("key") == "value"
