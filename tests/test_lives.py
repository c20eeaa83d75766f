"""Promise 2: a local copy does not outlive the remote entry, and learning its life costs no extra trip."""

import time

import pytest
import redis
from django.core.cache import caches
from django.test import override_settings

from tests.conftest import TIERED

TELLING = [
    "fakeredis",
    "django-redis",
    "django-redis-json",
    "django-redis-sentinel",
    "django",
    "redis-server",
    "django-valkey",
    "django-valkey-cluster",
    "django-redis-shard",
]
every_telling_remote = pytest.mark.parametrize("kind", TELLING)
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.* on sharded client:UserWarning"),
]


def left(cache, key, clock):
    return cache.local.times(key).deadline - clock()


@every_telling_remote
def test_a_local_copy_does_not_outlive_the_remote_entry(kind, make_cache, clock, mode):
    """Two seconds to live in the remote: two at most here, whichever way it was read."""
    cache = make_cache(kind, LOCAL_TIMEOUT=60, JITTER=0)
    for key in ("two", "many"):
        cache.remote.set(key, 1, timeout=2)
    cache.remote.set("hour", 1, timeout=3600)
    cache.remote.set("ever", 1, timeout=None)
    assert mode(cache).get("two") == 1
    assert mode(cache).get_many(["many", "hour", "ever", "absent"]) == {"many": 1, "hour": 1, "ever": 1}
    assert 1 < left(cache, "two", clock) <= 2
    assert 1 < left(cache, "many", clock) <= 2
    assert left(cache, "hour", clock) == 60
    assert left(cache, "ever", clock) == 60
    clock.move(2)
    assert cache._tier.has("two") is cache._tier.has("many") is None
    assert cache._tier.has("hour")


@pytest.mark.parametrize("kind", ["django-redis", "django"])
def test_a_local_copy_does_not_outlive_the_remote_entry_for_real(kind, make_cache):
    """With nothing moved but time: once the remote has dropped the key, the local tier does not serve it."""
    cache = make_cache(kind, LOCAL_TIMEOUT=60)
    cache.set("key", 1, timeout=2)
    started = time.monotonic()
    assert cache.get("key") == 1
    hits = 0
    while time.monotonic() < started + 10:
        gone = cache.remote.get("key") is None
        value = cache.get("key")
        if gone:
            assert value is None
            break
        hits += value == 1
        time.sleep(0.02)  # the one test that is about real time
    assert 1 <= time.monotonic() - started < 4
    assert hits > 10
    assert cache.stats().hits >= hits - 1


@pytest.mark.parametrize("kind", ["locmem", "file", "memcached"])
def test_a_remote_that_cannot_tell_gets_the_local_timeout_alone(kind, make_cache, clock):
    """The documented worst case: the local timeout past the remote expiry."""
    cache = make_cache(kind, LOCAL_TIMEOUT=60, JITTER=0)
    cache.set("key", 1, timeout=2)
    cache.get("key")
    assert left(cache, "key", clock) == 60


@pytest.mark.parametrize("kind", TELLING)
def test_a_key_gone_by_the_time_its_life_is_asked_is_returned_and_not_kept(kind, make_cache, monkeypatch):
    """GET finds it, PTTL does not: kept, it would be kept for ever."""
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
    connection = reader.open(cache.remote, ["key"], None)[0]
    with connection.pipeline(transaction=False) as pipe:
        return type(pipe)


class CountingConnection(redis.Connection):
    trips = 0

    def send_packed_command(self, command, check_health=True):
        type(self).trips += 1
        return super().send_packed_command(command, check_health)


