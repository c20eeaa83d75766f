"""Remotes of several servers that fail one by one, real servers that refuse, and clients that swallow their errors."""

import contextlib
import uuid

import pytest
import redis
import valkey
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache

from tests.remote.failing import RETRY_AFTER, read_in_vain
from tests.support import servers
from tests.support.traffic import ALONE, TIER, aliases
from tieredcache import RemoteOutage

NOBODY = "127.0.0.1:1"  # where no server listens
AT_ALL_TIMES = {"retry_timeout": -1, "retry_attempts": 1_000_000_000}  # when pymemcache is to try a server that has failed


def go_down(cache, clock, keys):
    """Read keys of servers that fail, until these are known to be down."""
    read_in_vain(cache, keys)
    clock.move(RETRY_AFTER)
    read_in_vain(cache, keys)
    assert cache.local.in_outage


# --- several servers: a double ---


class Client:
    """Tells which server has a key: the one named by its first letter."""

    def make_key(self, key, version=None):
        return f":{version or 1}:{key}"

    def get_server_name(self, made):
        return made.rpartition(":")[2][0]


class Sharded(LocMemCache):
    """A remote of several servers, those of the letters in ``down`` fail. ``asked``: for which keys, in this order."""

    client = Client()
    down: set[str]
    asked: list[str]

    def get(self, key, default=None, version=None):
        self.asked.append(key)
        if key[0] in self.down:
            raise ConnectionError(f"{key[0]} is down")
        return super().get(key, default, version)


@pytest.fixture
def make_sharded(make_cache, monkeypatch):
    """Makes a tier over ``Sharded`` that has keys of the servers a and b."""

    def make(**options):
        for name, value in {"down": set(), "asked": []}.items():
            monkeypatch.setattr(Sharded, name, value, raising=False)
        remote = {"BACKEND": f"{__name__}.Sharded", "LOCATION": "sharded"}
        cache = make_cache(remote, **{"LOCAL_TIMEOUT": 0, "JITTER": 0, **options})
        cache.set_many({"a1": 1, "a2": 2, "b1": 3, "b2": 4})
        return cache

    return make


def test_get_many_asks_for_each_key_by_itself_when_one_server_fails(make_sharded, clock, mode):
    """Stale copies of what the one has, and answers of the other; of a server that is down no key is asked for."""
    cache = make_sharded(LOCAL_TIMEOUT=5, STALE_IF_ERROR=60)
    cache.get_many(["a1", "a2"])
    clock.move(5)
    Sharded.down.add("a")
    assert mode(cache).get_many(["a1", "b1", "a2", "b2"]) == {"a1": 1, "b1": 3, "a2": 2, "b2": 4}
    go_down(cache, clock, ["a3", "a4", "a5"])
    Sharded.asked.clear()
    cache.local.forget("b1")
    assert mode(cache).get_many(["a1", "b1", "a2"]) == {"a1": 1, "b1": 3, "a2": 2}
    assert Sharded.asked == ["b1"]


def test_keys_of_the_other_servers_are_read_as_ever_when_one_is_down(make_sharded, clock, mode, log):
    """What they call a miss is one, and tells nothing of the server that is down."""
    cache = make_sharded()
    Sharded.down.add("a")
    go_down(cache, clock, ["a1", "a2", "a3"])
    for _ in range(2):
        with pytest.raises(RemoteOutage):
            mode(cache).get("a1")
        with pytest.raises(RemoteOutage):
            mode(cache).get_many(["b1", "a1"])
        assert mode(cache).get_many(["b1", "b2", "b3"]) == {"b1": 3, "b2": 4}
        assert mode(cache).get("b3") is None
    assert cache.local.in_outage
    assert len(log()) == 1
    assert "a is down" in log()[0]


