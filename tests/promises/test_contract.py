"""The contract, over every kind of remote, sync and async: the remote's answers, the first time and from the local tier."""

import datetime
import decimal

import pytest
from django.core.cache import caches
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.caches import KINDS
from tests.support.copies import deadline, is_served
from tests.support.doubles import RemoteDouble

every_remote = pytest.mark.parametrize("kind", KINDS)
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # clients that leave sockets to the garbage collector
    pytest.mark.filterwarnings("ignore:.* on sharded client:UserWarning"),  # django-redis warns of its own calls
]


@pytest.fixture
def cache(kind, make_cache):
    return make_cache(kind, LOCAL_TIMEOUT=60)


def hits(cache):
    return cache.stats().hits


@every_remote
def test_get_returns_what_the_remote_returns(cache, mode, kind):
    """Same type and equal, from the remote and from the local tier: a list where JSON has carried a tuple."""
    values = ["text", 12, 1.5, True, None, [1, "b"], {"a": [1, {"b": 2}]}, "", 0, False, [], (1, (2, 3))]
    if kind != "django-redis-json":
        values += [frozenset({1}), b"bytes", decimal.Decimal("1.50"), datetime.date(2026, 1, 2), {1, 2}]
    if kind == "django-redis-herd":
        values.remove(None)  # which Herd takes for missing
    for number, value in enumerate(values):
        key = f"key{number}"
        cache.set(key, value)
        expected = cache.remote.get(key, "absent")
        before = hits(cache)
        first = mode(cache).get(key, "absent")
        second = mode(cache).get(key, "absent")
        third = mode(cache).get_many([key]).get(key, "absent")
        assert hits(cache) == before + 2, value
        for got in (first, second, third):
            assert type(got) is type(expected), value
            assert got == expected


@every_remote
def test_writes_are_seen_at_once(cache, mode, kind):
    """Each write of Django's interface reaches the remote, and the next read of this process sees it."""
    cache, tiered = mode(cache), cache
    remote = caches["remote"]

    def agrees(key, value):
        assert tiered.get(key) == value == remote.get(key)
        assert cache.get(key) == value

    cache.set("key", 1)
    agrees("key", 1)
    cache.set("key", 2, timeout=100)
    agrees("key", 2)
    assert not cache.add("key", 3)  # django-valkey says None
    agrees("key", 2)
    assert cache.add("new", 3) is True
    agrees("new", 3)
    cache.set_many({"key": 4, "new": 5})
    agrees("key", 4)
    agrees("new", 5)
    if kind not in ("django-redis-herd", "django-valkey", "django-valkey-cluster"):
        # Herd has no incr; django-valkey's script calls server.call(), which this Valkey knows, with its own replies.
        assert cache.incr("key", 2) == 6
        agrees("key", 6)
        assert cache.decr("key") == 5
        agrees("key", 5)
    assert cache.touch("key", 200)
    assert cache.has_key("key") is True
    assert "key" in tiered
    assert cache.delete("key") is True
    agrees("key", None)
    assert cache.has_key("key") is False
    assert cache.delete("key") is False
    cache.delete_many(["new", "key"])
    agrees("new", None)
    assert cache.get_or_set("made", lambda: 7) == 7
    agrees("made", 7)
    cache.clear()
    agrees("made", None)


@every_remote
def test_versions_are_the_remotes(cache, mode, kind):
    """A version is part of the key, and moving a value moves it for the local tier too."""
    cache.set("key", 1)
    cache.set("key", 2, version=2)
    assert mode(cache).get("key", version=2) == 2
    assert mode(cache).get("key", version=2) == 2
    assert mode(cache).get("key") == 1
    assert mode(cache).get("key", version=1) == 1
    if kind in ("django-redis-shard", "django-redis-herd"):
        return  # they look for the moved value under other keys
    assert mode(cache).incr_version("key", version=2) == 3
    assert cache.get("key", version=2) is None
    assert cache.get("key", version=3) == 2
    assert mode(cache).decr_version("key", version=3) == 2
    assert cache.get("key", version=3) is None
    assert cache.get("key", version=2) == 2


@every_remote
def test_what_another_process_writes_is_seen_after_the_local_timeout(kind, make_cache, clock):
    """The bound: served until the local timeout has passed since before the read, and not after."""
    cache = make_cache(kind, LOCAL_TIMEOUT=5, JITTER=0)
    cache.set("key", 1, timeout=None)
    assert cache.get("key") == 1
    cache.remote.set("key", 2, timeout=None)
    clock.move(4.9)
    assert cache.get("key") == 1
    clock.move(0.1)
    assert cache.get("key") == 2


