"""LRUCache: what another thread does between two steps of a call. It is called there, in the same thread."""

import pytest


class Watched:
    """A lock that calls ``function`` before it is taken for the first time."""

    def __init__(self, lock, function):
        self._lock = lock
        self._function = function

    def __enter__(self):
        function, self._function = self._function, None
        if function:
            function()
        return self._lock.__enter__()

    def __exit__(self, *error):
        return self._lock.__exit__(*error)


@pytest.mark.parametrize("read", [lambda c: c.get("key"), lambda c: c.get_many(["key"]).get("key")], ids=["get", "get_many"])
def test_a_read_that_finds_a_value_expired_removes_nothing_that_was_set_meanwhile(make_lru, clock, monkeypatch, read):
    """Between its look at the deadline and its turn to remove the entry, another thread has set the key again."""
    cache = make_lru()
    store = cache._store
    cache.set("key", "old", 5)
    clock.move(5)
    monkeypatch.setattr(store, "lock", Watched(store.lock, lambda: cache.set("key", "new", 5)))
    assert read(cache) is None, "it was looked at before it was set"
    assert store.lock._function is None, "nothing was set"
    assert read(cache) == "new"


def test_incr_adds_to_what_was_set_meanwhile(make_lru, monkeypatch):
    """Between its look at the value and its turn to replace it, another thread has set it."""
    cache = make_lru()
    store = cache._store
    cache.set("key", 1)
    monkeypatch.setattr(store, "lock", Watched(store.lock, lambda: cache.set("key", 10)))
    assert cache.incr("key", 2) == 12
    assert cache.get("key") == 12