def test_each_server_is_found_to_be_back_by_itself(make_sharded, clock, log):
    """Also by pages that always read from both of them, and beside one that is still down."""
    cache = make_sharded()
    Sharded.down |= {"a", "b", "c"}
    go_down(cache, clock, [f"{server}{number}" for server in "abc" for number in range(3)])
    Sharded.down.clear()
    Sharded.down.add("c")
    clock.move(RETRY_AFTER)
    assert cache.get_many(["a1", "b1"]) == {"a1": 1, "b1": 3}
    assert cache.get_many(["a2", "b2"]) == {"a2": 2, "b2": 4}
    with pytest.raises(ConnectionError):
        cache.get("c1")
    assert cache.local.in_outage
    Sharded.down.clear()
    clock.move(RETRY_AFTER)
    assert cache.get("c1") is None
    assert not cache.local.in_outage
    assert len(log()) == 6


def test_what_is_computed_is_stored_where_its_server_is_up(make_sharded, clock, mode):
    """And nowhere else: the write would wait for the server that is down."""
    cache = make_sharded(REMOTE_ERRORS="ignore")
    Sharded.down.add("a")
    go_down(cache, clock, ["a1", "a2", "a3"])
    for key in ("a4", "b4"):
        assert mode(cache).get_or_set(key, lambda: "computed") == "computed"
    Sharded.down.clear()
    assert caches[ALONE].get_many(["a4", "b4"]) == {"b4": "computed"}


# --- several servers: real ones ---


def shards(request):
    """django-redis' sharded client, over a server and over nobody."""
    locations = [f"{request.getfixturevalue('valkey_url')}/4", f"redis://{NOBODY}/0"]
    options = {"CLIENT_CLASS": "django_redis.client.ShardClient"}
    return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": locations, "OPTIONS": options}


def memcacheds(request):
    """pymemcache, over a server and over nobody."""
    locations = [request.getfixturevalue("memcached_address"), NOBODY]
    backend = "django.core.cache.backends.memcached.PyMemcacheCache"
    return {"BACKEND": backend, "LOCATION": locations, "OPTIONS": AT_ALL_TIMES}


def keys_by_server(cache):
    """Some keys of each server, by its name."""
    by_server = {}
    for number in range(60):
        key = f"key{number}"
        by_server.setdefault(cache._reader().server(cache.remote, key, None), []).append(key)
    return by_server


def check_that_one_is_down(cache, clock, alive, dead):
    """Keys of the server that is down are held back, those of the others, which are their own values, are read."""
    values = {key: key for key in alive}
    for _ in range(2):
        for key in dead:
            with pytest.raises(Exception, match=r"refused|down|closed"):
                cache.get(key)
        assert cache.get_many(alive) == values
        clock.move(RETRY_AFTER)
    assert cache.local.in_outage
    assert [cache.get(key) for key in alive] == alive
    with pytest.raises(Exception, match=r"refused|down|closed"):
        cache.get_many([*alive, *dead])
    cache.delete(alive[0])
    assert cache.get(alive[0]) is None
    assert cache.local.in_outage


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore:.* on sharded client:UserWarning")
@pytest.mark.parametrize("settings", [shards, memcacheds])
def test_one_of_two_servers_is_down(request, clock, log, settings):
    """Keys of the other one are read as if nothing were."""
    remote = settings(request)
    with aliases({**remote, "KEY_PREFIX": uuid.uuid4().hex}, LOCAL_TIMEOUT=0):
        cache = caches[TIER]
        by_server = keys_by_server(cache)
        alive, dead = [by_server[location][:3] for location in remote["LOCATION"]]
        for key in alive:
            cache.set(key, key)
        check_that_one_is_down(cache, clock, alive, dead)
    assert len(log()) == 1


