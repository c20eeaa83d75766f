"""REFRESH_EARLY and writes: what is written while a value is computed early is not overwritten by it."""

import threading

import pytest
from django.core.cache import caches

from tests.support.bounded import Run
from tests.support.doubles import Pause, RemoteDouble

both = pytest.mark.parametrize("alias", ["tiered", "lru"])


@pytest.mark.parametrize(("alias", "writer"), [("tiered", "tiered"), ("lru", "lru"), ("tiered", "remote")])
@pytest.mark.parametrize(("write", "left"), [("set", "written"), ("delete", None)])
def test_what_is_written_meanwhile_is_not_overwritten(alias, writer, write, left, due, compute, mode):
    """By this process (promise 3), or by another one: the remote is read again before anything is stored."""
    cache = due(alias)
    arguments = ["key", left, 100] if left else ["key"]
    compute.meanwhile = lambda: Run(getattr(caches[writer], write), *arguments).result()
    assert mode(cache).get_or_set("key", compute, 100) == (left or 2)
    assert cache.get("key") == left
    assert caches[writer].get("key") == left


@both
@pytest.mark.parametrize(("write", "left"), [("incr", 101), ("touch", 1)])
def test_what_is_changed_meanwhile_is_not_overwritten(alias, write, left, due, clock, compute, mode):
    cache = due(alias)
    compute.meanwhile = lambda: Run(getattr(cache, write), "key", 100).result()
    assert mode(cache).get_or_set("key", compute, 1) == left
    assert cache.get("key") == left


@both
def test_what_is_added_meanwhile_is_not_overwritten(alias, due, clock, compute, mode):
    """The old value expires while the new one is computed, and another thread adds one."""
    cache = due(alias)

    def add():
        clock.move(5)
        assert Run(cache.add, "key", "added", 100).result()

    compute.meanwhile = add
    assert mode(cache).get_or_set("key", compute, 100) == "added"
    assert cache.get("key") == "added"


def test_what_is_being_written_is_not_overwritten(due, compute, monkeypatch):
    """However the thread that computes comes in between."""
    cache, pause = due("lru"), Pause()
    compute.meanwhile = pause.stop
    maker = Run(cache.get_or_set, "key", compute, 100)
    pause.wait()
    overtake = cache.inflight.overtake

    def overtaking(keys):
        pause.release()
        maker.join(0.1)  # it cannot store before this write is over
        overtake(keys)

    with monkeypatch.context() as patch:
        patch.setattr(cache.inflight, "overtake", overtaking)
        cache.set("key", "written", 100)
    assert maker.result() == cache.get("key") == "written"


@both
def test_the_value_is_added_when_the_old_one_expires_meanwhile(alias, due, clock, compute, mode):
    """It took longer than last time."""
    cache = due(alias)
    compute.meanwhile = lambda: clock.move(5)
    assert mode(cache).get_or_set("key", compute, 100) == 2
    assert cache.get("key") == 2


@pytest.mark.parametrize(
    "write",
    [
        lambda cache: cache.set("key", "written", 100),
        lambda cache: cache.expire("key", 100),
        lambda cache: cache.incr_version("key", version=0),
    ],
    ids=["set", "a method of the remote", "incr_version"],
)
def test_a_write_that_was_under_way_when_the_computation_began_is_not_overwritten(write, due, compute, monkeypatch):
    """It lands between the second look of the computation and its store, and is over after that."""
    cache, sent, land, landed, over = due(), *[threading.Event() for _ in range(4)]
    store = RemoteDouble.set
    cache.remote.set("key", "written", 100, version=0)

    def written(self, *args, **kwargs):
        sent.set()
        assert land.wait(5)
        store(self, "key", "written", 100)
        landed.set()
        assert over.wait(5)

    def computed(self, *args, **kwargs):
        land.set()
        assert landed.wait(5)
        store(self, *args, **kwargs)

    monkeypatch.setattr(RemoteDouble, "set", written)
    monkeypatch.setattr(RemoteDouble, "expire", written, raising=False)
    writer = Run(write, cache)
    assert sent.wait(5)
    monkeypatch.setattr(RemoteDouble, "set", computed)
    Run(cache.get_or_set, "key", compute, 100).result()
    land.set()
    over.set()
    writer.result()
    assert cache.remote.get("key") == "written"
    assert cache.get("key") == "written"