@every_remote
def test_get_many_equals_a_loop_of_get(kind, make_cache, clock):
    """Over mixes of hits, expired, missing and None values, keys that are one to the remote, and versions."""
    cache = make_cache(kind, LOCAL_TIMEOUT=5, JITTER=0)
    absent = object()
    keys = st.sampled_from(["a", "b", "c", "d", 1, "1", True, 2.0])
    stored = [0, None, "text", [1], {"a": 1}, (1, 2)] if kind != "django-redis-json" else [0, None, "text", [1]]

    if kind == "django-redis-shard":
        stored.remove(None)  # which its get_many takes for missing

    # The fixtures are reset by the clear() at the start of each example.
    @settings(
        max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    )
    @given(
        values=st.dictionaries(keys, st.sampled_from(stored), max_size=6),
        kept=st.lists(keys, max_size=6),
        late=st.lists(keys, max_size=4),
        asked=st.lists(keys, max_size=10),
        version=st.sampled_from([None, 1, 2]),
    )
    def check(values, kept, late, asked, version):
        cache.clear()
        for key, value in values.items():
            cache.set(key, value, version=version)
        cache.get_many(kept, version=version)
        clock.move(5.5)
        cache.get_many(late, version=version)
        together = cache.get_many(iter(asked), version=version)
        one_by_one = {}
        for key in asked:
            value = cache.get(key, absent, version=version)
            if value is not absent:
                one_by_one[key] = value
        assert together == one_by_one
        assert list(together) == list(one_by_one)
        assert [type(value) for value in together.values()] == [type(value) for value in one_by_one.values()]
        ids = [id(value) for value in together.values() if isinstance(value, (list, dict))]
        assert len(ids) == len(set(ids)), "two keys were given one mutable object"

    check()


def test_get_many_of_nothing_asks_nothing(make_cache, monkeypatch):
    """No remote call where there is nothing to ask for."""
    cache = make_cache()
    monkeypatch.setattr(type(cache.remote), "get_many", None)
    assert cache.get_many([]) == {}


def test_a_miss_is_not_remembered_by_default(make_cache):
    """Without MISS_TIMEOUT every read of an absent key asks the remote."""
    cache = make_cache(LOCAL_TIMEOUT=60)
    assert cache.get("key") is None
    cache.remote.set("key", 1)
    assert cache.get("key") == 1


def test_an_absence_is_remembered_for_the_miss_timeout(make_cache, clock, mode):
    """And answers get, get_many and has_key; never longer than the key's local timeout."""
    for miss_timeout, local_timeout in [(3, 60), (60, 3)]:
        cache = make_cache(LOCAL_TIMEOUT=local_timeout, MISS_TIMEOUT=miss_timeout, JITTER=0)
        assert mode(cache).get("key", "default") == "default"
        cache.remote.set("key", 1)
        clock.move(2.9)
        assert mode(cache).get("key", "default") == "default"
        assert mode(cache).get_many(["key"]) == {}
        assert mode(cache).has_key("key") is False
        assert cache.stats().hits == 3
        clock.move(0.1)
        assert mode(cache).get("key") == 1


def test_a_key_whose_value_does_not_decode_exists(make_cache, mode):
    """As at the remote: what django-redis writes for a lock is no pickle."""
    cache = make_cache("django-redis")
    with cache.lock("key", timeout=60):
        assert mode(cache).has_key("key") is cache.remote.has_key("key") is True
    assert mode(cache).has_key("key") is cache.remote.has_key("key") is False


def test_to_ask_for_a_key_keeps_no_copy(make_cache, mode):
    """Most remotes cannot tell how long it stays, and the caller wants to see it go."""
    cache = make_cache()
    for exists in (True, False, True):
        (cache.remote.set if exists else lambda key, _: cache.remote.delete(key))("key", 1)
        assert mode(cache).has_key("key") is exists
    assert len(cache.local) == 0


def test_none_is_a_value(make_cache, mode):
    """A stored None is a hit, and no default stands in for it."""
    cache = make_cache()
    cache.set("key", None)
    for _ in range(2):
        assert mode(cache).get("key", "default") is None
        assert mode(cache).get_many(["key"]) == {"key": None}
        assert mode(cache).has_key("key") is True
        assert mode(cache).get_or_set("key", "default") is None
    assert cache.stats().remote_hits == 1


