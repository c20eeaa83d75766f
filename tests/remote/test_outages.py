"""An outage through the backend: which reads are sent, what the others get, and what is raised and logged in any case."""

import asyncio
import sys
import threading

import pytest
import redis
from asgiref.sync import sync_to_async
from django.core.cache import InvalidCacheKey
from django.db import ProgrammingError

from tests.remote.failing import DOUBLE, FIRST_PAUSE, KEYS, RETRY_AFTER, fail, go_down, heal, hiccup, with_stale_copy
from tests.support.doubles import Pause, RemoteDouble
from tests.support.processes import in_child
from tieredcache import RemoteOutage, fresh

# --- who asks ---


def test_each_read_is_sent_until_failures_have_gone_on_for_retry_after(make_cache, clock, mode):
    """Its caller gets the client's error; after that, at once, one that names the outage and is caught like the client's."""
    cache = make_cache(DOUBLE)
    fail()
    reads = [lambda: mode(cache).get("a"), lambda: mode(cache).get_many(KEYS), lambda: mode(cache).has_key("b")]
    for _ in range(2):
        for read in reads:
            with pytest.raises(ConnectionError, match=r"^refused$"):
                read()
    assert RemoteDouble.reads == 6
    assert not cache.local.in_outage
    go_down(cache, clock)
    RemoteDouble.reads, errors = 0, cache.stats().remote_errors
    for read in reads:
        with pytest.raises(ConnectionError, match=r"'remote' has been down for 1\.0 s: ConnectionError: refused$") as caught:
            read()
        assert isinstance(caught.value, RemoteOutage)
    assert RemoteDouble.reads == 0
    assert cache.stats().remote_errors == errors, "a read that is not sent is no failure"
    clock.move(FIRST_PAUSE)
    for read in reads:
        with pytest.raises(ConnectionError):
            read()
    assert RemoteDouble.reads == 1


def test_a_stale_copy_answers_while_one_reader_at_a_time_asks(make_cache, clock, mode):
    """From the first failure on, and in the outage: also the reader whose read has failed."""
    cache = with_stale_copy(make_cache, clock, STALE_IF_ERROR=60)
    for attempts in (1, 2):
        assert mode(cache).get("stale") == "old"
        assert mode(cache).get_many(["stale"]) == {"stale": "old"}
        assert mode(cache).has_key("stale")
        assert RemoteDouble.reads == attempts
        clock.move(FIRST_PAUSE)
    go_down(cache, clock)
    clock.move(RETRY_AFTER)
    RemoteDouble.reads = 0
    assert mode(cache).get("stale") == "old"
    assert mode(cache).get_many(["stale"]) == {"stale": "old"}
    assert RemoteDouble.reads == 1


@pytest.mark.parametrize("options", [{}, {"REMOTE_ERRORS": "ignore"}], ids=["raise", "ignore"])
def test_a_hiccup_holds_back_no_read_that_demands_freshness(make_cache, clock, mode, options):
    """A copy that is older than it demands is no answer: the read is sent, as it would be without us."""
    cache = make_cache(DOUBLE, LOCAL_TIMEOUT=60, **options)
    cache.set("key", "value")
    assert cache.get("key") == "value"
    hiccup(cache)
    with fresh():
        assert mode(cache).get("key") == "value"


class Departing:
    """Importable when it is pickled, and not afterwards."""


def test_a_hiccup_holds_back_no_read_whose_copy_cannot_be_served(make_cache, clock, mode, monkeypatch):
    """The copy does not decode any more: the read is sent."""
    cache = make_cache(DOUBLE, LOCAL_TIMEOUT=5, STALE_IF_ERROR=60)
    cache.set("key", [Departing()])
    cache.get("key")
    cache.remote.set("key", "new")
    monkeypatch.delattr(sys.modules[__name__], "Departing")
    clock.move(5)
    hiccup(cache)
    assert mode(cache).get("key") == "new"


