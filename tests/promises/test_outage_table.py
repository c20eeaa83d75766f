"""The table in docs/outages.md, run over remotes that are down."""

import ast
import re
from pathlib import Path

import pytest
from django.core.cache import caches
from django.test import override_settings

from tests.support.caches import TIERED

PAGE = Path(__file__).parents[2] / "docs" / "outages.md"
DEAD = {
    "django-redis": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"},
    "django": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"},
    "django-valkey": {"BACKEND": "django_valkey.cache.ValkeyCache", "LOCATION": "valkey://127.0.0.1:1/0"},
    "cluster": {"BACKEND": "django_valkey.cluster_cache.cache.ClusterValkeyCache", "LOCATION": "valkey://127.0.0.1:1"},
    "memcached": {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": "127.0.0.1:1",
        "OPTIONS": {"retry_attempts": 1_000_000_000, "retry_timeout": -1},
    },
}
ROWS = re.findall(r"^\| `(cache\..+?)` \| (.+?) \| (.+?) \| (.+?) \|$", PAGE.read_text(), re.MULTILINE)


@pytest.fixture(params=DEAD)
def make_tier(request, clock):
    def make(**options):
        options = {"LOCAL_TIMEOUT": 5, "STALE_IF_ERROR": 60, **options}
        settings = {"default": {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": options}, "remote": DEAD[request.param]}
        overridden = override_settings(CACHES=settings)
        overridden.enable()
        request.addfinalizer(overridden.disable)
        return caches["default"]

    return make


def keep_a_stale_copy(cache, clock):
    tier = cache._tier
    tier.keep(tier.begin("key", None, cache.local_key("key")), "copy", None)
    clock.move(10)


def check(cell, call):
    """Whether ``call()`` does what the cell says."""
    if cell == "error":
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the client's own; the message shows that it is
            call()
        assert not isinstance(caught.value, (ValueError, TypeError))
    elif cell == "`ValueError`":
        with pytest.raises(ValueError, match="'key' not changed"):
            call()
    else:
        assert call() == ast.literal_eval(cell.strip("`"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_method_does_what_the_table_says(make_tier, clock, mode, row):
    """With a stale copy and without; at the first failure and when it is known already."""
    text, with_copy, raising, ignoring = row
    for option, cell in (("raise", raising), ("ignore", ignoring)):
        cache = make_tier(REMOTE_ERRORS=option)

        def call(cache=cache):
            return eval(text, {"cache": mode(cache)})

        check(cell, call)
        check(cell, call)
        keep_a_stale_copy(cache, clock)
        if with_copy != "drops it":
            check(with_copy, call)
            check(with_copy, call)
            continue
        check(cell, call)
        check("error" if option == "raise" else '"default"', lambda cache=cache: mode(cache).get("key", "default"))


def test_the_table_has_every_method():
    """Of Django's interface."""
    named = {re.match(r"cache\.(\w+)", text)[1] for text, *_ in ROWS}
    assert named == {
        *("get", "get_many", "has_key", "get_or_set", "set", "add", "touch", "delete", "incr", "decr", "incr_version"),
        *("decr_version", "set_many", "delete_many", "clear"),
    }
