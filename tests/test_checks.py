"""System checks of remotes, each provoked and not."""

import itertools
import socket

import pytest
from django.core import checks
from django.core.cache import caches
from django.test import override_settings

from tests.conftest import LRU, TIERED
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
    upper = {"BACKEND": TIERED, "LOCATION": "default"}
    remote = {**remote, "OPTIONS": {**remote.get("OPTIONS", {}), **options}}
    # Clients share the pools of one URL.
    remote["LOCATION"] = remote.get("LOCATION", "").replace("/0", f"/{next(numbers)}")
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
    (message,) = [message for message in check(remote, **options) if message.id != "tieredcache.W005"]
    assert message.id == "tieredcache.W001"
    assert message.level == checks.WARNING
    assert "'remote'" in message.msg
    assert message.hint.startswith(f"Set {setting} in CACHES['remote']['OPTIONS']")


@pytest.mark.parametrize(
    ("options", "expected"), [({}, ["tieredcache.W002"]), ({"retry_timeout": None}, ["tieredcache.W002"]), (HONEST, [])]
)
def test_a_client_that_hides_errors(options, expected):
    """tieredcache.W002."""
    messages = [
        found for found in check(MEMCACHED, connect_timeout=1, timeout=1, **options) if found.level >= checks.WARNING
    ]
    assert [message.id for message in messages] == expected
    assert all("'retry_timeout': -1" in message.hint and "'remote'" in message.msg for message in messages)


@pytest.mark.parametrize(
    ("remote", "options"),
    [
        (REDIS, {"SOCKET_TIMEOUT": 0.5}),
        (REDIS, SENTINEL | {"SOCKET_TIMEOUT": 0.5}),
        (REDIS, SHARDS),
        ({**REDIS, "LOCATION": "redis://127.0.0.1:1/0?socket_timeout=1"}, {}),
        (VALKEY, {"SOCKET_TIMEOUT": 0.5}),
        (CLUSTER, {}),
        (DJANGO, {"socket_timeout": 0.5}),
        (MEMCACHED, HONEST | {"connect_timeout": 1, "timeout": 1}),
        (DATABASE, {}),
    ],
)
def test_time_outs_that_are_there(remote, options):
    """Or are not ours to know."""
    assert [message for message in check(remote, **options) if message.id != "tieredcache.W005"] == []


@pytest.mark.parametrize(
    ("backend", "what"),
    [
        (LOCMEM["BACKEND"], "no other process"),
        (LRU, "no other process"),
        ("tests.doubles.RemoteDouble", "no other process"),
        ("django.core.cache.backends.dummy.DummyCache", "every read is a miss"),
    ],
)
def test_a_remote_of_this_process(backend, what):
    """tieredcache.W003, by class or subclass, and nothing else is said of it: one message is enough to silence."""
    (message,) = check({"BACKEND": backend, "LOCATION": "checked"})
    assert message.id == "tieredcache.W003"
    assert message.level == checks.WARNING
    assert "'remote'" in message.msg
    assert what in message.msg
    assert "'tieredcache.W003' to SILENCED_SYSTEM_CHECKS" in message.hint


@pytest.mark.parametrize(
    ("remote", "options"),
    [
        (REDIS, {"SOCKET_TIMEOUT": 1}),
        (REDIS, SENTINEL | {"SOCKET_TIMEOUT": 1}),
        (REDIS, SHARDS),
        (REDIS, {"CLIENT_CLASS": "django_redis.client.HerdClient", "SOCKET_TIMEOUT": 1}),
        ({**REDIS, "BACKEND": "tests.subclasses.Upper"}, {"SOCKET_TIMEOUT": 1}),
        (DJANGO, {"socket_timeout": 1}),
        (VALKEY, {"SOCKET_TIMEOUT": 1}),
        (CLUSTER, {}),
    ],
)
def test_remotes_that_can_tell_lives(remote, options):
    """As docs/promises.md has them: nothing to say. Neither is there of what Redis and the like lack."""
    assert check(remote, **options) == []


def test_a_remote_that_cannot_tell_lives(tmp_path):
    """tieredcache.W005, with the longest time past the expiry; only an Info, which fails no build."""
    for remote in (
        MEMCACHED,
        DATABASE,
        {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": str(tmp_path)},
    ):
        (message,) = [message for message in check(remote) if message.id == "tieredcache.W005"]
        assert message.level == checks.INFO
        assert "'remote'" in message.msg
        assert "up to 5 seconds past its expiry" in message.msg


def test_lives_do_not_matter_where_nothing_is_kept():
    """With LOCAL_TIMEOUT 0 there is nothing that could outlive anything."""
    for seconds, expected in ((0, []), (7, ["tieredcache.W005"])):
        tiered = {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": {"LOCAL_TIMEOUT": seconds}}
        with override_settings(CACHES={"default": tiered, "remote": DATABASE}):
            assert [message.id for message in check_caches()] == expected


@pytest.mark.parametrize(
    "remote",
    [
        {"BACKEND": "no.such.Backend"},
        {"BACKEND": "tests.subclasses.Broken"},
        {**REDIS, "OPTIONS": {"CLIENT_CLASS": "no.such.Client"}},
        {"BACKEND": REDIS["BACKEND"], "LOCATION": ""},
        {**DJANGO, "OPTIONS": {"serializer": "no.such.Serializer"}},
        {**DJANGO, "LOCATION": "nonsense://"},
        {**MEMCACHED, "OPTIONS": [1]},
        {},
    ],
)
def test_a_remote_that_cannot_be_made(remote):
    """Is Django's to tell, and stops no check: what there is to say of other aliases is said."""
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
        assert [name for name in found if name.startswith("tieredcache.")] == [
            f"tieredcache.W00{number}" for number in (1, 2, 5)
        ]
