"""``MAX_BYTES``: near what is really taken, whatever the values, and never passed."""

import gc
import sys
import threading
import tracemalloc

import pytest
from django.utils.datastructures import MultiValueDict

from tests.support.bounded import Run
from tests.support.copies import is_served
from tieredcache.config.options import TieredOptions
from tieredcache.local.sizes import size_of
from tieredcache.local.tier import LocalTier

MB = 10**6
VALUES = {
    "strings": lambda number: f"value {number} " * (1 + number % 40),
    "small dicts": lambda number: {"id": 1000 + number, "name": f"name {number}", "price": number / 7},
    "tuples": lambda number: (1000 + number, f"name {number}", number / 7, None, True),
    "bytes of 10 kB": lambda number: bytes(10_000),
    "lists of numbers": lambda number: [number * 1000 + each for each in range(50)],
}


@pytest.fixture(params=["TieredCache", "LRUCache"])
def filling(request, make_lru):
    """Makes what keeps values by number, and its store."""

    def make(max_bytes):
        if request.param == "TieredCache":
            tier = LocalTier(TieredOptions(local_timeout=3600, max_entries=MB, max_bytes=max_bytes))
            return (lambda number, value: tier.keep(tier.begin(f"key{number}", None, f"key{number}"), value, None)), tier
        cache = make_lru(OPTIONS={"MAX_ENTRIES": MB, "MAX_BYTES": max_bytes})
        return (lambda number, value: cache.set(f"key{number}", value)), cache._store

    return make


def taken(fill, store, makers, most):
    """What tracemalloc says is taken when the store is full, and has been for some time."""
    gc.collect()
    tracemalloc.start()
    try:
        before, number = tracemalloc.get_traced_memory()[0], 0
        while store.evictions < len(store) / 4 + 1:
            fill(number, makers[number % len(makers)](number))
            number += 1
            assert store.bytes <= most
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("kind", VALUES)
def test_the_estimate_is_near_what_is_taken_for_each_kind_of_value(filling, kind):
    """2 MB of each."""
    fill, store = filling(2 * MB)
    assert 0.8 < taken(fill, store, [VALUES[kind]], 2 * MB) / (2 * MB) < 1.2
    assert store.bytes > 1.9 * MB


@pytest.mark.slow
def test_the_estimate_is_near_what_is_taken_by_20_mb_of_all_kinds(filling):
    """As a process has them: in turns."""
    fill, store = filling(20 * MB)
    assert 0.8 < taken(fill, store, [*VALUES.values()], 20 * MB) / (20 * MB) < 1.2


def test_parts_count_once_and_what_all_share_not_at_all():
    """A value that is within itself ends, too; and one that is too large is not walked to its end."""
    part = ["x" * 1000]
    assert size_of([part] * 100, MB) < size_of(part, MB) + 2000
    assert size_of([None, True, 5, int], MB) == size_of([0] * 4, MB) == [0, 0, 0, 0].__sizeof__() + 16
    part.append(part)
    assert 1000 < size_of(part, MB) < 1300
    assert size_of([bytes(1000)] * 10 + [bytes(1000) for _ in range(1000)], 5000) < 20_000

    class Row:
        def __init__(self):
            self.text = "x" * 1000

    assert 1000 < size_of(Row(), MB) < 2000


def consistent(store):
    return store.bytes == sum(entry.size for entry in store.index.values())


def test_a_value_beyond_an_eighth_is_returned_and_not_kept(make_cache):
    """It would drive out all else. The copy that was there goes too: it is older."""
    cache = make_cache(MAX_BYTES="80kB")
    cache.set_many({"key": "small", "large": "x" * 11_000, "fits": "x" * 9000})
    assert [len(cache.get(key)) for key in ("key", "large", "fits")] == [5, 11_000, 9000]
    assert [is_served(cache, key) for key in ("key", "large", "fits")] == [True, False, True]
    stats = cache.stats()
    assert (stats.skipped, stats.max_bytes, stats.entries) == (1, 80_000, 2)
    assert 9000 < stats.bytes < 10_500
    cache.remote.set("key", "x" * 11_000)
    cache.local.forget("key")
    cache.get("key")
    assert consistent(cache._tier)
    cache.local.clear()
    assert cache.stats().bytes == 0


