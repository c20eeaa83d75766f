"""What ``get_or_set`` computed before a write is not stored after it, at whatever moment the write comes."""

import asyncio
import threading
import time

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.cache.backends.locmem import LocMemCache

from tests.support.bounded import Run
from tests.support.doubles import RemoteDouble
from tieredcache.backends import TieredCache

DOUBLE = {"BACKEND": "tests.support.doubles.RemoteDouble", "LOCATION": "tests.stores"}


class HeldAdd:
    """The next ``add`` of the remote waits until the test lets it go on."""

    def __init__(self, monkeypatch):
        self.arrived, self.go_on = threading.Event(), threading.Event()
        add = RemoteDouble.add

        def held(*args, **kwargs):
            if not self.arrived.is_set():
                self.arrived.set()
                assert self.go_on.wait(20)
            return add(*args, **kwargs)

        monkeypatch.setattr(RemoteDouble, "add", held)


@pytest.fixture
def cache(make_cache):
    return make_cache(DOUBLE)


@pytest.fixture
def held(monkeypatch):
    monkeypatch.setattr("tieredcache.backends.writes.STORING", 30)
    held = HeldAdd(monkeypatch)
    yield held
    held.go_on.set()


WRITES = {
    "delete": lambda cache: cache.delete("key"),
    "delete_many": lambda cache: cache.delete_many(["other", "key"]),
    "clear": lambda cache: cache.clear(),
    "adelete": lambda cache: asyncio.run(cache.adelete("key")),
    "through another alias": lambda _: TieredCache("remote", {"OPTIONS": {"LOCAL_TIMEOUT": 1}}).delete("key"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_delete_waits_for_an_older_value_that_is_being_stored(cache, held, write):
    """The check whether the key was written and the add are two steps: a delete must not come between them."""
    older = Run(cache.get_or_set, "key", lambda: "older")
    assert held.arrived.wait(10)
    deleting = Run(write, cache)
    deleting.join(0.2)
    assert deleting.is_alive(), "the add has not been sent yet: deleted now, the older value would come after"
    held.go_on.set()
    deleting.result()
    older.result()
    assert cache.remote.get("key") is None
    assert cache.get_or_set("key", lambda: "newer") == "newer"


def test_a_computation_that_began_while_a_delete_was_under_way_stores_nothing(cache, monkeypatch):
    """The delete is over before the computation is: what the callable has read may be older."""
    sent, land = threading.Event(), threading.Event()
    delete = RemoteDouble.delete

    def late(*args, **kwargs):
        sent.set()
        assert land.wait(10)
        return delete(*args, **kwargs)

    monkeypatch.setattr(RemoteDouble, "delete", late, raising=False)
    deleting = Run(cache.delete, "key")
    assert sent.wait(10)

    def compute():
        land.set()
        deleting.result()
        return "older"

    assert cache.get_or_set("key", compute) == "older"
    assert cache.get("key") is None


def test_a_write_waits_for_a_moment_only(cache, held, monkeypatch):
    """A remote that does not answer the add does not hold the write up, and no other write at all."""
    monkeypatch.setattr("tieredcache.backends.writes.STORING", 0.05)
    older = Run(cache.get_or_set, "key", lambda: "older")
    assert held.arrived.wait(10)
    Run(cache.set, "key", "newer").result()
    assert older.is_alive()
    monkeypatch.setattr("tieredcache.backends.writes.STORING", 30)
    Run(cache.clear).result(10)
    Run(cache.set, "key", "newer").result(10)
    held.go_on.set()
    assert older.result() == "newer", "add stores nothing where there is a value"


def test_a_write_of_another_key_does_not_wait(cache, held):
    older = Run(cache.get_or_set, "key", lambda: "older")
    assert held.arrived.wait(10)
    Run(cache.set, "other", "value").result()
    assert older.is_alive()
    held.go_on.set()
    assert older.result() == "older"


def test_a_computation_that_stores_waits_for_no_other(cache):
    """Two that compute the same key, the second inside another computation, store without waiting for each other."""

    def outer():
        return cache.get_or_set("key", lambda: "inner")

    assert Run(cache.get_or_set, "key", outer).result() == "inner"
    assert asyncio.run(cache.aget_or_set("async", lambda: cache.aget_or_set("async", lambda: "inner"))) == "inner"


def test_sync_code_of_the_same_loop_deletes_for_good(cache):
    """Async code adds in the thread that sync code runs in: a delete there cannot wait for it, nor come in between."""
    begun, computed = threading.Event(), threading.Event()

    def deletes():
        begun.set()
        assert computed.wait(20)
        cache.delete("key")

    async def work():
        computing = asyncio.Event()

        async def compute():
            computing.set()
            while not begun.is_set():
                await asyncio.sleep(0.001)
            asyncio.get_running_loop().call_later(0.1, computed.set)
            return "older"

        async def delete():
            await computing.wait()
            await sync_to_async(deletes)()

        await asyncio.gather(delete(), cache.aget_or_set("key", compute))

    asyncio.run(work())
    assert cache.remote.get("key") is None


@pytest.mark.parametrize("forget", ["delete", "clear"])
def test_an_lru_cache_stores_nothing_older_than_a_delete(make_lru, forget):
    """The callable returns after the key has been deleted."""
    cache = make_lru()
    inside, leave = threading.Event(), threading.Event()

    def compute():
        inside.set()
        assert leave.wait(20)
        return "older"

    older = Run(cache.get_or_set, "key", compute)
    assert inside.wait(10)
    cache.delete("key") if forget == "delete" else cache.clear()
    leave.set()
    assert older.result() == "older"
    assert cache.get("key") is None


async def in_request(view):
    """As Django's handler does it: sync code of two requests runs in two threads, for one event loop."""
    async with ThreadSensitiveContext():
        return await view()


ASYNC_OR_SYNC = {
    "async": lambda cache: cache.aget_or_set("key", lambda: "older"),
    "sync": lambda cache: sync_to_async(cache.get_or_set)("key", lambda: "older"),
}


@pytest.fixture
def threaded(make_cache, monkeypatch):
    """A cache whose remote has no async methods of its own, and whose next ``add`` takes a while."""
    cache = make_cache()
    arrived, first = threading.Event(), [True]
    add = LocMemCache.add

    def late(*args, **kwargs):
        if first.pop() if first else False:
            arrived.set()
            time.sleep(0.2)  # the time of a network; shorter than a write waits
        return add(*args, **kwargs)

    monkeypatch.setattr(LocMemCache, "add", late)
    return cache, arrived


async def until_set(event):
    while not event.is_set():
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("computes", ASYNC_OR_SYNC.values(), ids=ASYNC_OR_SYNC)
@pytest.mark.parametrize("deletes", ["in a sync view", "in an async view", "by adelete"])
def test_a_delete_of_another_request_waits_for_an_older_value_that_is_being_stored(threaded, computes, deletes):
    """Whichever of them is sync, and though both belong to one event loop."""
    cache, arrived = threaded

    async def delete():
        await until_set(arrived)
        if deletes == "in an async view":
            cache.delete("key")
        else:
            await (sync_to_async(cache.delete)("key") if deletes == "in a sync view" else cache.adelete("key"))

    async def work():
        await asyncio.gather(in_request(lambda: computes(cache)), in_request(delete))

    asyncio.run(work())
    assert cache.remote.get("key") is None
    assert cache.get("key") is None


def test_a_delete_waits_for_an_older_value_whose_task_has_been_cancelled(threaded):
    """Its visitor has gone; the thread that stores goes on."""
    cache, arrived = threaded

    async def work():
        task = asyncio.create_task(in_request(lambda: cache.aget_or_set("key", lambda: "older")))
        await until_set(arrived)
        task.cancel()
        await in_request(lambda: cache.adelete("key"))
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(work())
    time.sleep(0.25)  # in which what was late has come
    assert cache.remote.get("key") is None
    assert not cache.inflight.under_way


OTHER_WRITES = {
    "set": (lambda cache: cache.set("key", 5), 5),
    "delete and set": (lambda cache: (cache.delete("key"), cache.set("key", 5)), 5),
    "incr": (lambda cache: cache.incr("key"), 2),
    "touch": (lambda cache: cache.touch("key"), 1),
    "a method of the remote": (lambda cache: cache.unknown_to_us(), 1),
}


@pytest.mark.parametrize(("write", "left"), OTHER_WRITES.values(), ids=OTHER_WRITES)
def test_what_is_not_deleted_stays_when_the_reply_to_an_add_is_late(cache, monkeypatch, write, left):
    """The value is there, and so is what others have made of it; only we have not been told."""
    monkeypatch.setattr("tieredcache.backends.writes.STORING", 0.05)
    monkeypatch.setattr(RemoteDouble, "unknown_to_us", lambda _: None, raising=False)
    added, reply, add = threading.Event(), threading.Event(), RemoteDouble.add

    def late(*args, **kwargs):
        answer = add(*args, **kwargs)
        added.set()
        assert reply.wait(20)
        return answer

    monkeypatch.setattr(RemoteDouble, "add", late)
    adding = Run(cache.get_or_set, "key", lambda: 1)
    assert added.wait(10)
    write(cache)
    reply.set()
    adding.result()
    assert cache.remote.get("key") == cache.get("key") == left
