"""What stands in for an answer that the remote does not give: a stale copy, a miss, or what the caller computes."""

import pytest
import redis
from django.core.cache.backends.redis import RedisCache

from tests.remote.failing import DOUBLE, RETRY_AFTER, fail, go_down, heal, with_stale_copy
from tests.support.doubles import RemoteDouble
from tieredcache import RemoteOutage, fresh


def test_a_stale_copy_is_served_for_so_long(make_cache, clock, mode):
    """STALE_IF_ERROR past its deadline, and no longer; by default not at all."""
    cache = with_stale_copy(make_cache, clock, STALE_IF_ERROR=60)
    clock.move(59.9)
    assert mode(cache).get("stale") == "old"
    clock.move(0.2)
    with pytest.raises(ConnectionError):
        mode(cache).get("stale")
    with pytest.raises(ConnectionError):
        mode(cache).get_many(["stale"])
    cache = with_stale_copy(make_cache, clock)
    with pytest.raises(ConnectionError):
        mode(cache).get("stale")


@pytest.mark.parametrize("kind", ["django-redis", "django"])
def test_a_stale_copy_is_not_served_past_the_remotes_own_expiry(make_cache, clock, kind, monkeypatch):
    """Beside one that is."""
    cache = make_cache(kind, LOCAL_TIMEOUT=2, STALE_IF_ERROR=60, JITTER=0, REMOTE_ERRORS="ignore")
    cache.set("short", [1], 10)
    cache.set("long", [1], 1000)
    assert cache.get_many(["short", "long"]) == {"short": [1], "long": [1]}

    def refuse(*args, **kwargs):
        raise redis.ConnectionError("gone")

    monkeypatch.setattr("redis.client.Pipeline.execute", refuse)
    clock.move(4)
    assert cache.get_many(["short", "long"]) == {"short": [1], "long": [1]}
    clock.move(6.1)
    assert cache.get_many(["short", "long"]) == {"long": [1]}


def test_a_stale_copy_is_not_served_where_freshness_is_demanded(make_cache, clock, mode):
    """An error is the honest answer, unless the copy is as fresh as it is demanded."""
    cache = with_stale_copy(make_cache, clock, STALE_IF_ERROR=60)
    go_down(cache, clock)
    assert mode(cache).get("stale") == "old"
    with fresh(), pytest.raises(RemoteOutage):
        mode(cache).get("stale")
    with fresh(max_age=60):
        assert mode(cache).get("stale") == "old"


def test_every_reader_of_a_stale_copy_gets_its_own(make_cache, clock, mode):
    """By whichever name of the key."""
    cache = make_cache(DOUBLE, LOCAL_TIMEOUT=5, STALE_IF_ERROR=60)
    cache.set("1", ["old"])
    cache.get("1")
    clock.move(5)
    fail()
    found = mode(cache).get_many([1, "1"])
    assert found == {1: ["old"], "1": ["old"]}
    assert found[1] is not found["1"]
    mode(cache).get("1").append("mutated")
    assert mode(cache).get("1") == ["old"]


def test_a_remembered_absence_is_served_stale_too(make_cache, clock, mode):
    """It is what the remote has said last."""
    cache = make_cache(DOUBLE, LOCAL_TIMEOUT=5, MISS_TIMEOUT=5, STALE_IF_ERROR=60)
    assert cache.get("absent", "default") == "default"
    clock.move(5)
    fail()
    assert mode(cache).get("absent", "default") == "default"
    assert mode(cache).get_many(["absent"]) == {}
    assert not mode(cache).has_key("absent")


def test_no_absence_is_remembered_of_a_remote_that_fails(make_cache, clock, mode):
    """A miss for want of an answer tells nothing of the key."""
    cache = make_cache(DOUBLE, MISS_TIMEOUT=5, REMOTE_ERRORS="ignore")
    cache.set("key", "value")
    fail()
    assert mode(cache).get("key") is None
    assert mode(cache).get_many(["key"]) == {}
    heal()
    assert mode(cache).get("key") == "value"


def test_get_many_of_keys_with_and_without_copies(make_cache, clock, mode):
    """All of them or an error; under "ignore" those that there are."""
    for option in ("raise", "ignore"):
        cache = with_stale_copy(make_cache, clock, STALE_IF_ERROR=60, REMOTE_ERRORS=option)
        for _ in range(2):
            if option == "raise":
                with pytest.raises(ConnectionError):
                    mode(cache).get_many(["cold", "stale"])
            else:
                assert mode(cache).get_many(["cold", "stale"]) == {"stale": "old"}
            go_down(cache, clock)


