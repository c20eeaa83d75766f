"""Promise 3: a slow reader does not put an old value back, whatever is written meanwhile."""

import asyncio
import threading

import pytest

from tests.support.doubles import Pause, RemoteDouble

REMOTE = {"BACKEND": "tests.support.doubles.RemoteDouble", "LOCATION": "race"}


@pytest.fixture
def cache(make_cache):
    return make_cache(REMOTE, LOCAL_TIMEOUT=60, MISS_TIMEOUT=60)


def failing(write):
    def call(cache):
        RemoteDouble.broken = ConnectionError("gone before it answered")
        with pytest.raises(ConnectionError):
            write(cache)
        RemoteDouble.broken = None

    return call


async def afailing(cache):
    RemoteDouble.broken = ConnectionError("gone before it answered")
    with pytest.raises(ConnectionError):
        await cache.aset("key", 2)
    RemoteDouble.broken = None


async def acancelled(cache):
    RemoteDouble.broken = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await cache.aset("key", 2)
    RemoteDouble.broken = None


async def in_step(function, cache):
    function(cache)


# What happens while the reader waits: what the key was before, the write, the write from a task.
WRITES = {
    "set": (1, lambda c: c.set("key", 2), lambda c: c.aset("key", 2)),
    "set, another version": (1, lambda c: c.set("key", 2, version=1), lambda c: c.aset("key", 2, version="1")),
    "set_many": (1, lambda c: c.set_many({"other": 3, "key": 2}), lambda c: c.aset_many({"other": 3, "key": 2})),
    "add": (None, lambda c: c.add("key", 2), lambda c: c.aadd("key", 2)),
    "get_or_set": (None, lambda c: c.get_or_set("key", 2), lambda c: c.aget_or_set("key", 2)),
    "incr": (1, lambda c: c.incr("key"), lambda c: c.aincr("key")),
    "decr": (1, lambda c: c.decr("key"), lambda c: c.adecr("key")),
    "touch": (1, lambda c: c.touch("key", 1), lambda c: c.atouch("key", 1)),
    "delete": (1, lambda c: c.delete("key"), lambda c: c.adelete("key")),
    "delete_many": (1, lambda c: c.delete_many(["key"]), lambda c: c.adelete_many(["key"])),
    "clear": (1, lambda c: c.clear(), lambda c: c.aclear()),
    "incr_version, from": (1, lambda c: c.incr_version("key"), lambda c: c.aincr_version("key")),
    "incr_version, to": (
        1,
        lambda c: (c.set("key", 2, version=0), c.incr_version("key", version=0)),
        lambda c: (c.set("key", 2, version=0), c.aincr_version("key", version=0))[1],
    ),
    "decr_version": (1, lambda c: c.decr_version("key"), lambda c: c.adecr_version("key")),
    "a failing set": (1, failing(lambda c: c.set("key", 2)), afailing),
    "a cancelled set": (1, failing(lambda c: c.set("key", 2)), acancelled),
    "local.clear": (1, lambda c: c.local.clear(), lambda c: in_step(lambda c: c.local.clear(), c)),
    "local.forget": (1, lambda c: c.local.forget("key"), lambda c: in_step(lambda c: c.local.forget("key"), c)),
    "look-through": (1, lambda c: c.get_backend_timeout and c.forgetful(), lambda c: in_step(lambda c: c.forgetful(), c)),
}
READS = {
    "get": (lambda c: c.get("key"), lambda c: c.aget("key")),
    "get_many": (
        lambda c: c.get_many(["other", "key"]).get("key"),
        lambda c: asyncio.ensure_future(c.aget_many(["other", "key"])),
    ),
}
by_name = pytest.mark.parametrize("name", WRITES)
by_read = pytest.mark.parametrize("read", READS)


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch):
    """A method of the remote's own that nobody knows."""
    monkeypatch.setattr(RemoteDouble, "forgetful", lambda self: None, raising=False)


def check(cache, name):
    """The next read asks the remote, and nothing is left of the reads before."""
    reads = RemoteDouble.reads
    assert cache.get("key") == cache.remote.get("key")
    if name == "get_or_set":  # which reads what it has written, and keeps that
        return
    assert RemoteDouble.reads == reads + 2, "the local tier answered with what was read before the write"
    cache.get("key")
    assert RemoteDouble.reads == reads + 2, "the local tier does not keep what nobody has written since"


@by_name
@by_read
def test_a_slow_thread_puts_no_old_value_back(cache, name, read):
    """A thread reads the old value, another writes, then the first one returns."""
    before, write, _ = WRITES[name]
    if before is not None:
        cache.set("key", before)
    RemoteDouble.pause = pause = Pause()
    seen = []
    reader = threading.Thread(target=lambda: seen.append(READS[read][0](cache)))
    reader.start()
    pause.wait()
    write(cache)
    pause.release()
    reader.join()
    assert seen == [before]
    check(cache, name)


