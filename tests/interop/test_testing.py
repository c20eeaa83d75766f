"""What docs/testing.md says of settings, clocks and mocks."""

import copy
from time import monotonic
from unittest import mock

import pytest
import time_machine
from django.conf import settings
from django.core.cache import cache, caches
from django.test import override_settings
from freezegun import freeze_time

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
        assert bound.local != caches["default"].local
        assert bound.get("key") == "new"
        cache.set("key", "newest", timeout=None)
        assert bound.get("key") == "new"
        assert cache.get("key") == "newest"


def test_freezegun_ages_what_was_there():
    """Copies from before count as expired."""
    learn("key")
    assert cache.get("key") == "old"
    with freeze_time("2030-01-01"):
        assert cache.get("key") == "new"


def test_copies_made_in_frozen_time_outlive_it():
    """Their deadlines are those of another clock: clear the local tier when the time thaws."""
    with freeze_time("2030-01-01"):
        learn("key")
    assert deadline("key") > monotonic() + 1e6
    assert cache.get("key") == "old"
    cache.local.clear()
    assert cache.get("key") == "new"


def test_freezegun_can_leave_the_package_alone():
    """By the name of the package."""
    with freeze_time("2030-01-01", ignore=["tieredcache"]) as now:
        learn("key")
        now.tick(60)
        assert cache.get("key") == "old"
    assert deadline("key") < monotonic() + 60


def test_time_machine_leaves_deadlines_alone():
    """It travels by the wall clock."""
    with time_machine.travel("2030-01-01 00:00Z", tick=False) as now:
        learn("key")
        now.shift(60)
        assert cache.get("key") == "old"
        assert deadline("key") < monotonic() + 60


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
