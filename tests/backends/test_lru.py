"""LRUCache: a drop-in for LocMemCache and LRUObjectCache, with exact LRU order and values by reference."""

import copy
import threading

import pytest
from django.core.cache import caches
from django.test import override_settings

from tests.support.caches import LRU
from tieredcache.backends import LRUCache


def kept(cache, keys):
    return [key for key in keys if key in cache]


def test_the_order_is_exact(make_lru):
    """get promotes, in does not, touch does not; a write at capacity evicts exactly the least recently used one."""
    cache = make_lru(OPTIONS={"MAX_ENTRIES": 3})
    for key in "abc":
        cache.set(key, key)
    assert cache.get("a") == "a"
    assert "b" in cache
    assert cache.touch("b", 100)
    cache.set("d", "d")
    assert kept(cache, "abcd") == ["a", "c", "d"]
    cache.get_many(["c"])
    cache.set("e", "e")
    assert kept(cache, "acde") == ["c", "d", "e"]
    cache.set("c", "again")
    cache.incr("d", "!")
    cache.add("f", "f")
    assert kept(cache, "cdef") == ["c", "d", "f"]
    assert cache.stats().evictions == 3


def test_values_are_kept_by_reference(make_lru, mode):
    """Every reader gets the object that was stored; it need not be picklable."""
    cache = mode(make_lru())
    value = [threading.Lock()]
    cache.set("key", value)
    assert cache.get("key") is value
    assert cache.get_many(["key"])["key"] is value
    cache.set_many({"a": value})
    assert cache.get("a") is value
    assert cache.get_or_set("b", lambda: value) is value
    assert cache.add("c", value)
    assert cache.get("c") is value


def test_timeouts(make_lru, mode, clock):
    """None: forever; 0 and negative: not at all; fractions count; the default is TIMEOUT."""
    plain = make_lru(TIMEOUT=10)
    cache = mode(plain)
    cache.set("default", 1)
    cache.set("ever", 1, None)
    cache.set("half", 1, 0.5)
    cache.set("other", 1)
    cache.set("other", 2, 0)
    assert cache.get("other") is None
    cache.set("other", 1, -5)
    assert cache.get("other") is None
    assert cache.add("zero", 1, 0) is True
    assert cache.get("zero") is None
    assert cache.add("ever", 1, 0) is False
    assert cache.add("added", 1, 2) is True
    clock.move(0.4)
    assert cache.get("half") == 1
    clock.move(0.1)
    assert cache.get("half", "gone") == "gone"
    assert cache.has_key("half") is False
    clock.move(1.5)
    assert cache.add("added", 2) is True
    clock.move(7.9)
    assert cache.get_many(["default", "ever"]) == {"default": 1, "ever": 1}
    assert cache.touch("default", 5) is True
    clock.move(0.1)
    assert cache.get("default") == 1
    clock.move(5)
    assert cache.get_many(["default", "ever"]) == {"ever": 1}
    assert cache.touch("default") is False
    assert cache.touch("ever", 0) is True
    assert cache.get("ever") is None
    assert cache.delete("ever") is False
    with pytest.raises(ValueError, match="Key ':1:ever' not found"):
        cache.incr("ever")
    clock.move(1e9)
    assert cache.get("added") is None
    assert plain.stats().entries == 0, "what is expired is removed when it is met"


def test_fractional_default_timeout(make_lru, clock):
    """Half a second is not rounded to nothing."""
    cache = make_lru(TIMEOUT=0.5)
    cache.set("key", 1)
    clock.move(0.4)
    assert cache.get("key") == 1
    clock.move(0.1)
    assert cache.get("key") is None


def test_incr_is_atomic(make_lru):
    """Many threads, none of whose increments is lost."""
    cache = make_lru()
    cache.set("key", 0, None)

    def work():
        own = caches["default"]
        for _ in range(2000):
            own.incr("key")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.get("key") == 16000


def test_add_lets_one_in(make_lru):
    """Of many threads that add one key, one is told that it did."""
    cache = make_lru()
    barrier = threading.Barrier(8)
    winners = []

    def work(number):
        own = caches["default"]
        for turn in range(200):
            barrier.wait()
            if own.add(f"turn{turn}", number):
                winners.append(turn)

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(winners) == list(range(200))
    assert cache.stats().entries == 200


def test_instances_of_one_location_share_a_store():
    """Across threads, and across aliases; other locations do not."""
    config = {"BACKEND": LRU, "LOCATION": "shared"}
    with override_settings(CACHES={"default": config, "same": dict(config), "other": {"BACKEND": LRU, "LOCATION": "o"}}):
        value = object()
        caches["default"].set("key", value)
        assert caches["same"] is not caches["default"]
        assert caches["same"].get("key") is value
        assert caches["other"].get("key") is None
        seen = []
        thread = threading.Thread(target=lambda: seen.append(caches["default"].get("key")))
        thread.start()
        thread.join()
        assert seen == [value]
        caches["same"].clear()
        assert caches["default"].get("key") is None


def folding(key, prefix, version):
    return f"{prefix}{version}{key}".lower()


def lists(key, prefix, version):
    return (prefix, version, key)


