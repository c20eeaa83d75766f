"""System checks of remotes, each provoked and not."""

import itertools
import socket

import pytest
from django.core import checks
from django.core.cache import caches
from django.test import override_settings

from tests.support.caches import LRU, TIERED
from tieredcache.checks import check_caches

REDIS = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}
VALKEY = {"BACKEND": "django_valkey.cache.ValkeyCache", "LOCATION": "valkey://127.0.0.1:1/0"}
SHARDS = {"CLIENT_CLASS": "django_redis.client.ShardClient"}
CLUSTER = {
    "BACKEND": "django_valkey.cluster_cache.cache.ClusterValkeyCache",
    "LOCATION": "valkey://127.0.0.1:1",  # with a number of a database its client would fail before it connects
}
DATABASE = {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "table"}
LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
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
    other = {"BACKEND": TIERED, "LOCATION": "remote"}
    remote = {**remote, "OPTIONS": {**remote.get("OPTIONS", {}), **options}}
    # Clients share the pools of one URL.
    remote["LOCATION"] = remote.get("LOCATION", "").replace("/0", f"/{next(numbers)}")
    with override_settings(CACHES={"default": tiered, "other": other, "remote": remote}):
        messages = check_caches()
        caches.close_all()
        return messages


NEVER = {"CONNECTION_POOL_KWARGS": {"socket_timeout": None}}


@pytest.mark.parametrize(
    ("remote", "options", "setting"),
    [
        (REDIS, NEVER, "'SOCKET_TIMEOUT'"),
        (REDIS, SENTINEL | NEVER, "'SOCKET_TIMEOUT'"),
        (VALKEY, NEVER, "'SOCKET_TIMEOUT'"),
        (DJANGO, {"socket_timeout": None}, "'socket_timeout'"),
        (MEMCACHED, {}, "'connect_timeout', 'timeout'"),
        (MEMCACHED, {"connect_timeout": 1}, "'timeout'"),
    ],
)
def test_no_time_out(remote, options, setting):
    """tieredcache.W001, once for a remote."""
    (message,) = check(remote, **options)
    assert message.id == "tieredcache.W001"
    assert message.level == checks.WARNING
    assert "'remote'" in message.msg
    assert message.hint.startswith(f"Set {setting} in CACHES['remote']['OPTIONS']")


@pytest.mark.parametrize(
    ("remote", "options"),
    [
        (REDIS, {"SOCKET_TIMEOUT": 0.5}),
        (REDIS, SENTINEL | {"SOCKET_TIMEOUT": 0.5}),
        (REDIS, SHARDS | {"SOCKET_TIMEOUT": 0.5}),
        ({**REDIS, "BACKEND": "tests.support.subclasses.Upper"}, {"SOCKET_TIMEOUT": 1}),
        ({**REDIS, "LOCATION": "redis://127.0.0.1:1/0?socket_timeout=1"}, {}),
        (VALKEY, {"SOCKET_TIMEOUT": 0.5}),
        (CLUSTER, {}),
        (DJANGO, {"socket_timeout": 0.5}),
        (MEMCACHED, {"connect_timeout": 1, "timeout": 1}),
        (DATABASE, {}),
    ],
)
def test_time_outs_that_are_there(remote, options):
    """Or are not ours to know."""
    assert check(remote, **options) == []


@pytest.mark.parametrize(
    "backend", [LOCMEM["BACKEND"], LRU, "tests.support.doubles.RemoteDouble", "django.core.cache.backends.dummy.DummyCache"]
)
def test_a_remote_of_this_process(backend):
    """tieredcache.W003, by class or subclass, and nothing else is said of it: one message is enough to silence."""
    (message,) = check({"BACKEND": backend, "LOCATION": "checked"})
    assert message.id == "tieredcache.W003"
    assert message.level == checks.WARNING
    assert "'remote'" in message.msg
    assert "no other process" in message.msg
    assert "'tieredcache.W003' to SILENCED_SYSTEM_CHECKS" in message.hint


@pytest.mark.parametrize(
    "remote",
    [
        {"BACKEND": "no.such.Backend"},
        {"BACKEND": "tests.support.subclasses.Broken"},
        {**REDIS, "OPTIONS": {"CLIENT_CLASS": "no.such.Client"}},
        {"BACKEND": REDIS["BACKEND"], "LOCATION": ""},
        {**DJANGO, "OPTIONS": {"serializer": "no.such.Serializer"}},
        {**DJANGO, "LOCATION": "nonsense://"},
        {**MEMCACHED, "OPTIONS": [1]},
        {},
    ],
)
def test_a_remote_that_cannot_be_made(remote):
    """Django reports it, and it stops no check: what there is to say of other aliases is said."""
    tiered = {"BACKEND": TIERED, "LOCATION": "remote"}
    other = {"BACKEND": TIERED, "LOCATION": "memory"}
    with override_settings(CACHES={"default": tiered, "other": other, "remote": remote, "memory": LOCMEM}):
        messages = [message for message in check_caches() if "'remote'" not in message.msg]
    assert [message.id for message in messages] == ["tieredcache.W003"]


def test_nothing_connects(monkeypatch, tmp_path):
    """Whatever the remote: a check that asked a server would hang with it."""
    asked = []
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, lambda self, address: asked.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: asked.append(args))
    remotes = [
        REDIS,
        VALKEY,
        CLUSTER,
        DJANGO,
        MEMCACHED,
        DATABASE,
        {**REDIS, "OPTIONS": SHARDS},
        {**REDIS, "OPTIONS": SENTINEL},
    ]
    for remote in remotes:
        check(remote)
    assert asked == []


def test_aliases_that_are_not_tiered():
    """Are not looked at, nor what Django itself will complain of."""
    settings = {
        "default": MEMCACHED,
        "gone": {"BACKEND": "no.such.Backend"},
        "odd": {"BACKEND": 5},
        "none": {},
        "text": "text",
    }
    with override_settings(CACHES=settings):
        assert check_caches() == []


def test_the_app_registers_them():
    """With "tieredcache" in INSTALLED_APPS, and under Django's tag for caches."""
    settings = {"default": {"BACKEND": TIERED, "LOCATION": "remote"}, "remote": MEMCACHED}
    with override_settings(CACHES=settings, INSTALLED_APPS=["tieredcache"]):
        found = [message.id for message in checks.run_checks(tags=["caches"])]
        # Importing django-ratelimit's app registers a check of its own for good.
        assert [name for name in found if name.startswith("tieredcache.")] == ["tieredcache.W001"]