def test_what_is_computed_in_an_outage_is_not_written(make_cache, clock, mode, monkeypatch):
    """A write would wait for the client's time-outs, once for each look-up of a page, and leave nothing behind."""
    cache, written = make_cache(DOUBLE, REMOTE_ERRORS="ignore"), []
    monkeypatch.setattr(RemoteDouble, "add", lambda self, key, *rest, **kwargs: written.append(key) or False)
    go_down(cache, clock)
    for default in ("computed", lambda: "computed"):
        assert mode(cache).get_or_set("cold", default) == "computed"
    assert written == []
    heal()
    clock.move(RETRY_AFTER)
    assert mode(cache).get_or_set("cold", lambda: "computed") == "computed"
    assert written == ["cold"]


def test_stale_copies_count_as_hits(make_cache, clock):
    """What neither tier answers is a miss; each read that was sent and failed is an error of the remote."""
    cache = with_stale_copy(make_cache, clock, STALE_IF_ERROR=60, REMOTE_ERRORS="ignore")
    before = cache.stats()
    for _ in range(3):
        assert cache.get("stale") == "old"
        assert cache.get("cold") is None
    after = cache.stats()
    assert after.hits - before.hits == after.stale_served - before.stale_served == 3
    assert after.misses - before.misses == 3
    assert after.remote_errors - before.remote_errors == 4
    assert after.remote_hits == before.remote_hits


def test_an_error_reply_about_one_key_is_a_miss_and_no_outage_when_the_client_calls_it_one(make_cache, clock, mode):
    """django-redis with IGNORE_EXCEPTIONS, and a value of another type."""
    ignoring = {"OPTIONS": {"IGNORE_EXCEPTIONS": True}}
    cache = make_cache("django-redis", remote_alias=ignoring, STALE_IF_ERROR=3600, PREFETCH=0)
    cache.set("key", "old", None)
    cache.get("key")
    client = cache.remote.client.get_client(write=True)
    for key in ("key", "list 1", "list 2"):
        client.delete(cache.make_key(key))
        client.rpush(cache.make_key(key), "x")
    for _ in range(4):
        clock.move(3)
        assert [mode(cache).get(key) for key in ("list 1", "list 2")] == [None, None]
    assert mode(cache).get("key") is None
    assert not cache.local.in_outage


def test_a_time_limit_is_raised_when_it_strikes_while_the_script_is_asked_once_more(make_cache, monkeypatch):
    """Which is done where the pipeline has found what the script had missed."""
    cache, keys = make_cache("django"), [f"key:{number}" for number in range(20)]
    cache.remote.set(keys[0], 1)
    replies = iter([([None] * 20, [-2] * 20)])
    monkeypatch.setattr("tieredcache.remote.script._run", lambda *_: next(replies, None) or limit())
    with pytest.raises(TimeoutError):
        cache.get_many(keys)


def limit():
    raise TimeoutError


def test_a_time_limit_is_raised_when_it_strikes_while_the_ttl_is_asked_for(make_cache, mode, valkey_url, monkeypatch):
    """That call is ours alone: what strikes there is the caller's."""
    cache = make_cache({"BACKEND": f"{__name__}.OfAProject", "LOCATION": f"{valkey_url}/5"})
    monkeypatch.setattr("redis.Redis.pttl", lambda *_: limit())
    cache.set("key", 1)
    with pytest.raises(TimeoutError):
        mode(cache).get("key")


def test_a_value_is_returned_when_its_ttl_is_not_told_in_time(make_cache, mode, monkeypatch):
    """By a client that is not known, which may have waited for a future: the remote alone has not asked for a TTL."""
    cache = make_cache(DOUBLE)
    monkeypatch.setattr(RemoteDouble, "pttl", lambda *_, **__: limit(), raising=False)
    cache.set("key", 1)
    assert mode(cache).get("key") == 1
    assert not cache.stats().remote_errors


@pytest.mark.parametrize("ignored", [{"REMOTE_ERRORS": "ignore"}, {"STALE_IF_ERROR": 60}], ids=str)
def test_a_time_limit_is_raised_when_a_project_has_a_subclass_of_a_backend_of_redis(
    ignored, make_cache, mode, clock, valkey_url, monkeypatch
):
    cache = make_cache({"BACKEND": f"{__name__}.OfAProject", "LOCATION": f"{valkey_url}/5"}, **ignored)
    cache.set("key", 1)
    cache.get("key")
    clock.move(6)
    monkeypatch.setattr("redis.Redis.get", lambda *_: limit())
    with pytest.raises(TimeoutError):
        mode(cache).get("key")


class OfAProject(RedisCache):
    def get(self, *args, **kwargs):
        return super().get(*args, **kwargs)
