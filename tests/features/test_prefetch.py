"""PREFETCH: keys that were read together are refreshed together, under every promise, and little is sent for nothing."""

import asyncio
import contextvars

import pytest
import redis
from pymemcache.serde import FLAG_TEXT

from tests.support.copies import deadline
from tests.support.prefetched import PAGE, ask, brought, page, read_once
from tests.support.trips import CountingConnection, counting
from tieredcache import fresh
from tieredcache.remote import prefetch

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
BATCHING = ["django-redis", "django", "django-valkey", "django-valkey-cluster", "memcached"]


@pytest.fixture
def cache(expired):
    """One whose page has been read once, and has expired."""
    return expired()


def trips(call):
    before = CountingConnection.trips
    call()
    return CountingConnection.trips - before


def test_keys_read_together_are_refreshed_in_one_trip(cache):
    assert trips(lambda: page(cache)) == 1
    stats = cache.stats()
    assert (stats.prefetched, stats.prefetch_used) == (7, 7)
    assert (stats.misses, stats.remote_hits, stats.hits) == (0, 9, 7), "what nobody has asked for is no read"


def test_a_copy_that_was_brought_along_may_be_due(counted, clock):
    """For REFRESH_EARLY it is a copy like any other."""
    cache = counted(REFRESH_EARLY=1e6)
    cache.get_or_set(PAGE[1], lambda: clock.move(1) or "old", 100)
    clock.move(6)
    read_once(cache, clock)
    cache.remote.set(PAGE[1], "old", 100)
    ask(cache)
    assert brought(cache) == set(PAGE[1:])
    assert cache.get_or_set(PAGE[1], lambda: "new", 100) == "new"


def test_a_copy_that_cannot_be_served_is_not_counted_as_used(cache):
    """Another thread forgets it this moment."""
    ask(cache)
    cache._tier.index[PAGE[3]].kill()
    cache.get(PAGE[3])
    assert cache.stats().prefetch_used == 0


@pytest.mark.parametrize("kind", BATCHING)
def test_every_remote_that_reads_many_keys_at_once_brings_them_along(kind, make_cache, clock):
    cache = read_once(make_cache(kind, LOCAL_TIMEOUT=5, JITTER=0), clock)
    assert page(cache) == [f"value of {key}" for key in PAGE]
    tier = cache._tier
    servers = {tier.has_servers and tier.reader.server(cache.remote, key, None) for key in PAGE}
    assert cache.stats().prefetch_used == 8 - len(servers)


def test_a_read_does_not_wait_for_another_server_than_its_own(make_cache, clock):
    """It may be down, and a client without a time-out would wait for as long as it is."""
    cache = read_once(make_cache("django-valkey-cluster", LOCAL_TIMEOUT=5, JITTER=0), clock)
    ask(cache)
    server = cache._tier.reader.server
    assert {server(cache.remote, key, None) for key in brought(cache)} == {server(cache.remote, PAGE[0], None)}


@pytest.mark.parametrize("kind", ["locmem", "file"])
def test_a_remote_that_reads_key_by_key_brings_nothing_along(kind, make_cache, clock):
    cache = read_once(make_cache(kind, LOCAL_TIMEOUT=5, JITTER=0), clock)
    page(cache)
    assert cache.stats().prefetched == 0


def test_nothing_is_brought_along_when_it_is_switched_off(expired):
    cache = expired(PREFETCH=0)
    assert trips(lambda: page(cache)) == 8
    assert cache.stats().prefetched == 0


def test_no_more_keys_are_brought_along_than_the_option_says(expired):
    cache = expired(PREFETCH=2)
    ask(cache)
    assert len(brought(cache)) == 2


def test_a_read_of_many_keys_brings_their_company_along(cache):
    prefetch.begin_burst()
    cache.get_many(PAGE[:2])
    assert brought(cache) == set(PAGE[2:])
    assert trips(lambda: page(cache)) == 0


def test_a_question_whether_a_key_exists_brings_nothing_along(expired, mode):
    """It reads no value."""
    cache = expired()
    prefetch.begin_burst()
    assert mode(cache).has_key(PAGE[0])
    assert not brought(cache)


def test_keys_that_are_asked_for_are_none_that_are_brought_along(expired, clock):
    """They neither count as brought for nothing nor take the place of those that are."""
    cache = expired(PREFETCH=4)
    for _ in range(100):
        prefetch.begin_burst()
        cache.get_many(PAGE)
        clock.move(6)
    prefetch.begin_burst()
    cache.get_many(PAGE[:4])
    assert brought(cache) == set(PAGE[4:])


def test_async_reads_bring_along_too(counted, clock):
    cache = counted()
    cache.remote.set_many(dict.fromkeys(PAGE, 1), timeout=None)

    async def reads():
        return [await cache.aget(key) for key in PAGE]

    prefetch.begin_burst()
    asyncio.run(reads())
    clock.move(6)
    prefetch.begin_burst()
    assert trips(lambda: asyncio.run(reads())) == 1


