"""Servers, caches and a clock for the tests."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import uuid

import pytest
from django.core.cache import caches
from django.test import override_settings

import tieredcache.backends
import tieredcache.readers.pipelined  # noqa: F401
from example_project import servers

# Ignored where a shell has started all of this in the background, and then by what the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

TIERED = "tieredcache.backends.TieredCache"
LRU = "tieredcache.backends.LRUCache"


def need(program):
    """The path of a server that developers may lack, and CI may not."""
    path = shutil.which(program)
    if path is None:
        message = f"{program} is not on the PATH"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


def server(context):
    @pytest.fixture(scope="session")
    def fixture():
        with context() as address:
            yield address

    return fixture


valkey_url = server(servers.valkey)
cluster_url = server(servers.cluster)
sentinel_address = server(servers.sentinel)


@pytest.fixture(scope="session")
def redis_url():
    with servers.valkey(binary=need("redis-server")) as url:
        yield url


@pytest.fixture(scope="session")
def memcached_address():
    need("memcached")
    with servers.memcached() as address:
        yield address


@pytest.fixture
def fakeredis_server():
    from fakeredis import FakeServer

    return FakeServer()


def remote_settings(kind, request):
    """The settings of a remote alias of this kind, on a running server."""
    value = request.getfixturevalue
    if kind == "locmem":
        return {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": uuid.uuid4().hex}
    if kind == "file":
        return {
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": str(value("tmp_path") / "cache"),
        }
    if kind == "fakeredis":
        from fakeredis import FakeRedisConnection

        options = {"CONNECTION_POOL_KWARGS": {"connection_class": FakeRedisConnection, "server": value("fakeredis_server")}}
        return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://fake:6379", "OPTIONS": options}
    if kind == "django-redis":
        return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": value("valkey_url") + "/1"}
    if kind == "django-redis-json":
        options = {"SERIALIZER": "django_redis.serializers.json.JSONSerializer"}
        return {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": value("valkey_url") + "/2",
            "OPTIONS": options,
        }
    if kind == "django-redis-herd":
        options = {"CLIENT_CLASS": "django_redis.client.HerdClient"}
        return {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": value("valkey_url") + "/3",
            "OPTIONS": options,
        }
    if kind == "django-redis-shard":
        options = {"CLIENT_CLASS": "django_redis.client.ShardClient"}
        locations = [value("valkey_url") + "/4", value("valkey_url") + "/5"]
        return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": locations, "OPTIONS": options}
    if kind == "django-redis-sentinel":
        options = {
            "CLIENT_CLASS": "django_redis.client.SentinelClient",
            "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
            "CONNECTION_POOL_CLASS": "redis.sentinel.SentinelConnectionPool",
            "SENTINELS": [value("sentinel_address")],
            "SENTINEL_KWARGS": {},
        }
        return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://primary/0", "OPTIONS": options}
    if kind == "django":
        return {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": value("valkey_url") + "/6"}
    if kind == "redis-server":
        return {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": value("redis_url") + "/1"}
    if kind == "django-valkey":
        return {
            "BACKEND": "django_valkey.cache.ValkeyCache",
            "LOCATION": value("valkey_url").replace("redis", "valkey") + "/7",
        }
    if kind == "django-valkey-cluster":
        return {
            "BACKEND": "django_valkey.cluster_cache.cache.ClusterValkeyCache",
            "LOCATION": value("cluster_url").replace("redis", "valkey"),
        }
    if kind == "memcached":
        return {
            "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
            "LOCATION": value("memcached_address"),
        }
    raise AssertionError(kind)


@pytest.fixture
def make_cache(request):
    """Makes a cache with the settings given: ``make_cache(remote="locmem", LOCAL_TIMEOUT=2)``.

    ``remote``: a kind of remote, or its settings. ``alias``: further keys of the tiered alias, ``remote_alias`` of the
    remote one. Returns the backend; ``caches`` has it as "default" and the remote as "remote".
    """
    with contextlib.ExitStack() as stack:

        def make(remote="locmem", *, alias=None, remote_alias=None, **options):
            config = remote_settings(remote, request) if isinstance(remote, str) else remote
            config = {**config, **(remote_alias or {})}
            tiered = {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": options, **(alias or {})}
            stack.enter_context(override_settings(CACHES={"default": tiered, "remote": config}))
            cache = caches["default"]
            cache.clear()
            stack.callback(caches.close_all)
            return cache

        yield make
        for cache in caches.all(initialized_only=True):
            with contextlib.suppress(Exception):
                cache.clear()


@pytest.fixture
def make_lru():
    """Makes an ``LRUCache`` with a store of its own; the keywords are the alias's settings."""
    with contextlib.ExitStack() as stack:

        def make(**settings):
            settings = {"BACKEND": LRU, "LOCATION": uuid.uuid4().hex, **settings}
            stack.enter_context(override_settings(CACHES={"default": settings}))
            return caches["default"]

        yield make


class Clock:
    """A monotonic clock that stands still until it is moved."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def move(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    """The clock of the whole package, for the test to move."""
    fake = Clock()
    for name, module in list(sys.modules.items()):
        if name.startswith("tieredcache.") and hasattr(module, "clock"):
            monkeypatch.setattr(module, "clock", fake)
    return fake


class Sync:
    """Calls a cache's methods as they are."""

    def __init__(self, cache):
        self._cache = cache

    def __getattr__(self, name):
        return getattr(self._cache, name)


class Async:
    """Calls the async form of each method, in an event loop of its own."""

    def __init__(self, cache):
        self._cache = cache

    def __getattr__(self, name):
        method = getattr(self._cache, f"a{name}")

        def call(*args, **kwargs):
            return asyncio.run(method(*args, **kwargs))

        return call


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def mode(request):
    """Both ways to call a cache: ``mode(cache).get(...)``."""
    return request.param
