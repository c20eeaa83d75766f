"""Promise 2: a local copy does not outlive the remote entry, and learning its TTL costs no extra trip."""

import asyncio
import time

import pytest
import redis

from tests.support.caches import KINDS
from tests.support.copies import deadline, is_served
from tests.support.doubles import RemoteDouble
from tests.support.trips import CountingConnection, counting

TELLING = [kind for kind in KINDS if kind not in {"locmem", "file", "memcached", "django-redis-herd"}]
every_telling_remote = pytest.mark.parametrize("kind", TELLING)
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.* on sharded client:UserWarning"),
]


DOUBLE = {"BACKEND": "tests.support.doubles.RemoteDouble", "LOCATION": "expiry"}


def left(cache, key, clock):
    """The seconds for which the local copy may still be served."""
    return deadline(cache, key) - clock()


@every_telling_remote
def test_a_local_copy_does_not_outlive_the_remote_entry(kind, make_cache, clock, mode):
    """What expires in the remote in 20 seconds is served here for 20 at most, whichever way it was read."""
    cache = make_cache(kind, LOCAL_TIMEOUT=60, JITTER=0)
    for key in ("soon", "many"):
        cache.remote.set(key, 1, timeout=20)
    cache.remote.set("hour", 1, timeout=3600)
    cache.remote.set("ever", 1, timeout=None)
    assert mode(cache).get("soon") == 1
    assert mode(cache).get_many(["many", "hour", "ever", "absent"]) == {"many": 1, "hour": 1, "ever": 1}
    # The server's clock goes on while ours stands still: on a busy machine, by seconds.
    assert 5 < left(cache, "soon", clock) <= 20
    assert 5 < left(cache, "many", clock) <= 20
    assert left(cache, "hour", clock) == 60
    assert left(cache, "ever", clock) == 60
    clock.move(20)
    assert not is_served(cache, "soon")
    assert not is_served(cache, "many")
    assert is_served(cache, "hour")


@pytest.mark.parametrize("kind", ["django-redis", "django"])
def test_a_local_copy_does_not_outlive_the_remote_entry_for_real(kind, make_cache):
    """With nothing moved but time: once the remote has dropped the key, the local tier does not serve it."""
    cache = make_cache(kind, LOCAL_TIMEOUT=60)
    cache.set("key", 1, timeout=2)
    started = time.monotonic()
    assert cache.get("key") == 1
    served, gone = 0, False
    while not gone:
        assert time.monotonic() < started + 30, "the remote did not drop the key"
        gone = cache.remote.get("key") is None
        value = cache.get("key")
        assert value is None or not gone
        served += value == 1
        time.sleep(0.02)  # the one test that is about real time
    assert time.monotonic() - started >= 1
    assert cache.stats().hits >= served // 2, "the remote answered what the local tier should have"


@pytest.mark.parametrize("kind", ["locmem", "file", "memcached"])
def test_a_remote_that_cannot_tell_gets_the_local_timeout_alone(kind, make_cache, clock):
    """The documented worst case: the copy is served for one local timeout past the remote expiry."""
    cache = make_cache(kind, LOCAL_TIMEOUT=60, JITTER=0)
    cache.set("key", 1, timeout=2)
    cache.get("key")
    assert left(cache, "key", clock) == 60


@every_telling_remote
def test_a_key_that_expires_between_get_and_pttl_is_returned_and_not_kept(kind, make_cache, monkeypatch):
    """GET finds it, PTTL does not: its TTL must not be taken for none at all."""
    cache = make_cache(kind, LOCAL_TIMEOUT=60)
    cache.set("key", 1)
    if kind == "django-redis-shard":
        monkeypatch.setattr(type(cache.remote), "pttl", lambda *a, **k: 0)
    else:
        execute = _pipeline_class(cache).execute

        def expired(self, *args, **kwargs):
            replies = execute(self, *args, **kwargs)
            return [*replies[:1], *(-2 for _ in replies[1:])]

        monkeypatch.setattr(_pipeline_class(cache), "execute", expired)
    assert cache.get("key") == 1
    assert len(cache.local) == 0
    assert cache.get_many(["key"]) == {"key": 1}
    assert len(cache.local) == 0
    assert cache.stats().skipped == 2


