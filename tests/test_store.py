"""The store's rules: what a destructor or signal handler may do in the middle of a change."""

import pytest

from tests.conftest import LRU, TIERED


@pytest.fixture
def breaking_in(monkeypatch):
    """Calls a function in the middle of the next eviction, and asserts that it changes nothing in lru-dict itself."""

    def arrange(store, function):
        add = store.evictions.add

        def amid():
            monkeypatch.setattr(store.evictions, "add", add)
            assert store.busy
            before = sorted(map(str, store.lru.keys()))
            function()
            assert sorted(map(str, store.lru.keys())) == before, "lru-dict was changed amid a change"
            return add()

        monkeypatch.setattr(store.evictions, "add", amid)

    return arrange


def consistent(store):
    return len(store.index) == len(store.lru) and all(store.index[key] is store.lru[key] for key in store.lru.keys())  # noqa: SIM118


def test_what_breaks_in_is_noted_and_done_afterwards(make_lru, breaking_in):
    """Writes of a destructor during an eviction: each answers rightly, and none is lost."""
    cache = make_lru(OPTIONS={"MAX_ENTRIES": 4})
    store = cache._store
    cache.set_many({"evicted": 0, "a": 1, "b": 2, "c": 3})

    def break_in():
        cache.set("new", 10)
        assert cache.add("new", 11) is False
        assert cache.add("written", 12) is False, "the write that was broken into comes first"
        assert cache.add("other", 13) is True
        assert cache.incr("a") == 2
        assert cache.get("a") == 2
        assert cache.delete("b") is True
        assert cache.get("b") is None
        assert cache.delete("b") is False
        assert cache.touch("c", 0) is True
        assert cache.get("c") is None

    breaking_in(store, break_in)
    cache.set("written", 20)
    assert cache.get("written") == 20
    assert cache.get("new") == 10
    assert cache.get("other") == 13
    assert cache.get("evicted") is None
    assert cache.get("b") is None
    assert consistent(store)
    assert not store.busy
    assert not store._deferred
    for key in "defgh":
        cache.set(key, key)
    assert consistent(store)
    assert cache.stats().entries == 4


def test_a_clear_that_breaks_in_clears(make_lru, breaking_in):
    """What was there before is not served afterwards."""
    cache = make_lru(OPTIONS={"MAX_ENTRIES": 2})
    cache.set_many({"a": 1, "b": 2})
    breaking_in(cache._store, cache.clear)
    cache.set("c", 3)
    assert cache.get_many(["a", "b"]) == {}
    for key in "defg":
        cache.set(key, key)
    assert consistent(cache._store)


def test_a_tier_is_forgotten_and_filled_amid_a_fill(make_cache, breaking_in):
    """A destructor that writes, reads and clears through the tier, while the tier makes room."""
    cache = make_cache(MAX_ENTRIES=2, LOCAL_TIMEOUT=60)
    tier = cache._tier
    cache.set_many({key: key for key in "abcd"})
    cache.get_many(["a", "b"])

    def break_in():
        cache.set("b", "new")
        assert cache.get("b") == "new"
        cache.set("c", "newer")
        assert cache.get("d") == "d"
        assert cache.get_many(["a", "b"]) == {"a": "a", "b": "new"}

    breaking_in(tier, break_in)
    assert cache.get("c") == "c", "it was read before the write"
    assert cache.get("c") == "newer"
    assert cache.get("b") == "new"
    assert consistent(tier)
    assert not tier.tokens
    breaking_in(tier, cache.local.clear)
    cache.get("a")
    assert tier.has("c") is tier.has("b") is None
    cache.get_many(list("abcd"))
    cache.get_many(list("abcd"))
    assert consistent(tier)
    assert len(cache.local) == 2


def test_a_fill_does_not_wait_for_ever(make_cache, monkeypatch):
    """While a destructor holds the lock up in another thread, readers are answered and their answers not kept."""
    import threading

    monkeypatch.setattr("tieredcache.store.PATIENCE", 0.001)
    cache = make_cache(LOCAL_TIMEOUT=60)
    cache.set_many({"a": 1, "b": 2})
    cache.get("b")
    held, release = threading.Event(), threading.Event()

    def hold():
        with cache._tier.lock:
            held.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    assert cache.get("a") == 1
    assert cache.get("b") == 2
    cache.set("b", 3)
    assert cache.get("b") == 3
    cache.local.clear()
    assert cache._tier.has("b") is None
    assert cache.stats().skipped == 2
    release.set()
    thread.join()
    assert cache.get_many(["a", "b"]) == {"a": 1, "b": 3}
    assert cache.get_many(["a", "b"]) == {"a": 1, "b": 3}
    assert consistent(cache._tier)
    assert not cache._tier.tokens


def test_stats_of_a_tier(make_cache, clock, mode):
    """Each counter counts what it says, whichever way a read is answered."""
    cache = make_cache(LOCAL_TIMEOUT=5, JITTER=0, MAX_ENTRIES=3, MISS_TIMEOUT=1, LOCAL_TIMEOUTS={"never": 0})
    cache.set_many({"text": "a", "list": [1], "never": 1, 1: "number"})
    reader = mode(cache)

    def counted():
        stats = cache.stats()
        return stats.hits, stats.remote_hits, stats.misses

    reader.get("text")
    reader.get("list")
    assert counted() == (0, 2, 0)
    reader.get("text")
    reader.get("list")
    reader.get("text", version=1)
    reader.has_key("list")
    assert counted() == (4, 2, 0)
    reader.get_many(["text", "list", "text", 1, "absent"])
    assert counted() == (7, 3, 1)
    reader.get("absent")
    reader.get_many(["absent"])
    assert counted() == (9, 3, 1)
    stats = cache.stats()
    assert (stats.evictions, stats.entries, stats.max_entries) == (1, 3, 3)
    reader.get("never")
    assert counted() == (9, 4, 1)
    assert cache.stats().skipped == 1
    clock.move(5)
    reader.get("text")
    assert counted() == (9, 5, 1)
    assert cache.stats().expired == 1
    before = cache.stats().forgotten
    cache.set("text", "b")
    assert cache.stats().forgotten == before + 1
    cache.set("text", "c")
    assert cache.stats().forgotten == before + 1
    entries = len(cache.local)
    cache.clear()
    stats = cache.stats()
    assert stats.forgotten == before + 1 + entries
    assert stats.hit_ratio == 9 / 15
    assert type(stats).__name__ == "Stats"
    with pytest.raises(AttributeError):
        stats.hits = 0


def test_the_hit_ratio_before_the_first_read():
    """Nothing divided by nothing is nothing."""
    from tieredcache import Stats

    assert Stats().hit_ratio == 0


def test_counting_loses_nothing():
    """Eight threads count; every count arrives, and looking changes nothing."""
    import threading

    from tieredcache.stats import Counter

    counter = Counter()

    def work():
        for _ in range(5000):
            counter.add()
            counter.value()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.value() == counter.value() == 40_000


def test_public_names():
    """What the package offers, exactly."""
    import tieredcache
    from tieredcache import backends

    assert tieredcache.__all__ == ["RemoteOutage", "Stats", "fresh"]
    assert backends.__all__ == ["LRUCache", "TieredCache"]
    assert LRU.rpartition(".")[2] in backends.__all__
    assert TIERED.rpartition(".")[2] in backends.__all__
    for module in (tieredcache, backends):
        assert all(hasattr(module, name) for name in module.__all__)
