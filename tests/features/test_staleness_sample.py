"""``STALENESS_SAMPLE``: a share of the hits is compared with what the remote answers."""

import itertools

import pytest

from tests.support.doubles import RemoteDouble
from tieredcache.local import sample

ALL = {"LOCAL_TIMEOUT": 60, "MISS_TIMEOUT": 60, "JITTER": 0, "PREFETCH": 0, "STALENESS_SAMPLE": 1}


class Plain:
    """Equal to nothing but itself."""

    def __init__(self, number):
        self.number = number


class Unequal(Plain):
    """Cannot be compared."""

    def __eq__(self, other):
        raise ArithmeticError

    __hash__ = None


def figures(cache):
    found = cache.stats()
    return found.compared, found.compared_stale, found.oldest_stale_seconds


@pytest.mark.parametrize(
    ("old", "new"),
    [("x", "y"), ([1], [2]), (Plain(1), Plain(2)), (None, 0), ("x", ["x"])],
    ids=["str", "list", "object", "None", "other type"],
)
def test_a_hit_is_answered_by_the_remote_and_compared_when_it_is_sampled(make_cache, clock, mode, old, new):
    """The caller is given the newer value, and what the local tier would have said is counted."""
    cache = make_cache("django-redis", **ALL)
    cache.set("key", old)
    cache.get("key")
    clock.move(2)
    mode(cache).get("key")
    assert figures(cache) == (1, 0, 0)
    cache.remote.set("key", new)
    clock.move(3)
    found = mode(cache).get("key")
    assert getattr(found, "number", found) == getattr(new, "number", new)
    assert figures(cache) == (2, 1, 3)
    mode(cache).get("key")
    assert figures(cache) == (3, 1, 3)
    assert (cache.stats().hits, cache.stats().remote_hits) == (0, 4)


def test_absence_is_compared_too(make_cache, clock):
    """A remembered absence against a value, and a copy of what is gone."""
    cache = make_cache("django-redis", **ALL)
    assert cache.get("key") is None
    cache.get("key")
    assert figures(cache) == (1, 0, 0)
    cache.remote.set("key", 1)
    assert cache.get("key") == 1
    assert figures(cache)[:2] == (2, 1)
    cache.remote.delete("key")
    assert cache.get("key") is None
    assert figures(cache)[:2] == (3, 2)


def test_get_many_compares_each_of_its_hits(make_cache, mode):
    """And sends them with what is missing."""
    cache = make_cache("django-redis", **ALL)
    cache.set_many({"a": 1, "b": [2], "c": 3})
    cache.get_many(["a", "b"])
    cache.remote.set("b", [3])
    assert mode(cache).get_many(["a", "b", "c"]) == {"a": 1, "b": [3], "c": 3}
    assert figures(cache)[:2] == (2, 1)


def test_so_many_hits_are_compared_as_the_share_says(make_cache, monkeypatch):
    """The others are hits."""
    cache = make_cache("django-redis", **ALL | {"STALENESS_SAMPLE": 0.25})
    draws = itertools.cycle([0.2, 0.25, 0.5, 0.99])
    monkeypatch.setattr(sample.random, "random", lambda: next(draws))
    monkeypatch.setattr("tieredcache.local.tier.random.random", lambda: next(draws))
    cache.set("key", "x")
    cache.get("key")
    before = cache.stats().hits
    for _ in range(40):
        cache.get("key")
    assert 8 <= cache.stats().compared <= 14
    assert cache.stats().hits - before == 40 - cache.stats().compared


def test_nothing_is_compared_without_it(make_cache):
    """And the hit path serves."""
    cache = make_cache("django-redis", **ALL | {"STALENESS_SAMPLE": 0})
    cache.set("key", "x")
    cache.get("key")
    cache.remote.set("key", "y")
    assert cache.get("key") == "x"
    assert figures(cache) == (0, 0, 0)
    assert cache._lru["key"].deadline > 0


def test_what_cannot_be_compared_is_not_counted(make_cache):
    """An object whose comparison raises; a copy that this process has written over meanwhile."""
    cache = make_cache("django-redis", **ALL)
    cache.set("key", Unequal(1))
    cache.get("key")
    cache.remote.set("key", Unequal(2))
    assert cache.get("key").number == 2
    assert figures(cache) == (0, 0, 0)


def test_a_write_of_this_process_is_no_staleness(make_cache, monkeypatch):
    """It comes between the read that compares and its answer."""
    cache = make_cache("django-redis", **ALL)
    cache.set("key", 1)
    cache.get("key")
    get = type(cache._reader()).get

    def slow(*args, **kwargs):
        cache.set("key", 2)
        return get(*args, **kwargs)

    monkeypatch.setattr(type(cache._reader()), "get", slow)
    assert cache.get("key") == 2
    assert figures(cache) == (0, 0, 0)


def test_a_hit_is_answered_by_its_copy_when_the_remote_fails(make_cache):
    """A sample turns no hit into an error."""
    cache = make_cache({"BACKEND": "tests.support.doubles.RemoteDouble"}, **ALL)
    cache.set("key", "x")
    cache.get("key")
    RemoteDouble.broken_reads = ConnectionError()
    assert cache.get("key") == "x"
    assert cache.get_many(["key"]) == {"key": "x"}
    assert figures(cache) == (0, 0, 0)


def test_whether_a_key_exists_is_not_compared(make_cache):
    """No value is read for that, and so none can be."""
    cache = make_cache("django-redis", **ALL)
    cache.set("key", "x")
    cache.get("key")
    assert cache.has_key("key")
    assert figures(cache) == (0, 0, 0)
    assert cache.stats().hits == 1