def _pipeline_class(cache):
    reader = cache._reader()
    connection = reader.open(cache.remote, "key", None)[0]
    with connection.pipeline(transaction=False) as pipe:
        return type(pipe)


@pytest.mark.parametrize("kind", ["django-redis", "django"])
def test_round_trips(kind, make_cache, mode, valkey_url):
    """Counted at the connection, and the commands at the server: one trip for what is missing, none for what is not."""
    cache = make_cache(counting(kind, valkey_url), LOCAL_TIMEOUT=60)
    keys = [f"key{number}" for number in range(20)]
    cache.set_many(dict.fromkeys(keys, 1))
    server = redis.Redis.from_url(valkey_url)
    cache.get_many(keys)  # the first one loads the script
    cache.local.clear()
    mode(cache).get("warm")  # a thread's first read opens its connection

    def count(operation):
        server.config_resetstat()
        CountingConnection.trips = 0
        operation()
        commands = {
            name.removeprefix("cmdstat_"): stat["calls"]
            for name, stat in server.info("commandstats").items()
            if name in ("cmdstat_evalsha_ro", "cmdstat_get", "cmdstat_mget", "cmdstat_pttl", "cmdstat_ttl", "cmdstat_exists")
        }
        return CountingConnection.trips, commands

    cache = mode(cache)
    assert count(lambda: cache.get("key0")) == (1, {"get": 1, "pttl": 1})
    assert count(lambda: cache.get("key0")) == (0, {})
    assert count(lambda: cache.get("absent")) == (1, {"get": 1, "pttl": 1})
    assert count(lambda: cache.get_many(keys)) == (1, {"evalsha_ro": 1, "mget": 1, "pttl": 19})
    assert count(lambda: cache.get_many(keys)) == (0, {})
    assert count(lambda: cache.get_many(["key1", "absent"])) == (1, {"mget": 1, "pttl": 1})
    assert count(lambda: cache.get_many(["key1", 1, "1"])) == (1, {"mget": 1, "pttl": 1})
    assert count(lambda: cache.get_many([])) == (0, {})
    assert count(lambda: cache.has_key("key0")) == (0, {})
    assert count(lambda: cache.has_key("absent")) == (1, {"exists": 1})
    server.close()