def test_an_lru_cache_does_not_store_what_is_too_large(make_lru):
    """Nor does it go on serving what was there before."""
    cache = make_lru(OPTIONS={"MAX_BYTES": 16_000})
    large = "x" * 2100
    cache.set("key", "old")
    cache.set("key", large)
    assert cache.get("key") is None
    assert cache.add("key", large) is False
    assert cache.get_or_set("key", lambda: large) == large
    assert cache.get("key") is None
    cache.set("key", "x")
    assert cache.incr("key", large) == "x" + large
    assert cache.get("key") is None
    assert cache.stats().skipped == 4
    assert cache.stats().bytes == 0


def test_a_computed_value_that_is_too_large_leaves_what_was_set_meanwhile(make_lru):
    cache = make_lru(OPTIONS={"MAX_BYTES": 16_000})

    def compute():
        Run(cache.set, "key", "new").result()
        return "x" * 20_000

    assert cache.get_or_set("key", compute) == "new"
    assert cache.get("key") == "new"


def test_a_value_that_takes_the_place_of_another_is_weighed_anew(make_lru):
    """By ``set``, ``incr`` and a computation; and what is least recently used makes way."""
    cache = make_lru(OPTIONS={"MAX_BYTES": 16_000})
    for number in range(50):
        cache.set(f"key{number}", "x")
    assert cache.stats().entries == 50
    for number in range(40, 50):
        cache.set(f"key{number}", "x" * 1000)
        assert consistent(cache._store)
    cache.incr("key49", "y" * 500)
    assert consistent(cache._store)
    stats = cache.stats()
    assert stats.bytes <= 16_000
    assert stats.evictions == 50 - stats.entries > 0
    assert len(cache.get("key49")) == 1500
    assert cache.get("key0") is None


def test_nothing_is_weighed_without_a_limit(make_cache, monkeypatch):
    """A fill does not pay for what nobody has asked for."""
    monkeypatch.setattr("tieredcache.local.store.size_of", None)
    cache = make_cache()
    cache.set("key", [1])
    assert cache.get("key") == [1]
    assert (cache.stats().bytes, cache.stats().max_bytes) == (0, 0)


class CutOff(Exception):
    """What a signal handler raises during a change."""


def test_the_bytes_are_right_again_after_a_change_that_was_cut_in_two(make_lru, monkeypatch):
    """Else each such exception would take away from what may be kept."""
    cache = make_lru(OPTIONS={"MAX_ENTRIES": 3, "MAX_BYTES": 16_000})
    store = cache._store

    def cut(*args):
        raise CutOff

    cache.set_many(dict.fromkeys("abc", 1))
    with monkeypatch.context() as patch:
        patch.setattr(store, "_unlink", cut)
        with pytest.raises(CutOff):
            cache.set("d", 1)
    assert not store.busy
    cache.set("e", 1)
    assert cache.get("e") == 1
    assert consistent(store)
    assert set(store.index) == set(store.lru.keys())
    assert len(store.index) == 3


@pytest.mark.parametrize("kind", [dict, MultiValueDict])
def test_a_value_that_another_thread_changes_can_be_weighed(kind):
    """An ``LRUCache`` keeps values by reference, so a dict may get keys while its size is estimated."""
    value, done = kind({f"key {number}": [number] for number in range(50)}), threading.Event()

    def change():
        while not done.is_set():
            for number in range(50, 100):
                value[f"key {number}"] = number
            for number in range(50, 100):
                del value[f"key {number}"]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    changing = Run(change)
    try:
        for _ in range(500):
            size_of(value, MB)
    finally:
        done.set()
        sys.setswitchinterval(interval)
        changing.result()