@by_name
@by_read
def test_a_slow_task_puts_no_old_value_back(cache, name, read):
    """The same with tasks of one event loop."""
    before, _, write = WRITES[name]
    if before is not None:
        cache.set("key", before)
    RemoteDouble.pause = pause = Pause()

    async def interleave():
        reader = asyncio.ensure_future(READS[read][1](cache))
        await pause.await_()
        await write(cache)
        pause.release()
        return await reader

    seen = asyncio.run(interleave())
    assert (seen.get("key") if read == "get_many" else seen) == before
    check(cache, name)


def test_the_keys_of_delete_many_may_be_a_generator(cache, mode):
    cache.set("key", 1)
    assert cache.get("key") == 1
    mode(cache).delete_many(key for key in ["key"])
    assert cache.get("key") is None


def test_a_write_whose_error_is_ignored_forgets_too(make_cache, mode):
    """The remote has written before it failed."""
    cache = make_cache(REMOTE, LOCAL_TIMEOUT=60, REMOTE_ERRORS="ignore")
    cache.set("key", 1)
    assert cache.get("key") == 1
    RemoteDouble.broken = ConnectionError("gone before it answered")
    mode(cache).set("key", 2)
    assert cache.get("key") == 2


def test_what_is_read_while_a_write_is_on_its_way_is_not_served_afterwards(cache, mode, monkeypatch):
    """The write forgets when it is over: forgotten before it is sent, the old value would be filled in between."""
    cache.set("key", 1)
    store = RemoteDouble.set

    def late(self, *args, **kwargs):
        assert cache.get("key") == 1
        store(self, *args, **kwargs)

    monkeypatch.setattr(RemoteDouble, "set", late)
    mode(cache).set("key", 2)
    assert cache.get("key") == 2


@by_read
def test_without_a_write_the_slow_reader_fills(cache, read):
    """The tests above would pass if nothing were ever kept."""
    cache.set("key", 1)
    RemoteDouble.pause = pause = Pause()
    reader = threading.Thread(target=READS[read][0], args=[cache])
    reader.start()
    pause.wait()
    cache.set("another-key", 2)
    pause.release()
    reader.join()
    reads = RemoteDouble.reads
    assert cache.get("key") == 1
    assert RemoteDouble.reads == reads


def test_a_write_between_two_readers_stops_both(cache):
    """A reader that starts after the write shares nothing with one that started before it."""
    cache.set("key", 1)
    RemoteDouble.pause = first = Pause()
    slow = threading.Thread(target=cache.get, args=["key"])
    slow.start()
    first.wait()
    cache.set("key", 2)
    assert cache.get("key") == 2
    first.release()
    slow.join()
    reads = RemoteDouble.reads
    assert cache.get("key") == 2
    assert RemoteDouble.reads == reads


@by_read
def test_a_read_that_fails_leaves_nothing_behind(cache, mode, read):
    """The remote's error passes through."""
    RemoteDouble.broken_reads = ConnectionError("no remote")
    argument = "key" if read == "get" else ["key", "other"]
    with pytest.raises(ConnectionError):
        getattr(mode(cache), read)(argument)
    assert cache.stats().remote_errors == 1
    RemoteDouble.broken_reads = None


def test_a_cancelled_read_leaves_nothing_behind(cache):
    """A task cancelled while it waits for the remote is no failure of the remote."""
    RemoteDouble.pause = pause = Pause()

    async def cancel():
        reader = asyncio.ensure_future(cache.aget("key"))
        await pause.await_()
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader

    asyncio.run(cancel())
    assert cache.stats().remote_errors == 0


def test_two_aliases_over_one_remote_see_each_others_writes(make_cache):
    """Own writes hold in the whole process, also where two aliases with other options lead to one remote."""
    from django.core.cache import caches
    from django.test import override_settings

    tiered = {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": "remote"}
    settings = {
        "default": {**tiered, "OPTIONS": {"LOCAL_TIMEOUT": 60}},
        "flags": {**tiered, "OPTIONS": {"LOCAL_TIMEOUT": 50}},
        "remote": REMOTE,
    }
    with override_settings(CACHES=settings):
        first, second = caches["default"], caches["flags"]
        assert first._tier is not second._tier
        for write, expected in [
            (lambda: second.set("key", 2), 2),
            (lambda: second.delete("key"), None),
            (second.clear, None),
        ]:
            first.set("key", 1)
            assert first.get("key") == 1
            write()
            assert first.get("key") == expected
