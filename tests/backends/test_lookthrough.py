"""The remote's own methods go on working; what is not known to only read clears the local tier."""

import asyncio
import copy

import pytest
from django.core.cache import caches

from tests.support.doubles import RemoteDouble

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def cache(make_cache):
    cache = make_cache("django-redis", LOCAL_TIMEOUT=60)
    cache.set_many({"user:1": 1, "user:2": 2, "other": 3}, timeout=100)
    cache.get_many(["user:1", "user:2", "other"])
    return cache


def test_reading_methods_leave_the_local_tier_alone(cache):
    """ttl, keys, iter_keys, lock and the like."""
    assert 99 <= cache.ttl("other") <= 100
    assert 99_000 < cache.pttl("other") <= 100_000
    assert sorted(cache.keys("user:*")) == ["user:1", "user:2"]
    assert sorted(cache.iter_keys("user:*")) == ["user:1", "user:2"]
    with cache.lock("a lock", timeout=5):
        assert cache.remote.client.get_client().exists(cache.make_key("a lock"))
    assert cache.client.get_client().ping()
    assert len(cache.local) == 3


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.delete_pattern("user:*"),
        lambda c: c.expire("user:1", timeout=1),
        lambda c: c.persist("user:1"),
        lambda c: c.sadd("a set", 1),
    ],
)
def test_other_methods_clear_the_local_tier(cache, call):
    """What they have changed cannot be known."""
    call(cache)
    assert len(cache.local) == 0


def test_a_failing_method_clears_too(cache):
    """It may have done something."""
    with pytest.raises(TypeError):
        cache.persist()
    assert len(cache.local) == 0


def test_keywords_of_the_remotes_own(cache):
    """django-redis' nx, xx and the rest pass through; one that may name another key clears the local tier."""
    assert cache.set("other", 4, nx=True) is False
    assert len(cache.local) == 2
    assert cache.get("other") == 3
    assert cache.incr("fresh", ignore_key_check=True) == 1
    assert len(cache.local) == 3
    cache.delete("user:1", prefix="elsewhere")
    assert len(cache.local) == 0


def test_unknown_attributes_are_the_remotes_error(cache):
    """AttributeError names what is missing; protocols are not looked for in the remote."""
    with pytest.raises(AttributeError, match="no_such_method"):
        cache.no_such_method  # noqa: B018
    with pytest.raises(AttributeError, match="__html__"):
        cache.__html__  # noqa: B018
    assert not hasattr(cache, "__len__")
    assert copy.copy(cache).get("other") == 3


def test_what_the_remote_knows_is_the_remotes(make_cache):
    """Its version, prefix, key function and default timeout."""
    cache = make_cache(remote_alias={"KEY_PREFIX": "p", "VERSION": 3, "TIMEOUT": 77})
    assert (cache.version, cache.key_prefix, cache.default_timeout) == (3, "p", 77)
    assert cache.make_key("key") == "p:3:key"
    assert cache.make_key("key", 4) == "p:4:key"
    assert cache.remote is caches["remote"]


def test_methods_that_are_not_done_when_they_return(make_cache, monkeypatch):
    """Coroutines, generators and async generators clear the local tier once more when they are done."""

    async def coroutine(self):
        await asyncio.sleep(0)
        return self.set("key", "by the coroutine")

    def generator(self):
        yield 1
        self.set("key", "by the generator")

    async def asynchronous(self):
        yield 1
        self.set("key", "by the async generator")

    for name, method in {"work": coroutine, "items": generator, "aitems": asynchronous}.items():
        monkeypatch.setattr(RemoteDouble, name, method, raising=False)
    cache = make_cache({"BACKEND": "tests.support.doubles.RemoteDouble", "LOCATION": "not-done"}, LOCAL_TIMEOUT=60)

    def keep():
        cache.set("key", "before")
        assert cache.get("key") == "before"

    keep()

    async def work():
        coroutine = cache.work()
        assert cache.get("key") == "before"
        await coroutine

    asyncio.run(work())
    assert cache.get("key") == "by the coroutine"


@pytest.mark.parametrize("kind", ["django_redis.cache.RedisCache", "django.core.cache.backends.redis.RedisCache"])
def test_errors_are_the_clients_own(kind, mode):
    """As the bare remote raises them."""
    from django.test import override_settings

    tiered = {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": "remote", "OPTIONS": {"RETRY_AFTER": 0}}
    remote = {"BACKEND": kind, "LOCATION": "redis://127.0.0.1:1/0"}
    with override_settings(CACHES={"default": tiered, "remote": remote}):
        cache = caches["default"]
        for call in (
            lambda c: c.get("key"),
            lambda c: c.get_many(["key"]),
            lambda c: c.set("key", 1),
            lambda c: c.delete("key"),
        ):
            with pytest.raises(Exception) as bare:  # noqa: PT011 - whatever it is
                call(mode(caches["remote"]))
            with pytest.raises(type(bare.value)) as error:
                call(mode(cache))
            assert type(error.value) is type(bare.value)
        assert cache.stats().remote_errors == 4


@pytest.mark.parametrize("backend", ["Upper", "DjangosUpper"])
def test_a_subclass_that_reads_its_own_way_is_read_that_way(backend, make_cache, valkey_url, mode, clock):
    """The pipeline is for reads that are known. The TTL is asked for in a second call, also where there is no ``ttl()``."""
    remote = {"BACKEND": f"tests.support.subclasses.{backend}", "LOCATION": f"{valkey_url}/13"}
    cache = make_cache(remote, LOCAL_TIMEOUT=60)
    cache.set("key", "text", 30)
    for _ in range(2):
        assert mode(cache).get("key") == "TEXT"
    assert cache.stats().hits == 1
    clock.move(31)
    assert mode(cache).get("key") == "TEXT"
    cache.set("key", "text", None)
    for _ in range(2):
        assert mode(cache).get("key") == "TEXT"
    assert mode(cache).get_many(["key"]) == {"key": "TEXT"}
    assert (cache.stats().hits, cache.stats().remote_hits) == (3, 3)