def test_one_node_of_a_cluster_is_down(clock, log):
    """Its keys are held back, those of the other nodes are not."""
    with servers.cluster() as url:
        options = {"BASE_CLIENT_KWARGS": {"socket_timeout": 5, "cluster_error_retry_attempts": 0}}
        backend = "django_valkey.cluster_cache.cache.ClusterValkeyCache"
        remote = {"BACKEND": backend, "LOCATION": url.replace("redis", "valkey"), "OPTIONS": options}
        with aliases(remote, LOCAL_TIMEOUT=0):
            cache = caches[TIER]
            cache.set("key0", "key0")
            assert cache.get("key0") == "key0"  # from then on the client knows which node has which key
            by_server = keys_by_server(cache)
            assert len(by_server) == 3
            down, *others = by_server
            for server in by_server:
                with contextlib.closing(valkey.Valkey.from_url(f"valkey://{server}")) as control:
                    control.config_set("cluster-require-full-coverage", "no")  # each goes on serving what is its own
                    if server == down:
                        control.shutdown(nosave=True)
            alive = [key for server in others for key in by_server[server][:3]]
            for key in alive:
                cache.set(key, key)
            check_that_one_is_down(cache, clock, alive, by_server[down][:3])
    assert len(log()) == 1


# --- servers that refuse ---


@pytest.fixture
def own_valkey():
    """A server that a test may change."""
    with servers.valkey() as url:
        yield {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("CONFIG SET maxmemory 1", redis.exceptions.OutOfMemoryError),
        ("REPLICAOF 127.0.0.1 1", redis.exceptions.ReadOnlyError),
    ],
)
def test_a_server_that_refuses_writes_is_read(own_valkey, clock, log, command, kind):
    """Writes raise the client's error; ignored, they fail closed, and the log says so once."""
    with aliases(own_valkey, LOCAL_TIMEOUT=0), contextlib.closing(redis.Redis.from_url(own_valkey["LOCATION"])) as control:
        cache = caches[TIER]
        cache.set_many({"key": "value", "number": 1})
        control.execute_command(*command.split())
        for write in (lambda: cache.set("key", "new"), lambda: cache.incr("number")):
            with pytest.raises(kind):
                write()
        assert cache.get("key") == "value"
        assert not cache.local.in_outage
        assert log() == []
    with aliases(own_valkey, LOCAL_TIMEOUT=0, REMOTE_ERRORS="ignore"):
        cache = caches[TIER]
        for _ in range(2):
            assert cache.set("key", "new") is None
            assert cache.add("other", "new") is False
            assert cache.set_many({"key": 1, "other": 2}) == ["key", "other"]
            with pytest.raises(ValueError, match="'number' not changed"):
                cache.incr("number")
            assert cache.get("key") == "value"
        assert not cache.local.in_outage
        (line,) = log()
        assert kind.__name__ in line


# --- clients that swallow their errors ---


def keep_a_stale_copy(cache, clock):
    tier = cache._tier
    tier.keep(tier.begin("stale", None, cache.local_key("stale")), "old", None)
    clock.move(10)


SWALLOWING = {
    "django-redis": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": f"redis://{NOBODY}/0",
        "OPTIONS": {"IGNORE_EXCEPTIONS": True},
    },
    "django-valkey": {
        "BACKEND": "django_valkey.cache.ValkeyCache",
        "LOCATION": f"valkey://{NOBODY}/0",
        "OPTIONS": {"IGNORE_EXCEPTIONS": True},
    },
    # For an hour after its first error it says that there is no such key.
    "pymemcache": {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": NOBODY,
        "OPTIONS": {"retry_timeout": 3600},
    },
}


@pytest.mark.parametrize("remote", SWALLOWING.values(), ids=SWALLOWING)
def test_a_remote_that_swallows_its_errors_is_known_to_be_down(clock, mode, log, remote):
    """It serves a stale copy where there is one, else the miss that it would say, and remembers no absence."""
    with aliases(remote, STALE_IF_ERROR=60, MISS_TIMEOUT=60):
        cache = caches[TIER]
        keep_a_stale_copy(cache, clock)
        assert cache.get("stale") == "old"
        for known in (False, True):
            assert cache.local.in_outage is known
            for _ in range(2):
                assert mode(cache).get("cold", "default") == "default"
                assert mode(cache).get_many(["cold", "stale"]) == {"stale": "old"}
                assert mode(cache).has_key("stale") is True
                assert mode(cache).has_key("cold") is False
            go_down(cache, clock, ["a", "b", "c"])
        assert len(cache.local) == 1
        assert len(log()) == 1