def test_a_cluster_is_asked_once_per_node(make_cache, monkeypatch):
    """Keys of all slots in one get_many: each node gets one batch."""
    from valkey.cluster import ClusterPipeline

    cache = make_cache("django-valkey-cluster", LOCAL_TIMEOUT=60, JITTER=0)
    keys = [f"key{number}" for number in range(30)]
    for key in keys:
        cache.set(key, key, timeout=20)
    executed = []
    execute = ClusterPipeline.execute
    monkeypatch.setattr(ClusterPipeline, "execute", lambda self, *a, **k: (executed.append(1), execute(self, *a, **k))[1])
    assert cache.get_many(keys) == {key: key for key in keys}
    assert cache.get_many(keys) == {key: key for key in keys}
    assert len(executed) == 1
    assert cache.stats().hits == 30
    slots = {cache.remote.client.keyslot(key) * 3 // 16384 for key in keys}
    assert slots == {0, 1, 2}


def test_a_remote_with_only_ttl_is_asked_in_seconds(make_cache, clock, mode, monkeypatch):
    """Redis rounds TTL up by as much as half a second, which is taken off."""
    ttls = {"two": 2, "none": None, "minus-one": -1, "gone": 0, "minus-two": -2}
    monkeypatch.setattr(RemoteDouble, "ttl", lambda self, key, version=None: ttls[key], raising=False)
    cache = make_cache(DOUBLE, LOCAL_TIMEOUT=60, JITTER=0)
    for key, expected in [("two", 1.5), ("none", 60), ("minus-one", 60), ("gone", None), ("minus-two", None)]:
        cache.remote.set(key, 1)
        assert mode(cache).get(key) == 1
        assert deadline(cache, key) == (clock() + expected if expected else float("-inf"))
        cache.local.clear()
        assert mode(cache).get_many([key]) == {key: 1}
        assert deadline(cache, key) == (clock() + expected if expected else float("-inf"))


def test_a_ttl_is_asked_for_where_one_of_the_keys_is_kept(make_cache, clock, mode, monkeypatch):
    """Though the first of them is not."""
    monkeypatch.setattr(RemoteDouble, "ttl", lambda *_, **__: 2, raising=False)
    cache = make_cache(DOUBLE, LOCAL_TIMEOUT=60, JITTER=0, LOCAL_TIMEOUTS={"never:": 0})
    cache.remote.set_many({"never:1": 1, "key": 2})
    assert mode(cache).get_many(["never:1", "key"]) == {"never:1": 1, "key": 2}
    assert deadline(cache, "key") == clock() + 1.5


def test_a_remote_with_an_async_pttl_is_awaited(make_cache, monkeypatch, clock):
    """What raises when its TTL is asked for is returned, and not kept."""

    async def apttl(self, key, version=None):
        await asyncio.sleep(0)
        if key == "shy":
            raise RuntimeError("not told")
        return 3000

    monkeypatch.setattr(RemoteDouble, "apttl", apttl, raising=False)
    cache = make_cache(DOUBLE, LOCAL_TIMEOUT=60, JITTER=0)
    cache.remote.set_many({"key": 1, "shy": 2})
    assert asyncio.run(cache.aget("key")) == 1
    assert asyncio.run(cache.aget_many(["key", "shy"])) == {"key": 1, "shy": 2}
    assert left(cache, "key", clock) == 3
    assert len(cache.local) == 1


def test_no_ttl_is_asked_for_what_is_not_kept(make_cache, mode, monkeypatch):
    """A session costs no second call over a remote that needs one."""

    def ttl(self, key, version=None):
        raise AssertionError("asked")

    monkeypatch.setattr(RemoteDouble, "ttl", ttl, raising=False)
    cache = make_cache(DOUBLE, LOCAL_TIMEOUTS={"x": 0})
    cache.remote.set("x", 1)
    assert mode(cache).get("x") == 1
    assert mode(cache).get_many(["x"]) == {"x": 1}


@pytest.mark.parametrize("kind", ["django-redis-herd"])
def test_the_time_that_a_herd_client_adds_is_no_part_of_the_ttl(kind, make_cache, clock, mode):
    """It stores each entry for longer than it serves it."""
    cache = make_cache(kind, LOCAL_TIMEOUT=60, JITTER=0)
    cache.set("key", 1, timeout=20)
    assert mode(cache).get("key") == 1
    assert 5 < left(cache, "key", clock) <= 20
    cache.local.clear()
    assert mode(cache).get_many(["key"]) == {"key": 1}
    assert 5 < left(cache, "key", clock) <= 20


@pytest.mark.parametrize("kind", ["django", "django-redis", "django-valkey"])
def test_a_value_is_returned_and_not_kept_when_the_server_does_not_tell_its_ttl(kind, make_cache, valkey_url):
    """As with an ACL that forbids PTTL."""
    server = redis.Redis.from_url(valkey_url)
    server.acl_setuser("shy", enabled=True, nopass=True, keys="*", channels="*", commands=["+@all", "-pttl", "-ttl"])
    url = valkey_url.replace("redis://", "redis://shy:x@")
    backends = {
        "django": ("django.core.cache.backends.redis.RedisCache", url),
        "django-redis": ("django_redis.cache.RedisCache", url),
        "django-valkey": ("django_valkey.cache.ValkeyCache", url.replace("redis:", "valkey:")),
    }
    backend, location = backends[kind]
    try:
        cache = make_cache({"BACKEND": backend, "LOCATION": f"{location}/14"}, LOCAL_TIMEOUT=60)
        cache.set("key", 1)
        assert cache.get("key") == 1
        assert cache.get_many(["key"]) == {"key": 1}
        assert len(cache.local) == 0
    finally:
        server.acl_deluser("shy")
        server.close()
