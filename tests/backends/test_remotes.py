"""The remote of a TieredCache: whose instance it is, and whose mistakes are told."""

import contextvars
from unittest import mock

import pytest
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.test import override_settings

from tests.support.caches import TIERED

LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
MISTAKEN = {
    "options": ({**LOCMEM, "OPTIONS": None}, "NoneType"),
    "serializer": (
        {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:1", "OPTIONS": {"SERIALIZER": 5}},
        "rsplit",
    ),
}
CALLS = {
    "get": lambda cache: cache.get("key"),
    "set": lambda cache: cache.set("key", 1),
    "forget": lambda cache: cache.local.forget("key"),
}


def over(remote):
    return override_settings(CACHES={"default": {"BACKEND": TIERED, "LOCATION": "remote"}, "remote": remote})


def test_a_cache_that_contexts_share_has_the_remote_of_each(make_cache):
    """A remote need not be safe to share, so an instance that is held is given the one that Django has there."""
    cache = make_cache()
    here = cache.remote
    assert here is cache.remote is caches["remote"]
    assert contextvars.copy_context().run(lambda: cache.remote) is here
    elsewhere = contextvars.Context()
    other = elsewhere.run(lambda: cache.remote)
    assert other is not here
    assert elsewhere.run(lambda: caches["remote"]) is other
    assert cache.remote is here


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", MISTAKEN)
def test_an_attribute_error_of_the_remote_is_shown(name, call):
    """It is not taken for an attribute that is missing here."""
    remote, message = MISTAKEN[name]
    with over(remote):
        try:
            with pytest.raises(AttributeError, match=message):
                CALLS[call](caches["default"])
        finally:
            if name == "serializer":
                del caches["remote"]  # django-redis fails in the same way when it is closed


def test_an_attribute_error_of_the_remote_is_shown_when_it_is_asked_for():
    """As by every call that needs it."""
    remote, message = MISTAKEN["options"]
    with over(remote):
        cache = caches["default"]
        with pytest.raises(AttributeError, match=message):
            cache.remote  # noqa: B018


@pytest.mark.parametrize("remote", [{}, {"BACKEND": "os.path.join"}, {"BACKEND": None}, {"BACKEND": "no.such.module"}])
def test_mistakes_of_the_remote_alias_are_djangos_to_tell(remote):
    """When that alias is used; they do not hide behind errors of ours."""
    with over(remote):
        cache = caches["default"]
        with pytest.raises(Exception) as bare:  # noqa: PT011 - whatever Django raises
            caches["remote"]
        with pytest.raises(type(bare.value)):
            cache.get("key")


def test_a_key_is_asked_for_once_when_it_is_given_many_times(make_cache, mode):
    """And nothing is kept that could answer the others: the ids of a page's authors, in fresh(), say."""
    cache = make_cache(LOCAL_TIMEOUT=0)
    cache.set_many({"a": 1, "1": 2})
    with mock.patch.object(LocMemCache, "get", autospec=True, side_effect=LocMemCache.get) as get:
        assert mode(cache).get_many(["a"] * 50 + ["1", 1] + ["a"] * 50) == {"a": 1, "1": 2, 1: 2}
    assert get.call_count == 3
    assert mode(cache).get_many([["no"]]) == cache.remote.get_many([["no"]]) == {}
    cache.set(True, "yes")
    assert mode(cache).get_many([True, 1, True]) == cache.remote.get_many([True, 1, True]) == {True: "yes"}


def test_a_copy_of_which_nothing_was_made_is_no_hit(make_cache):
    cache = make_cache()
    cache.set("key", "value")
    cache.get("key")
    assert cache.derived("key", str) is None
    assert cache.stats().hits == 0