def test_keys_prefixes_and_versions():
    """Aliases over one store with prefixes, versions and key functions of their own see what their keys say."""
    base = {"BACKEND": LRU, "LOCATION": "keys"}
    settings = {
        "default": base,
        "prefix": {**base, "KEY_PREFIX": "p"},
        "v2": {**base, "VERSION": 2},
        "folding": {**base, "KEY_FUNCTION": folding},
        "lists": {**base, "KEY_FUNCTION": "tests.backends.test_lru.lists"},
    }
    with override_settings(CACHES=settings):
        cache = caches["default"]
        cache.clear()
        for alias in settings:
            caches[alias].set("Key", alias)
            caches[alias].set(1, alias + "1")
            caches[alias].set("", alias + "empty")
        for alias in settings:
            for _ in range(2):
                assert caches[alias].get("Key") == alias
                assert caches[alias].get_many(["Key", 1, ""]) == {"Key": alias, 1: alias + "1", "": alias + "empty"}
        assert cache.get("1") == "default1"
        assert cache.get("Key", version=2) == caches["v2"].get("Key") == "v2"
        assert caches["v2"].get("Key", version=1) == "default"
        assert cache.get("Key", version="1") == "default"
        assert caches["folding"].get("kEY") == "folding"
        assert cache.incr_version("Key") == 2
        assert cache.get("Key") is None
        assert caches["v2"].get("Key") == "default"
        cache.set("any key at all, of any length" * 100, 1)
        assert cache.get("any key at all, of any length" * 100) == 1


async def test_async_methods_need_no_thread(make_lru, monkeypatch):
    """Every async method of Django's interface, with threads out of reach."""
    from django.core.cache.backends import base

    monkeypatch.setattr(base, "sync_to_async", None)
    cache = make_lru()
    await cache.aset("key", 1)
    assert await cache.aget("key") == 1
    assert await cache.aadd("key", 2) is False
    assert await cache.aget_or_set("other", lambda: 3) == 3
    assert await cache.aget_many(["key", "other"]) == {"key": 1, "other": 3}
    assert await cache.aset_many({"a": 1, "b": 2}) == []
    assert await cache.aincr("a") == 2
    assert await cache.adecr("a", 2) == 0
    assert await cache.atouch("a", 10) is True
    assert await cache.ahas_key("a") is True
    assert await cache.aincr_version("a") == 2
    assert await cache.adecr_version("a", version=2) == 1
    assert await cache.adelete("a") is True
    await cache.adelete_many(["b", "key"])
    assert await cache.aget("key") is None
    await cache.aclear()
    assert cache.stats().entries == 0
    await cache.aclose()


def test_stats(make_lru, clock):
    """Each counter counts what it says."""
    cache = make_lru(OPTIONS={"MAX_ENTRIES": 2})
    cache.get("a")
    cache.set("a", 1, 5)
    cache.get("a")
    cache.get("a", version=1)
    cache.get_many(["a", "b"])
    cache.set("a", 2, 5)
    assert (cache.stats().hits, cache.stats().misses) == (3, 2)
    clock.move(5)
    cache.get("a")
    cache.set("a", 1)
    cache.set("b", 1)
    cache.set("c", 1)
    cache.delete("c")
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.expired, stats.evictions, stats.forgotten) == (3, 3, 1, 1, 1)
    assert (stats.entries, stats.max_entries) == (1, 2)
    assert stats.hit_ratio == 0.5


def test_a_value_written_over_is_let_go(make_lru):
    """Nothing keeps what has been replaced, deleted, evicted or cleared."""
    import gc
    import weakref

    class Value:
        pass

    cache = make_lru(OPTIONS={"MAX_ENTRIES": 2})
    references = []
    for end in (
        lambda: cache.set("key", 1),
        lambda: cache.delete("key"),
        lambda: cache.set_many(dict.fromkeys("abc", 1)),
        cache.clear,
    ):
        value = Value()
        references.append(weakref.ref(value))
        cache.set("key", value)
        del value
        end()
    gc.collect()
    assert [reference() for reference in references] == [None] * 4


def test_an_instance_can_be_copied(make_lru):
    """As LocMemCache's."""
    cache = make_lru()
    cache.set("key", 1)
    assert copy.copy(cache).get("key") == 1


@pytest.mark.parametrize("write", ["set", "add", "get_or_set"])
def test_no_destructor_runs_while_the_store_is_locked(write, make_lru):
    """It may wait for a lock of the application's, whose holder writes to the cache."""
    cache = make_lru(OPTIONS={"MAX_ENTRIES": 1})
    free = []

    class Value:
        def __del__(self):
            other = threading.Thread(target=lambda: free.append(cache._store.lock.acquire(timeout=0.5)), daemon=True)
            other.start()
            other.join()

    cache.set("old", Value())
    getattr(cache, write)("new", (lambda: 1) if write == "get_or_set" else 1)
    assert free == [True]


def test_incr_of_what_is_cleared_this_moment(make_lru, monkeypatch):
    """There is no such key, and that is all."""
    cache = make_lru()
    cache.set("key", 1)
    entry = cache._store.index["key"]
    entry.kill()
    entry.deadline = float("inf")
    with pytest.raises(ValueError, match="not found"):
        cache.incr("key")


class Validating(LRUCache):
    """Makes its keys where a backend of Django's checks them."""

    tenant = "a"

    def make_and_validate_key(self, key, version=None):
        return f"{self.tenant}:{super().make_and_validate_key(key, version)}"


def test_keys_are_those_of_a_subclass_when_it_makes_them_where_they_are_validated():
    cache = Validating("tests.validating", {})
    cache.set("key", "of a")
    cache.tenant = "b"
    assert cache.get("key") is None
    cache.tenant = "a"
    assert (cache.get("key"), cache.get_many(["key"])) == ("of a", {"key": "of a"})
