"""STALE_WHILE_REVALIDATE: past the deadline one reader refills, the others are served the old copy, for so long only."""

import asyncio
import threading

import pytest

from tests.support.doubles import Pause, RemoteDouble
from tieredcache import fresh

REMOTE = {"BACKEND": "tests.support.doubles.RemoteDouble", "LOCATION": "stale"}


@pytest.fixture
def cache(make_cache, clock):
    cache = make_cache(REMOTE, LOCAL_TIMEOUT=5, JITTER=0, STALE_WHILE_REVALIDATE=3, MISS_TIMEOUT=5)
    for key, value in {"text": "old", "list": ["old"]}.items():
        cache.set(key, value)
        cache.get(key)
        cache.remote.set(key, "new" if key == "text" else ["new"])
    return cache


def refilling(cache, key):
    """A reader that has asked the remote, and waits."""
    RemoteDouble.pause = pause = Pause()
    seen = []
    thread = threading.Thread(target=lambda: seen.append(cache.get(key)))
    thread.start()
    pause.wait()

    def finish():
        pause.release()
        thread.join()
        return seen[0]

    return finish


@pytest.mark.parametrize(("key", "old", "new"), [("text", "old", "new"), ("list", ["old"], ["new"])])
def test_one_refills_and_the_others_do_not_wait(cache, clock, mode, key, old, new):
    """By get and get_many, sync and async."""
    clock.move(5)
    finish = refilling(cache, key)
    reads = RemoteDouble.reads
    clock.move(0.9)
    assert mode(cache).get(key) == old
    assert mode(cache).get_many([key]) == {key: old}
    assert RemoteDouble.reads == reads
    assert cache.stats().stale_served == 2
    assert finish() == new
    assert mode(cache).get(key) == new
    assert cache.stats().stale_served == 2


def test_without_others_the_reader_gets_the_new_value(cache, clock, mode):
    """The first reader after the deadline waits, and nobody is served an old value needlessly."""
    clock.move(5)
    assert mode(cache).get("text") == "new"
    assert mode(cache).get_many(["list", "list"]) == {"list": ["new"]}
    assert cache.stats().stale_served == 0


def test_a_refill_that_hangs_pins_nothing(cache, clock):
    """After RETRY_AFTER another reader asks."""
    clock.move(5)
    finish = refilling(cache, "text")
    clock.move(0.9)
    assert cache.get("text") == "old"
    clock.move(0.1)
    assert cache.get("text") == "new"
    finish()
    assert cache.get("text") == "new"


def test_a_refill_that_fails_pins_nothing(cache, clock, mode):
    """The reader that refreshes gets the error, the others the stale value, until one asks again after RETRY_AFTER."""
    clock.move(5)
    RemoteDouble.broken_reads = ConnectionError("no remote")
    with pytest.raises(ConnectionError):
        mode(cache).get("text")
    assert mode(cache).get("text") == "old"
    RemoteDouble.broken_reads = None
    clock.move(1)
    assert mode(cache).get("text") == "new"


def test_a_cancelled_refill_pins_nothing(cache, clock):
    """As one that fails."""
    clock.move(5)
    RemoteDouble.pause = pause = Pause()

    async def work():
        reader = asyncio.ensure_future(cache.aget("text"))
        await pause.await_()
        assert await cache.aget("text") == "old"
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        clock.move(1)
        return await cache.aget("text")

    assert asyncio.run(work()) == "new"


def test_a_write_ends_it(cache, clock):
    """Own writes are seen at once, and the slow refill puts nothing back."""
    clock.move(5)
    finish = refilling(cache, "text")
    cache.set("text", "newer")
    assert cache.get("text") == "newer"
    finish()
    assert cache.get("text") == "newer"


def test_never_past_the_remotes_expiry(make_cache, clock, monkeypatch):
    """A remote entry that lived for two seconds is not served after them."""
    monkeypatch.setattr(RemoteDouble, "pttl", lambda self, key, version=None: 2000, raising=False)
    cache = make_cache(REMOTE, LOCAL_TIMEOUT=5, JITTER=0, STALE_WHILE_REVALIDATE=30)
    cache.set("key", "old")
    cache.get("key")
    cache.remote.set("key", "new")
    clock.move(2)
    finish = refilling(cache, "key")
    assert cache.get("key") == "new"
    finish()


def test_fresh_sees_nothing_stale(cache, clock):
    """A demand for freshness is stronger."""
    clock.move(5)
    finish = refilling(cache, "text")
    with fresh(6):
        assert cache.get("text") == "old"
    with fresh(4):
        assert cache.get("text") == "new"
    finish()


def test_absence_is_not_served_stale(cache, clock):
    """It has no value to offer."""
    assert cache.get("absent") is None
    cache.remote.set("absent", 1)
    clock.move(5)
    finish = refilling(cache, "absent")
    assert cache.get("absent") == 1
    finish()


def lower(key, prefix, version):
    """A key function that maps two names to one key."""
    return f"{prefix}:{version}:{key.lower()}"


def test_a_copy_that_has_two_names_is_refilled(make_cache, clock):
    """The reader that refreshes it may know it by a name that is never kept: then the copy goes, and the next one asks."""
    cache = make_cache(
        "locmem",
        remote_alias={"KEY_FUNCTION": lower},
        LOCAL_TIMEOUT=5,
        LOCAL_TIMEOUTS={"tmp:": 0},
        STALE_WHILE_REVALIDATE=60,
        JITTER=0,
    )
    cache.set("TMP:a", "old")
    assert cache.get("TMP:a") == "old"
    cache.remote.set("TMP:a", "new")
    clock.move(6)
    assert cache.get("tmp:a") == "new"
    assert cache.get("TMP:a") == "new"


def test_a_read_is_not_taken_back_behind_what_a_demand_has_seen(make_cache, clock, mode):
    """An absence is not kept, but the older copy goes: the reads after fresh() do not see it any more."""
    cache = make_cache("locmem", LOCAL_TIMEOUT=60)
    cache.set_many({"gone": "old", "many": "old"})
    cache.get_many(["gone", "many"])
    clock.move(1)
    cache.remote.delete_many(["gone", "many"])
    clock.move(1)
    with fresh():
        assert mode(cache).get("gone") is None
        assert mode(cache).get_many(["many"]) == {}
    assert mode(cache).get("gone") is None
    assert mode(cache).has_key("gone") is False
    assert mode(cache).get_many(["many"]) == {}