def cancelled(cache):
    async def work():
        RemoteDouble.pause = pause = Pause()
        reader = asyncio.ensure_future(cache.aget("a"))
        await pause.await_()
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)

    heal()
    asyncio.run(work())


def undecodable(cache):
    fail(ValueError("no pickle"))
    assert cache.get("a") is None


def mistaken(cache):
    fail(InvalidCacheKey("too long"))
    with pytest.raises(InvalidCacheKey):
        cache.get("a")


@pytest.mark.parametrize("attempt", [cancelled, undecodable, mistaken])
def test_an_attempt_that_tells_nothing_of_the_remote_does_not_end_the_outage(make_cache, clock, attempt):
    """Nor does it keep the next reader from asking."""
    cache = make_cache(DOUBLE)
    go_down(cache, clock)
    clock.move(RETRY_AFTER)
    attempt(cache)
    heal()
    with pytest.raises(RemoteOutage):
        cache.get("a")
    clock.move(RETRY_AFTER)
    assert cache.get("a") is None
    assert not cache.local.in_outage


def test_a_reader_that_is_cancelled_finds_out_for_the_others(make_cache, monkeypatch):
    """A task may give up before the client does: what its thread meets then is known all the same."""
    cache = make_cache("locmem")
    reached, released = threading.Event(), threading.Event()

    def hang(self, *args, **kwargs):
        reached.set()
        assert released.wait(10)
        raise ConnectionError("timed out")

    monkeypatch.setattr(type(cache.remote), "get", hang)

    async def work():
        reader = asyncio.ensure_future(cache.aget("key"))
        while not reached.is_set():
            await asyncio.sleep(0)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        assert reader.cancelled()
        released.set()
        await sync_to_async(lambda: None)()  # in the same thread, and so after it

    asyncio.run(asyncio.wait_for(work(), 20))
    assert cache.stats().remote_errors == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_child_process_begins_without_an_outage(make_cache, clock):
    """The readers that tried the remote are threads of its parent."""
    cache = make_cache(DOUBLE)
    go_down(cache, clock)
    heal()

    def check():
        assert not cache.local.in_outage
        assert cache.get("a") is None

    assert in_child(check)
    assert cache.local.in_outage


# --- mistakes and writes ---


@pytest.mark.parametrize(
    "error",
    [redis.ResponseError("WRONGTYPE"), ProgrammingError("no such table"), RuntimeError("loop is closed"), MemoryError()],
    ids=lambda error: type(error).__name__,
)
def test_a_mistake_is_raised_whatever_remote_errors_says(make_cache, clock, mode, error):
    """It is no failure of the remote, however often it is made."""
    cache = make_cache(DOUBLE, REMOTE_ERRORS="ignore")
    fail(error)
    RemoteDouble.broken = error
    for _ in range(3):
        for call in (lambda: mode(cache).get("a"), lambda: mode(cache).get_many(KEYS), lambda: mode(cache).set("a", 1)):
            with pytest.raises(type(error)):
                call()
        clock.move(RETRY_AFTER)
    assert not cache.local.in_outage
    assert cache.stats().remote_errors == 0


def test_how_writes_go_tells_nothing_of_reads(make_cache, clock, caplog):
    """One that succeeds, as it may in an outage, does not end it; one that fails begins none, and is logged each minute."""
    cache = make_cache(DOUBLE, REMOTE_ERRORS="ignore")
    go_down(cache, clock)
    cache.set("key", "written")
    assert cache.local.in_outage
    heal()
    assert cache.remote.get("key") == "written"
    clock.move(RETRY_AFTER)
    assert cache.get("key") == "written"
    caplog.clear()
    errors = cache.stats().remote_errors
    RemoteDouble.broken = ConnectionError("read only")
    for number in range(110):
        cache.set("key", number)
        assert cache.get("key") == number
        clock.move(1)
    assert not cache.local.in_outage
    assert cache.stats().remote_errors == errors + 110
    assert len(caplog.messages) == 2