def test_the_default_timeout_of_writes(make_cache):
    """TIMEOUT on the tiered alias is the default of writes through it; without it the remote's own applies."""
    cache = make_cache("django-redis", alias={"TIMEOUT": 50}, remote_alias={"TIMEOUT": 500})
    cache.set("key", 1)
    cache.set_many({"many": 1})
    assert cache.add("added", 1)
    for key in ("key", "many", "added"):
        assert 49 <= cache.ttl(key) <= 50
    cache.set("explicit", 1, 70)
    assert 69 <= cache.ttl("explicit") <= 70
    cache = make_cache("django-redis", remote_alias={"TIMEOUT": 500})
    cache.set("key", 1)
    assert 499 <= cache.ttl("key") <= 500
    cache = make_cache("django-redis", alias={"TIMEOUT": None}, remote_alias={"TIMEOUT": 500})
    cache.set("key", 1)
    assert cache.ttl("key") is None
    cache.default_timeout = 60  # as any Django cache's
    cache.set("key", 1)
    assert 59 <= cache.ttl("key") <= cache.default_timeout


def test_excluded_prefixes_are_never_kept(make_cache):
    """The longest prefix decides; sessions, throttles and rate limits are built in, and can be overridden."""
    cache = make_cache(
        LOCAL_TIMEOUT=60, LOCAL_TIMEOUTS={"a:": 0, "a:b:": 60, "django.contrib.sessions.cache:own": 60, "rl:": 60}
    )
    kept = ["other", "a:b:c", "django.contrib.sessions.cache:own1", "rl:x"]
    excluded = ["a:c", "django.contrib.sessions.cacheabc", "django.contrib.sessions.cached_dbabc", "throttle_user_1"]
    cache.set_many(dict.fromkeys(kept + excluded, 1))
    for key in kept + excluded:
        assert cache.get(key) == 1
        assert cache.get_many([key]) == {key: 1}
    assert len(cache.local) == len(kept)
    for key in kept:
        assert is_served(cache, key)


@pytest.mark.parametrize("timeouts", [{}, {"geo.": 600}])
def test_a_local_timeout_of_zero_keeps_only_what_local_timeouts_names(timeouts, make_cache, mode):
    """As the page on adopting says; every other read is the remote's."""
    cache = make_cache(LOCAL_TIMEOUT=0, MISS_TIMEOUT=10, LOCAL_TIMEOUTS=timeouts)
    for value in (1, 2):
        cache.remote.set_many({"key": value, "geo.country": value})
        kept = 1 if timeouts else value
        assert mode(cache).get("key") == value
        assert mode(cache).get("geo.country") == kept
        assert mode(cache).get_many(["key", "geo.country", "absent"]) == {"key": value, "geo.country": kept}
    assert len(cache.local) == len(timeouts)


def test_the_clock_starts_before_the_remote_read_is_sent(make_cache, clock, mode, monkeypatch):
    """A slow read counts: what took three of five seconds to come is served for two."""
    cache = make_cache({"BACKEND": "tests.support.doubles.RemoteDouble", "LOCATION": "slow"}, LOCAL_TIMEOUT=5, JITTER=0)
    cache.set_many({"one": 1, "many": 1})
    monkeypatch.setattr(RemoteDouble, "_read", lambda self: clock.move(3))
    mode(cache).get("one")
    mode(cache).get_many(["many"])
    assert deadline(cache, "one") == clock() - 1
    assert deadline(cache, "many") == clock() + 2


def test_jitter_only_shortens(make_cache, clock):
    """Local timeouts lie between LOCAL_TIMEOUT less JITTER and LOCAL_TIMEOUT, and differ."""
    cache = make_cache(LOCAL_TIMEOUT=10, JITTER=0.5)
    keys = [f"key{number}" for number in range(200)]
    cache.set_many(dict.fromkeys(keys, 1))
    cache.get_many(keys)
    timeouts = [deadline(cache, key) - clock() for key in keys]
    assert 5 <= min(timeouts) < 6
    assert 9 < max(timeouts) <= 10