def test_copies_that_are_still_good_are_left_alone(cache, clock):
    page(cache)
    clock.move(3)
    cache.delete(PAGE[0])
    ask(cache)
    assert brought(cache) == set()
    assert {deadline(cache, key) - clock() for key in PAGE[1:]} == {2}


def test_copies_about_to_expire_are_refreshed_as_well(cache, clock):
    page(cache)
    clock.move(4.6)
    cache.delete(PAGE[0])
    ask(cache)
    assert brought(cache) == set(PAGE[1:])


# --- the promises hold for what was brought along ---


def test_the_deadline_counts_from_before_the_trip(cache, clock, monkeypatch):
    reader = type(cache._tier.reader)
    original = reader.get_many

    def slow(*args, **kwargs):
        answers = original(*args, **kwargs)
        clock.move(2)
        return answers

    monkeypatch.setattr(reader, "get_many", slow)
    sent = clock()
    ask(cache)
    assert {deadline(cache, key) for key in PAGE} == {sent + 5}


def test_a_write_during_the_trip_is_not_undone(cache, monkeypatch):
    reader = type(cache._tier.reader)
    original = reader.get_many

    def overtaken(*args, **kwargs):
        answers = original(*args, **kwargs)
        cache.set(PAGE[3], "newer")
        return answers

    monkeypatch.setattr(reader, "get_many", overtaken)
    ask(cache)
    assert PAGE[3] not in brought(cache)
    assert cache.stats().prefetched == len(brought(cache)), "that copy was not kept"
    assert cache.get(PAGE[3]) == "newer"


def test_a_copy_does_not_outlive_the_remote_entry(cache, clock):
    cache.remote.set(PAGE[3], "short", timeout=2)
    ask(cache)
    assert deadline(cache, PAGE[3]) <= clock() + 2


def test_a_mutable_value_is_each_readers_own(cache):
    cache.remote.set(PAGE[3], {"a": []}, timeout=None)
    cache.get(PAGE[0])
    cache.get(PAGE[3])["a"].append(1)
    assert cache.get(PAGE[3]) == {"a": []}


def test_keys_that_are_never_kept_are_not_brought_along(expired):
    cache = expired(LOCAL_TIMEOUTS={"key:3": 0})
    ask(cache)
    assert PAGE[3] not in brought(cache)


@pytest.mark.parametrize("seconds", [0, 60])
def test_an_absence_is_brought_along_where_it_is_remembered(seconds, expired):
    cache = expired(MISS_TIMEOUT=seconds)
    cache.remote.delete(PAGE[3])
    ask(cache)
    assert (PAGE[3] in brought(cache)) is bool(seconds)
    assert cache.get(PAGE[3]) is None


def test_a_key_that_is_missing_is_not_brought_along_again_by_the_same_request(cache):
    """Once the server has lost its data, each read of a page would ask for the whole page."""
    cache.remote.clear()
    page(cache)
    assert sum(len(trip.keys) for trip in cache._tier.prefetch._trips[0]) == len(PAGE) - 1
    for key in PAGE:
        cache.set(key, "computed")
    assert trips(lambda: page(cache)) == 1


def test_within_a_demand_older_copies_are_read_again_in_one_trip(cache, clock):
    page(cache)
    clock.move(2)
    with fresh(max_age=1):
        assert trips(lambda: page(cache)) == 1


def test_a_demand_that_no_copy_meets_brings_nothing_along(cache):
    with fresh():
        assert trips(lambda: page(cache)) == 8
    assert cache.stats().prefetched == 0


def test_another_tenants_keys_are_not_brought_along(make_cache, clock, valkey_url):
    tenant = contextvars.ContextVar("tenant", default="one")
    remote = counting("django-redis", valkey_url)

    def make_key(key, prefix, version):
        if key == PAGE[0]:
            return key  # all tenants share it
        if tenant.get() == "none":
            raise PermissionError(key)
        return f"{tenant.get()}:{key}"

    remote["KEY_FUNCTION"] = make_key
    cache = make_cache(remote, LOCAL_TIMEOUT=5, JITTER=0)
    read_once(cache, clock)
    assert trips(lambda: page(cache)) == 1, "within one tenant they are"
    clock.move(6)
    tenant.set("two")
    cache.remote.set_many(dict.fromkeys(PAGE[1:], "two"), timeout=None)
    assert page(cache) == ["value of key:0"] + ["two"] * 7
    tenant.set("one")
    assert page(cache) == [f"value of {key}" for key in PAGE]
    tenant.set("none")
    clock.move(6)
    assert ask(cache) == "value of key:0", "nobody has asked for the others"


