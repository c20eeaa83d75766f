"""Promise 10: mistakes are told, with the alias, the option, the value and the remedy."""

import pytest
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from tests.support.caches import LRU, TIERED

LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
NAN, INFINITY, HUGE = float("nan"), float("inf"), 10**400  # beyond all floats: it would overflow when added to a time


def options(**given):
    return {"default": {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": given}, "remote": LOCMEM}


def alias(**given):
    return {"default": {"BACKEND": TIERED, "LOCATION": "remote", **given}, "remote": LOCMEM}


def lru(**given):
    return {"default": {"BACKEND": LRU, "LOCATION": "place", **given}}


# Settings, and what the message must say.
MISTAKES = {
    "unknown name": (options(LOCAL_TIMOUT=5), ["OPTIONS['LOCAL_TIMOUT'] is an unknown name", "Did you mean LOCAL_TIMEOUT?"]),
    "lower case": (options(max_entries=5), ["'max_entries'", "Did you mean MAX_ENTRIES?"]),
    "nothing like it": (options(XYZ=1), ["'XYZ'", "JITTER, LOCAL_TIMEOUT, LOCAL_TIMEOUTS, MAX_BYTES, MAX_ENTRIES"]),
    "text for a number": (options(LOCAL_TIMEOUT="5"), ["OPTIONS['LOCAL_TIMEOUT'] is '5'", "a finite number"]),
    "None for a number": (options(LOCAL_TIMEOUT=None), ["is None", "0 switches the local tier off"]),
    "bool for a number": (options(LOCAL_TIMEOUT=True), ["is True", "a finite number"]),
    "NaN": (options(LOCAL_TIMEOUT=NAN), ["is nan", "finite"]),
    "infinity": (options(LOCAL_TIMEOUT=INFINITY), ["is inf", "finite"]),
    "negative": (options(LOCAL_TIMEOUT=-1), ["is -1", "of at least 0"]),
    "miss timeout": (options(MISS_TIMEOUT=-0.1), ["OPTIONS['MISS_TIMEOUT'] is -0.1", "of at least 0"]),
    "stale as text": (options(STALE_WHILE_REVALIDATE="1"), ["OPTIONS['STALE_WHILE_REVALIDATE'] is '1'", "deadline"]),
    "stale negative": (options(STALE_WHILE_REVALIDATE=-1), ["OPTIONS['STALE_WHILE_REVALIDATE'] is -1"]),
    "stale if error as text": (options(STALE_IF_ERROR="1"), ["OPTIONS['STALE_IF_ERROR'] is '1'", "deadline"]),
    "stale if error forever": (options(STALE_IF_ERROR=float("inf")), ["OPTIONS['STALE_IF_ERROR'] is inf", "finite"]),
    "remote errors unknown": (options(REMOTE_ERRORS="swallow"), ["OPTIONS['REMOTE_ERRORS'] is 'swallow'", '"ignore"']),
    "remote errors as a bool": (options(REMOTE_ERRORS=True), ["OPTIONS['REMOTE_ERRORS'] is True", '"raise"']),
    "remote errors as a list": (options(REMOTE_ERRORS=["ignore"]), ["OPTIONS['REMOTE_ERRORS'] is ['ignore']", '"raise"']),
    "retry negative": (options(RETRY_AFTER=-1), ["OPTIONS['RETRY_AFTER'] is -1", "attempts"]),
    "retry as text": (options(RETRY_AFTER="1"), ["OPTIONS['RETRY_AFTER'] is '1'", "attempts"]),
    "jitter above 1": (options(JITTER=1.5), ["OPTIONS['JITTER'] is 1.5", "from 0 to 1"]),
    "jitter as bool": (options(JITTER=False), ["is False", "from 0 to 1"]),
    "no entries": (options(MAX_ENTRIES=0), ["OPTIONS['MAX_ENTRIES'] is 0", "whole number of at least 1"]),
    "half an entry": (options(MAX_ENTRIES=1.5), ["is 1.5", "a whole number"]),
    "entries as bool": (options(MAX_ENTRIES=True), ["is True", "a whole number"]),
    "no bytes": (options(MAX_BYTES=0), ["OPTIONS['MAX_BYTES'] is 0", '"64MB"']),
    "bytes as bool": (options(MAX_BYTES=True), ["OPTIONS['MAX_BYTES'] is True", "at least 1"]),
    "bytes as float": (options(MAX_BYTES=1e6), ["OPTIONS['MAX_BYTES'] is 1000000.0", "whole number"]),
    "bytes without a unit": (options(MAX_BYTES="64"), ["OPTIONS['MAX_BYTES'] is '64'", "a unit"]),
    "bytes of an unknown unit": (lru(OPTIONS={"MAX_BYTES": "64 apples"}), ["OPTIONS['MAX_BYTES'] is '64 apples'", '"64MB"']),
    "bytes of no number": (lru(OPTIONS={"MAX_BYTES": "-1MB"}), ["OPTIONS['MAX_BYTES'] is '-1MB'", "None"]),
    "timeouts as list": (options(LOCAL_TIMEOUTS=["a"]), ["OPTIONS['LOCAL_TIMEOUTS'] is ['a']", "there is LOCAL_TIMEOUT"]),
    "empty prefix": (options(LOCAL_TIMEOUTS={"": 1}), ["OPTIONS['LOCAL_TIMEOUTS'] has the prefix ''", "not empty"]),
    "prefix not text": (options(LOCAL_TIMEOUTS={1: 1}), ["has the prefix 1", "strings"]),
    "seconds not a number": (options(LOCAL_TIMEOUTS={"a": "1"}), ["OPTIONS['LOCAL_TIMEOUTS']['a'] is '1'", "finite"]),
    "seconds negative": (options(LOCAL_TIMEOUTS={"a": -1}), ["OPTIONS['LOCAL_TIMEOUTS']['a'] is -1"]),
    "share a string": (options(SHARE_VALUES="geo."), ["OPTIONS['SHARE_VALUES'] is 'geo.'", '["geo."]']),
    "share a number": (options(SHARE_VALUES=1), ["is 1", "True, False, or a list"]),
    "share an empty prefix": (options(SHARE_VALUES=[""]), ["has the prefix ''", "not empty"]),
    "share not text": (options(SHARE_VALUES=[1]), ["has the prefix 1", "strings"]),
    "options not a dict": (alias(OPTIONS=[1]), ["OPTIONS is of type list", "to a dict"]),
    "misspelt section": (alias(OPTION={}), ["'OPTION' is an unknown name", "Did you mean OPTIONS?"]),
    "timeout as text": (alias(TIMEOUT="300"), ["TIMEOUT is '300'", "or None"]),
    "timeout as bool": (alias(TIMEOUT=True), ["TIMEOUT is True", "a finite number"]),
    "timeout NaN": (alias(TIMEOUT=NAN), ["TIMEOUT is nan"]),
    "key prefix": (alias(KEY_PREFIX="a"), ["KEY_PREFIX is 'a'", "the alias that LOCATION names"]),
    "empty key prefix": (alias(KEY_PREFIX=""), ["KEY_PREFIX is ''", "the alias that LOCATION names"]),
    "key function": (alias(KEY_FUNCTION="a.b"), ["KEY_FUNCTION is 'a.b'", "the alias that LOCATION names"]),
    "version": (alias(VERSION=2), ["VERSION is 2", "the alias that LOCATION names"]),
    "unknown alias": (alias(LOCATION="elsewhere"), ["LOCATION is 'elsewhere'", "default, remote"]),
    "location missing": (
        {"default": {"BACKEND": TIERED}, "remote": LOCMEM},
        ["LOCATION is '', not an alias in CACHES", "default, remote"],
    ),
    "location a list": (alias(LOCATION=["remote"]), ["LOCATION is ['remote']", "not an alias"]),
    "location None": (alias(LOCATION=None), ["LOCATION is None", "not an alias"]),
    "itself": (alias(LOCATION="default"), ["LOCATION is 'default'", "the alias of a TieredCache", "default, remote"]),
    "a tier over a tier": (
        alias(LOCATION="other") | {"other": {"BACKEND": TIERED, "LOCATION": "remote"}},
        ["LOCATION is 'other'", "the memory of this process", "Set it to 'remote'"],
    ),
    "a url, as before": (
        {"default": {"BACKEND": TIERED, "LOCATION": "redis://127.0.0.1:6379/1"}},
        ["an entry of its own in CACHES, which has: default"],
    ),
    "the client's, far": (options(PASSWORD="x"), ["OPTIONS['PASSWORD']", "to the alias that LOCATION names"]),
    "the client's, near": (options(SOCKET_TIMEOUT=1), ["LOCAL_TIMEOUT?", "to the alias that LOCATION names"]),
    "the client's, not near": (options(SERIALIZER="x"), ["Known there: JITTER", "to the alias that LOCATION names"]),
    "lru, unknown name": (
        lru(OPTIONS={"MAX_ENTRY": 5}),
        ["OPTIONS['MAX_ENTRY'] is an unknown name", "Did you mean MAX_ENTRIES?"],
    ),
    "lru, no entries": (lru(OPTIONS={"MAX_ENTRIES": 0}), ["OPTIONS['MAX_ENTRIES'] is 0"]),
    "lru, entries as text": (lru(OPTIONS={"MAX_ENTRIES": "5"}), ["OPTIONS['MAX_ENTRIES'] is '5'"]),
    "lru, cull frequency": (lru(OPTIONS={"CULL_FREQUENCY": "x"}), ["OPTIONS['CULL_FREQUENCY'] is 'x'"]),
    "lru, copy values": (lru(OPTIONS={"COPY_VALUES": 1}), ["OPTIONS['COPY_VALUES'] is 1", "True or False"]),
    "lru, timeout": (lru(TIMEOUT="soon"), ["TIMEOUT is 'soon'"]),
    "lru, misspelt": (lru(KEY_PREFX="a"), ["'KEY_PREFX' is an unknown name", "Did you mean KEY_PREFIX?"]),
    "a number beyond all floats": (options(LOCAL_TIMEOUT=HUGE), ["OPTIONS['LOCAL_TIMEOUT'] is ", "a finite number"]),
    "entries beyond all floats": (options(MAX_ENTRIES=HUGE), ["OPTIONS['MAX_ENTRIES'] is ", "a whole number"]),
    "timeout beyond all floats": (alias(TIMEOUT=HUGE), ["TIMEOUT is ", "a finite number"]),
    **{
        f"a tier over one that is itself a mistake: {below}": (
            alias(LOCATION="lower") | {"lower": {"BACKEND": TIERED, "LOCATION": below}},
            ["LOCATION is 'lower', the alias of a TieredCache", "in CACHES, which has: default, lower, remote."],
        )
        for below in (["x"], "nope", "lower", None)
    },
    "lru, key function": (lru(KEY_FUNCTION=5), ["KEY_FUNCTION is 5", "Set it to a function"]),
    "lru, location a list": (lru(LOCATION=["a"]), ["LOCATION is ['a']", "to a name"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told(name):
    """When the cache is made, in one message."""
    settings, parts = MISTAKES[name]
    with override_settings(CACHES=settings):
        for _ in range(2):  # not only at first sight
            with pytest.raises(ImproperlyConfigured) as error:
                caches["default"]
            message = str(error.value)
            assert message.startswith("CACHES['default']: "), message
            assert "nope" not in message, "the remote of another alias is not quoted"
            for part in parts:
                assert part in message, message


@pytest.mark.parametrize(
    "settings",
    [
        options(),
        alias(),
        alias(TIMEOUT=None),
        alias(TIMEOUT=0),
        alias(TIMEOUT=1.5, OPTIONS={}),
        options(
            LOCAL_TIMEOUT=0.5,
            LOCAL_TIMEOUTS={"a": 0, "b": 1.5},
            MAX_ENTRIES=1,
            MAX_BYTES=None,
            MISS_TIMEOUT=1,
            JITTER=0,
            SHARE_VALUES=("a",),
        ),
        lru(),
        lru(TIMEOUT=0.5, KEY_PREFIX="a", VERSION=2, OPTIONS={"MAX_ENTRIES": 1, "CULL_FREQUENCY": 0, "COPY_VALUES": True}),
        {"default": {"BACKEND": LRU, "NAME": "as the seed had it"}},
    ],
)
def test_what_is_right_is_accepted(settings):
    """Each of the options in a form of its own."""
    with override_settings(CACHES=settings):
        caches["default"].set("key", 1)


@pytest.mark.parametrize(
    ("given", "size"),
    [("64MB", 64 * 10**6), ("64 mb", 64 * 10**6), ("10kB", 10_000), ("1GiB", 2**30), ("512B", 512), (123, 123)],
)
def test_bytes_may_have_a_unit(given, size):
    """Powers of ten, or of two with an i."""
    with override_settings(CACHES=options(MAX_BYTES=given)):
        assert caches["default"].stats().max_bytes == size


def test_a_cache_made_by_hand_is_named_by_its_class():
    """Where no alias has these settings, nothing of them but the mistake is quoted."""
    from tieredcache.backends import TieredCache

    with pytest.raises(ImproperlyConfigured, match="a TieredCache: OPTIONS"):
        TieredCache("remote", {"OPTIONS": {"JITTER": 2}})


def test_defaults():
    """As the contract has them."""
    with override_settings(CACHES=options()):
        given = caches["default"]._tier.options
    assert (given.local_timeout, given.max_entries, given.miss_timeout, given.jitter, given.share_values) == (
        5,
        1000,
        0,
        0.1,
        False,
    )
    for key in ("django.contrib.sessions.cacheX", "django.contrib.sessions.cached_dbX", "throttle_x", "rl:x"):
        assert given.timeout_for(key) == 0
    assert given.timeout_for("x") == 5