def test_the_local_tier_is_bounded(make_cache):
    """MAX_ENTRIES local copies at most; the least recently used goes first."""
    cache = make_cache(MAX_ENTRIES=3, LOCAL_TIMEOUT=60)
    cache.set_many({key: key for key in "abcd"})
    for key in "abc":
        cache.get(key)
    cache.get("a")
    cache.get("d")
    assert len(cache.local) == 3
    assert [key for key in "abcd" if is_served(cache, key)] == ["a", "c", "d"]
    assert cache.stats().evictions == 1


def test_the_local_tier_can_be_cleared_alone(make_cache):
    """local.clear() and local.forget() leave the remote as it is."""
    cache = make_cache(LOCAL_TIMEOUT=60)
    cache.set_many({"a": 1, "b": 2})
    cache.get_many(["a", "b"])
    cache.get("a", version=1)
    assert len(cache.local) == 2
    cache.local.forget("a", version=1)
    assert len(cache.local) == 1
    cache.local.clear()
    assert len(cache.local) == 0
    assert cache.remote.get_many(["a", "b"]) == {"a": 1, "b": 2}
    cache.local.forget("never there")


def test_keys_are_validated_by_the_remote(make_cache):
    """Memcached's errors are raised by reads and writes alike."""
    from django.core.cache import InvalidCacheKey

    cache = make_cache("memcached")
    for call in (lambda: cache.get("a key"), lambda: cache.set("a key", 1), lambda: cache.get_many(["a key"])):
        with pytest.raises(InvalidCacheKey):
            call()


async def test_a_hit_stays_in_the_event_loop(make_cache, monkeypatch):
    """aget, aget_many and ahas_key of what is here run to their end without yielding, and without a thread."""
    cache = make_cache(LOCAL_TIMEOUT=60)
    await cache.aset_many({"a": "text", "b": [1], 1: "number"})
    await cache.aget_many(["a", "b", 1])
    for module in ("tieredcache.backends.reads", "tieredcache.remote.reader", "django.core.cache.backends.base"):
        monkeypatch.setattr(f"{module}.sync_to_async", None)
    for operation, expected in [
        (cache.aget("a"), "text"),
        (cache.aget("b"), [1]),
        (cache.aget(1, version=1), "number"),
        (cache.aget_many(["a", "b", 1]), {"a": "text", "b": [1], 1: "number"}),
        (cache.ahas_key("b"), True),
        (cache.aclose(), None),
    ]:
        with pytest.raises(StopIteration) as stop:
            operation.send(None)
        assert stop.value.value == expected


async def test_a_miss_awaits_the_remotes_own_async_methods(make_cache, monkeypatch):
    """A remote with async methods of its own is awaited, not called in a thread."""
    monkeypatch.setattr(RemoteDouble, "reads", 0)
    cache = make_cache({"BACKEND": "tests.support.doubles.RemoteDouble", "LOCATION": "own-async"})
    monkeypatch.setattr(RemoteDouble, "get", None)
    monkeypatch.setattr(RemoteDouble, "get_many", None)
    await cache.aset("key", 1)
    assert await cache.aget("key") == 1
    assert await cache.aget_many(["key", "other"]) == {"key": 1}
    assert RemoteDouble.reads == 2


def outcome(read, cache):
    """What a read returns, or the class of what it raises."""
    try:
        return read(cache)
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("kind", ["django", "django-redis", "django-valkey"])
def test_a_key_of_another_type_is_the_error_that_it_is_for_the_remote(cache, kind, mode):
    """GET of a list is an error in every remote; what get_many makes of it is each remote's own."""
    remote = cache.remote
    client = remote._cache.get_client(None, write=True) if kind == "django" else remote.client.get_client()
    client.rpush(remote.make_key("key"), "x")
    for read in (lambda c: c.get("key"), lambda c: c.get_many(["key"])):
        assert outcome(read, mode(cache)) == outcome(read, remote)
    assert isinstance(outcome(lambda c: c.get("key"), cache), type)
    assert not cache.local.in_outage


def test_no_absence_is_remembered_of_a_remote_that_swallows_errors(make_cache, mode):
    """Its "no such key" may be an outage. A herd client is read by its own methods, which do not tell the two apart."""
    options = {"CLIENT_CLASS": "django_redis.client.HerdClient", "IGNORE_EXCEPTIONS": True}
    cache = make_cache("django-redis-herd", remote_alias={"OPTIONS": options}, LOCAL_TIMEOUT=60, MISS_TIMEOUT=60)
    assert mode(cache).get("key") is None
    assert mode(cache).get_many(["key"]) == {}
    assert len(cache.local) == 0