def test_a_neighbour_that_does_not_decode_is_skipped(cache, caplog):
    client = redis.Redis.from_url(cache.remote._server if isinstance(cache.remote._server, str) else cache.remote._server[0])
    client.set(cache.make_key(PAGE[3]), b"\x80no pickle")
    assert ask(cache) == "value of key:0"
    assert not caplog.records
    assert brought(cache) == set(PAGE) - {PAGE[0], PAGE[3]}


class Key:
    """A key that is an object, such as a model's instance."""

    name = "object"

    def __str__(self):
        return str(self.name)


def test_a_neighbour_whose_key_is_an_object_is_not_brought_along(cache, clock):
    """Its code may fail by now; nor is the object kept for this."""
    key = Key()
    cache.remote.set(key, 1, timeout=None)
    page(cache, [PAGE[0], key])
    clock.move(6)
    key.name = key
    assert ask(cache) == "value of key:0"


def test_a_neighbour_of_another_type_does_not_fail_the_read(make_cache, clock):
    """django-valkey reads many keys by many commands, of which one fails."""
    cache = read_once(make_cache("django-valkey", LOCAL_TIMEOUT=5, JITTER=0), clock)
    cache.remote.delete(PAGE[3])
    cache.remote.client.get_client(write=True).rpush(cache.make_key(PAGE[3]), "item")
    assert ask(cache) == "value of key:0"


def test_a_key_of_another_type_raises_what_the_remote_raises(cache):
    cache.remote.delete(PAGE[0])
    cache.remote.client.get_client(write=True).rpush(cache.make_key(PAGE[0]), "item")
    with pytest.raises(redis.ResponseError):
        cache.remote.get(PAGE[0])
    with pytest.raises(redis.ResponseError):
        cache.get(PAGE[0])


class Alarm(Exception):
    """What the caller's own signal handler raises, or the code of a value."""


@pytest.mark.parametrize("kind", ["django-redis", "memcached"])
@pytest.mark.parametrize("limit", [Alarm, TimeoutError])
def test_a_time_limit_that_strikes_in_a_trip_is_raised(kind, limit, make_cache, clock, monkeypatch):
    """It strikes once: the key would be asked for alone without one."""
    cache = read_once(make_cache(kind, LOCAL_TIMEOUT=5, JITTER=0), clock)

    def strikes(*args, **kwargs):
        raise limit

    monkeypatch.setattr(type(cache._tier.reader), "get_many", strikes)
    with pytest.raises(limit):
        ask(cache)


def raise_alarm():
    raise Alarm


class Raises:
    """Its own code raises an error of its own when it is unpickled."""

    def __reduce__(self):
        return raise_alarm, ()


def test_an_error_of_a_neighbours_own_does_not_fail_the_read(cache):
    cache.remote.set(PAGE[3], Raises(), timeout=None)
    assert ask(cache) == "value of key:0"
    assert brought(cache) == set(PAGE) - {PAGE[0], PAGE[3]}
    with pytest.raises(Alarm):
        cache.get(PAGE[3])


def test_a_neighbour_that_does_not_decode_costs_one_more_trip_where_it_fails_all(make_cache, clock, monkeypatch):
    """pymemcache's get_many() raises: not every key is asked for alone then."""
    cache = read_once(make_cache("memcached", LOCAL_TIMEOUT=5, JITTER=0), clock)
    cache.remote._cache.set(cache.make_key(PAGE[3]), b"\x80", flags=FLAG_TEXT)
    kind, asked = type(cache.remote), []
    original = kind.get
    monkeypatch.setattr(kind, "get", lambda remote, key, *args, **kwargs: asked.append(key) or original(remote, key, *args))
    assert ask(cache) == "value of key:0"
    assert asked == [PAGE[0]]


def test_a_trip_that_fails_is_made_again_for_the_key_alone(cache, clock, monkeypatch):
    def fails(*args, **kwargs):
        raise redis.TimeoutError("too much for the link")

    with monkeypatch.context() as patched:
        patched.setattr(type(cache._tier.reader), "get_many", fails)
        assert ask(cache) == "value of key:0"
    assert cache.stats().remote_errors == 0
    ask(cache, PAGE[1])
    assert not brought(cache), "nothing is brought along for a while"
    clock.move(prefetch.AFTER_FAILURE)
    ask(cache)
    assert brought(cache)


def test_a_read_that_the_circuit_watches_brings_nothing_along(cache, monkeypatch):
    def fails(*args, **kwargs):
        raise redis.ConnectionError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(type(cache._tier.reader), "get", fails)
        patched.setattr(type(cache._tier.reader), "get_many", fails)
        with pytest.raises(redis.ConnectionError):
            ask(cache)
    assert cache._tier.circuit.failing
    monkeypatch.setattr(cache._tier.prefetch, "trip", lambda *_: pytest.fail("asked what to bring along"))
    assert ask(cache) == "value of key:0"