def counting(kind, url):
    if kind == "django-redis":
        options = {"CONNECTION_POOL_KWARGS": {"connection_class": CountingConnection}}
        return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"{url}/10", "OPTIONS": options}
    options = {"connection_class": CountingConnection}
    return {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": f"{url}/11", "OPTIONS": options}


@pytest.mark.parametrize("kind", ["django-redis", "django"])
def test_round_trips(kind, make_cache, mode, valkey_url):
    """Counted at the connection, and the commands at the server: one trip for what is missing, none for what is not."""
    cache = make_cache(counting(kind, valkey_url), LOCAL_TIMEOUT=60)
    keys = [f"key{number}" for number in range(10)]
    cache.set_many(dict.fromkeys(keys, 1))
    server = redis.Redis.from_url(valkey_url)
    mode(cache).get("warm")  # a thread's first read opens its connection

    def count(operation):
        server.config_resetstat()
        CountingConnection.trips = 0
        operation()
        commands = {
            name.removeprefix("cmdstat_"): stat["calls"]
            for name, stat in server.info("commandstats").items()
            if name in ("cmdstat_get", "cmdstat_mget", "cmdstat_pttl", "cmdstat_ttl", "cmdstat_exists")
        }
        return CountingConnection.trips, commands

    cache = mode(cache)
    assert count(lambda: cache.get("key0")) == (1, {"get": 1, "pttl": 1})
    assert count(lambda: cache.get("key0")) == (0, {})
    assert count(lambda: cache.get("absent")) == (1, {"get": 1, "pttl": 1})
    assert count(lambda: cache.get_many(keys)) == (1, {"mget": 1, "pttl": 9})
    assert count(lambda: cache.get_many(keys)) == (0, {})
    assert count(lambda: cache.get_many(["key1", "absent"])) == (1, {"mget": 1, "pttl": 1})
    assert count(lambda: cache.get_many(["key1", 1, "1"])) == (1, {"mget": 1, "pttl": 1})
    assert count(lambda: cache.get_many([])) == (0, {})
    assert count(lambda: cache.has_key("key0")) == (0, {})
    assert count(lambda: cache.has_key("absent")) in [(1, {"exists": 1}), (1, {"get": 1})]  # older Djangos' ahas_key
    server.close()


def test_a_cluster_is_asked_once_per_node(make_cache, monkeypatch):
    """Keys of all slots in one get_many: each node gets one batch."""
    from valkey.cluster import ClusterPipeline

    cache = make_cache("django-valkey-cluster", LOCAL_TIMEOUT=60, JITTER=0)
    keys = [f"key{number}" for number in range(30)]
    for key in keys:
        cache.set(key, key, timeout=2)
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
    from tests.doubles import RemoteDouble

    lives = {"two": 2, "none": None, "minus-one": -1, "gone": 0, "minus-two": -2}
    monkeypatch.setattr(RemoteDouble, "ttl", lambda self, key, version=None: lives[key], raising=False)
    cache = make_cache({"BACKEND": "tests.doubles.RemoteDouble", "LOCATION": "ttl"}, LOCAL_TIMEOUT=60, JITTER=0)
    for key, expected in [("two", 1.5), ("none", 60), ("minus-one", 60), ("gone", None), ("minus-two", None)]:
        cache.remote.set(key, 1)
        assert mode(cache).get(key) == 1
        assert cache.local.times(key).deadline == (clock() + expected if expected else float("-inf"))
        cache.local.clear()
        assert mode(cache).get_many([key]) == {key: 1}
        assert cache.local.times(key).deadline == (clock() + expected if expected else float("-inf"))


def test_no_life_is_asked_for_what_is_not_kept(make_cache, mode, monkeypatch):
    """A session costs no second call over a remote that needs one."""
    from tests.doubles import RemoteDouble

    def ttl(self, key, version=None):
        raise AssertionError("asked")

    monkeypatch.setattr(RemoteDouble, "ttl", ttl, raising=False)
    cache = make_cache({"BACKEND": "tests.doubles.RemoteDouble", "LOCATION": "unasked"}, LOCAL_TIMEOUTS={"x": 0})
    cache.remote.set("x", 1)
    assert mode(cache).get("x") == 1
    assert mode(cache).get_many(["x"]) == {"x": 1}


def test_a_chain_of_tiers_keeps_what_the_lower_keeps(make_cache, valkey_url, clock, mode):
    """An upper tier learns the life from the lower one, which costs no trip, and ends with it."""
    options = {"LOCAL_TIMEOUT": 60, "JITTER": 0}
    settings = {
        "default": {"BACKEND": TIERED, "LOCATION": "middle", "OPTIONS": options},
        "middle": {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": {"LOCAL_TIMEOUT": 5, "JITTER": 0}},
        "remote": counting("django-redis", valkey_url),
    }
    with override_settings(CACHES=settings):
        cache = caches["default"]
        cache.clear()
        cache.set_many({"short": 1, "long": [1]}, timeout=100)
        cache.remote.remote.set("short", 1, timeout=2)
        mode(cache).get("warm")
        CountingConnection.trips = 0
        assert mode(cache).get("short") == 1
        assert mode(cache).get_many(["long"]) == {"long": [1]}
        assert CountingConnection.trips == 2
        assert 1 < left(cache, "short", clock) <= 2
        assert left(cache, "long", clock) == 5
        assert cache.get("long") == [1]
        assert cache.stats().hits == 1
        cache.set("long", 2)
        assert cache.get("long") == 2
        clock.move(2)
        caches["remote"].set("short", 3)
        assert mode(cache).get("short") == 3
        caches.close_all()
