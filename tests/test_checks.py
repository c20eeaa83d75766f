"""System checks, each provoked and not."""

import itertools

import pytest
from django.core import checks
from django.core.cache import caches
from django.test import override_settings

from tests.conftest import TIERED
from tieredcache.checks import check_caches

REDIS = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}
VALKEY = {"BACKEND": "django_valkey.cache.ValkeyCache", "LOCATION": "valkey://127.0.0.1:1/0"}
DJANGO = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}
MEMCACHED = {"BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache", "LOCATION": "127.0.0.1:1"}
SENTINEL = {
    "CLIENT_CLASS": "django_redis.client.SentinelClient",
    "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
    "CONNECTION_POOL_CLASS": "redis.sentinel.SentinelConnectionPool",
    "SENTINELS": [("127.0.0.1", 1)],
}


numbers = itertools.count(100)  # of databases that no other test names


def check(remote, **options):
    """The messages for a tier over this remote."""
    tiered = {"BACKEND": TIERED, "LOCATION": "remote"}
    upper = {"BACKEND": TIERED, "LOCATION": "default"}
    remote = {**remote, "OPTIONS": {**remote.get("OPTIONS", {}), **options}}
    # Clients share the pools of one URL.
    remote["LOCATION"] = remote["LOCATION"].replace("/0", f"/{next(numbers)}")
    with override_settings(CACHES={"default": tiered, "upper": upper, "remote": remote}):
        messages = check_caches()
        caches.close_all()
        return messages


HONEST = {"retry_timeout": -1, "retry_attempts": 1_000_000_000}
NEVER = {"CONNECTION_POOL_KWARGS": {"socket_timeout": None}}


@pytest.mark.parametrize(
    ("remote", "options", "setting"),
    [
        (REDIS, NEVER, "'SOCKET_TIMEOUT'"),
        (REDIS, SENTINEL | NEVER, "'SOCKET_TIMEOUT'"),
        (VALKEY, NEVER, "'SOCKET_TIMEOUT'"),
        (DJANGO, {"socket_timeout": None}, "'socket_timeout'"),
        (MEMCACHED, HONEST, "'connect_timeout', 'timeout'"),
        (MEMCACHED, HONEST | {"connect_timeout": 1}, "'timeout'"),
    ],
)
def test_no_time_out(remote, options, setting):
    """tieredcache.W001, once for a remote."""
    (message,) = check(remote, **options)
    assert message.id == "tieredcache.W001"
    assert message.level == checks.WARNING
    assert "'remote'" in message.msg
    assert message.hint.startswith(f"Set {setting} in CACHES['remote']['OPTIONS']")


@pytest.mark.parametrize(("options", "expected"), [({}, ["tieredcache.W002"]), (HONEST, [])])
def test_a_client_that_hides_errors(options, expected):
    """tieredcache.W002."""
    messages = check(MEMCACHED, connect_timeout=1, timeout=1, **options)
    assert [message.id for message in messages] == expected
    assert all("'retry_timeout': -1" in message.hint and "'remote'" in message.msg for message in messages)


@pytest.mark.parametrize(
    ("remote", "options"),
    [
        (REDIS, {"SOCKET_TIMEOUT": 0.5}),
        (REDIS, SENTINEL | {"SOCKET_TIMEOUT": 0.5}),
        (REDIS, {"CLIENT_CLASS": "django_redis.client.ShardClient"}),
        ({**REDIS, "LOCATION": "redis://127.0.0.1:1/0?socket_timeout=1"}, {}),
        (VALKEY, {"SOCKET_TIMEOUT": 0.5}),
        ({**VALKEY, "BACKEND": "django_valkey.cluster_cache.cache.ClusterValkeyCache"}, {}),
        (DJANGO, {"socket_timeout": 0.5}),
        (MEMCACHED, HONEST | {"connect_timeout": 1, "timeout": 1}),
        ({"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "table"}, {}),
    ],
)
def test_time_outs_that_are_there(remote, options):
    """Or are not ours to know."""
    assert check(remote, **options) == []


def test_aliases_that_are_not_tiered():
    """Are not looked at, nor what Django itself will complain of."""
    settings = {"default": MEMCACHED, "gone": {"BACKEND": "no.such.Backend"}, "empty": {"BACKEND": TIERED, "LOCATION": "no"}}
    with override_settings(CACHES=settings):
        assert check_caches() == []


def test_the_app_registers_them():
    """With "tieredcache" in INSTALLED_APPS, and under Django's tag for caches."""
    settings = {"default": {"BACKEND": TIERED, "LOCATION": "remote"}, "remote": MEMCACHED}
    with override_settings(CACHES=settings, INSTALLED_APPS=["tieredcache"]):
        assert [message.id for message in checks.run_checks(tags=["caches"])] == ["tieredcache.W001", "tieredcache.W002"]
