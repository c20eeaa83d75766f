"""What happens while the remote is down: who tries it, who is answered with what, what is logged, and how it ends."""

import asyncio
import contextlib
import gc
import logging
import pickle
import socket
import ssl
import sys
import threading
import types
import weakref

import pymemcache.exceptions
import pytest
import redis
import valkey
from asgiref.sync import ThreadSensitiveContext
from django.core.cache import InvalidCacheKey, caches
from django.db import utils as db
from django.test import override_settings
from django_valkey.exceptions import ConnectionInterrupted

from tests.conftest import TIERED
from tests.doubles import Odd, Pause, RemoteDouble, Strict
from tieredcache import RemoteOutage, fresh
from tieredcache.failures import is_remote_error
from tieredcache.outages import GIVEN_UP, QUIET

DOUBLE = {"BACKEND": "tests.doubles.RemoteDouble", "LOCATION": "outages"}


@pytest.fixture(autouse=True)
def double():
    yield
    RemoteDouble.reads = 0
    RemoteDouble.pause = RemoteDouble.broken = RemoteDouble.broken_reads = None


@pytest.fixture
def log(caplog):
    """The lines on the project's logger, as they are written."""
    caplog.set_level(logging.DEBUG, "tieredcache")

    class Log:
        @property
        def lines(self):
            return [record.getMessage() for record in caplog.records if record.name == "tieredcache"]

    return Log()


def fail(error=None):
    RemoteDouble.broken_reads = error or ConnectionError("refused")


def heal():
    RemoteDouble.broken_reads = None


@pytest.fixture
def cache(make_cache, clock):
    """A tier with one stale copy, of "stale", whose remote fails."""
    return broken(make_cache, clock, STALE_IF_ERROR=60)


def broken(make_cache, clock, **options):
    cache = make_cache(DOUBLE, LOCAL_TIMEOUT=5, JITTER=0, **options)
    cache.set("stale", "old")
    assert cache.get("stale") == "old"
    clock.move(5)
    fail()
    RemoteDouble.reads = 0
    return cache


# --- who tries ---


def test_one_reader_tries_and_the_rest_do_without(cache, clock, mode):
    """One attempt for each RETRY_AFTER, whatever the number of reads."""
    for _ in range(100):
        assert mode(cache).get("stale") == "old"
        assert mode(cache).get_many(["stale"]) == {"stale": "old"}
        assert mode(cache).has_key("stale")
        with pytest.raises(ConnectionError):
            mode(cache).get("cold")
    assert RemoteDouble.reads == 1
    clock.move(0.99)
    assert mode(cache).get("stale") == "old"
    assert RemoteDouble.reads == 1
    clock.move(0.01)
    for _ in range(100):
        assert mode(cache).get("stale") == "old"
    assert RemoteDouble.reads == 2
    assert cache.stats().remote_errors == 2


@pytest.mark.parametrize("default", ["made", lambda: "made"])
def test_what_is_made_in_an_outage_is_not_written(make_cache, clock, mode, monkeypatch, default):
    """A write would wait for the client's time-outs, once for each look-up of a page, and leave nothing behind."""
    cache = broken(make_cache, clock, REMOTE_ERRORS="ignore")
    written = []
    monkeypatch.setattr(RemoteDouble, "add", lambda self, key, *rest, **kwargs: written.append(key) or False)
    for _ in range(3):
        assert mode(cache).get_or_set("cold", default) == "made"
    assert written == []
    assert RemoteDouble.reads == 1, "the outage began with it"
    heal()
    clock.move(1)
    assert mode(cache).get_or_set("cold", default) == "made"
    assert written == ["cold"]


def test_nobody_waits_while_one_tries(cache, clock):
    """A server that hangs holds one thread; the others are answered."""
    assert cache.get("stale") == "old"
    clock.move(1)
    heal()
    RemoteDouble.pause = pause = Pause()
    answers = []
    prober = threading.Thread(target=lambda: answers.append(cache.get("stale")))
    prober.start()
    pause.wait()
    reads = RemoteDouble.reads
    clock.move(GIVEN_UP - 0.1)
    assert cache.get("stale") == "old"
    with pytest.raises(RemoteOutage):
        cache.get("cold")
    assert RemoteDouble.reads == reads
    pause.release()
    prober.join()
    assert answers == ["old"]
    assert not cache.local.in_outage


def test_a_reader_that_never_comes_back_is_given_up(cache, clock):
    """A client without a time-out may hang for ever: somebody else finds out that the server is back."""
    assert cache.get("stale") == "old"
    clock.move(1)
    heal()
    RemoteDouble.pause = pause = Pause()
    prober = threading.Thread(target=cache.get, args=["stale"])
    prober.start()
    pause.wait()
    clock.move(GIVEN_UP)
    cache.remote.set("stale", "new")
    assert cache.get("stale") == "new"
    pause.release()
    prober.join()
    assert cache.get("stale") == "new"


def test_tasks_that_wait_for_their_thread_look_again(make_cache, monkeypatch):
    """Sync remotes are read in one thread: who comes second there has heard of the first one's failure."""
    cache = make_cache("locmem", REMOTE_ERRORS="ignore", RETRY_AFTER=60)
    attempts = []

    def failing(self, *args, **kwargs):
        attempts.append(1)
        raise ConnectionError

    for name in ("get", "get_many", "has_key"):
        monkeypatch.setattr(type(cache.remote), name, failing)

    async def work():
        reads = [cache.aget(str(number)) for number in range(50)]
        reads += [cache.aget_many([str(number)]) for number in range(50)]
        reads += [cache.ahas_key(str(number)) for number in range(50)]
        await asyncio.gather(*reads)

    asyncio.run(work())
    assert len(attempts) == 1
    assert not cache._tier.tokens


def test_a_cancelled_attempt_is_one(cache, clock):
    """The next is made RETRY_AFTER later, not at once and not never."""
    assert cache.get("stale") == "old"
    clock.move(1)
    heal()

    async def work():
        RemoteDouble.pause = pause = Pause()
        prober = asyncio.ensure_future(cache.aget("stale"))
        await pause.await_()
        prober.cancel()
        await asyncio.gather(prober, return_exceptions=True)

    asyncio.run(work())
    reads = RemoteDouble.reads
    assert cache.get("stale") == "old"
    assert RemoteDouble.reads == reads
    clock.move(1)
    cache.get("stale")
    assert RemoteDouble.reads == reads + 1
    assert not cache.local.in_outage


def test_the_callers_mistake_is_no_attempt(cache, clock, monkeypatch):
    """A key that cannot be, in an outage: the next reader tries."""
    assert cache.get("stale") == "old"
    clock.move(1)
    RemoteDouble.broken_reads = InvalidCacheKey("no such key possible")
    with pytest.raises(InvalidCacheKey):
        cache.get("invalid")
    assert cache.local.in_outage
    heal()
    cache.get("stale")
    assert not cache.local.in_outage


def test_who_began_before_it_ended_begins_none(cache, clock, log):
    """A reader that has hung for the whole outage and fails after it tells nothing new."""
    heal()
    RemoteDouble.pause = pause = Pause()

    def read():
        with pytest.raises(ConnectionError, match="timed out"):
            cache.get("cold")

    late = threading.Thread(target=read)

    def hang():
        pause_stop()
        raise ConnectionError("timed out")

    pause_stop, pause.stop = pause.stop, hang
    late.start()
    pause.wait()
    fail()
    clock.move(0.1)
    assert cache.get("stale") == "old"
    clock.move(1)
    heal()
    cache.get("stale")
    assert not cache.local.in_outage
    pause.release()
    late.join()
    assert not cache.local.in_outage
    assert len(log.lines) == 2


def test_without_a_wait_between_attempts_all_try(make_cache, clock):
    """RETRY_AFTER 0."""
    cache = broken(make_cache, clock, RETRY_AFTER=0, STALE_IF_ERROR=60)
    for _ in range(5):
        assert cache.get("stale") == "old"
    assert RemoteDouble.reads == 5


def test_writes_are_always_tried(cache):
    """In an outage too; and no write that succeeds ends the outage of reads."""
    assert cache.get("stale") == "old"
    cache.set("cold", "written")
    assert cache.remote._cache
    assert cache.local.in_outage
    heal()
    assert cache.remote.get("cold") == "written"


# --- answered with what ---


def test_a_stale_copy_is_served_for_so_long(cache, clock, mode):
    """STALE_IF_ERROR past its deadline, and no longer."""
    clock.move(59.9)
    assert mode(cache).get("stale") == "old"
    clock.move(0.1)
    with pytest.raises(ConnectionError):
        mode(cache).get("stale")
    with pytest.raises(ConnectionError):
        mode(cache).get_many(["stale"])
    with pytest.raises(ConnectionError):
        mode(cache).has_key("stale")


def test_without_stale_if_error_there_is_none(make_cache, clock, mode):
    """The default."""
    cache = broken(make_cache, clock)
    with pytest.raises(ConnectionError):
        mode(cache).get("stale")


@pytest.mark.parametrize("kind", ["django-redis", "django"])
def test_not_past_the_remotes_own_expiry(make_cache, clock, kind, monkeypatch):
    """A stale copy does not outlive the remote entry either."""
    cache = make_cache(kind, LOCAL_TIMEOUT=2, STALE_IF_ERROR=60, JITTER=0, REMOTE_ERRORS="ignore")
    cache.set("short", [1], 10)
    cache.set("long", [1], 1000)
    assert cache.get_many(["short", "long"]) == {"short": [1], "long": [1]}
    monkeypatch.setattr(
        "redis.client.Pipeline.execute", lambda *args, **kwargs: (_ for _ in ()).throw(redis.ConnectionError("gone"))
    )
    clock.move(9.9)
    assert cache.get_many(["short", "long"]) == {"short": [1], "long": [1]}
    clock.move(0.2)
    assert cache.get_many(["short", "long"]) == {"long": [1]}


def test_fresh_is_not_told_anything_stale(cache, mode):
    """An error is the honest answer."""
    assert mode(cache).get("stale") == "old"
    with fresh(), pytest.raises(ConnectionError):
        mode(cache).get("stale")
    with fresh(max_age=60):
        assert mode(cache).get("stale") == "old"


@pytest.mark.parametrize(
    "end",
    [
        lambda cache: cache.delete("stale"),
        lambda cache: cache.delete_many(["stale"]),
        lambda cache: cache.clear(),
        lambda cache: cache.set("stale", "new"),
        lambda cache: cache.local.forget("stale"),
        lambda cache: cache.local.clear(),
    ],
)
@pytest.mark.parametrize("works", [True, False])
def test_what_was_deleted_is_not_served(cache, mode, end, works):
    """Even where the remote has never heard of it."""
    assert mode(cache).get("stale") == "old"
    if not works:
        RemoteDouble.broken = ConnectionError("refused")
    try:
        end(cache)
    except ConnectionError:
        assert not works
    with pytest.raises(ConnectionError):
        mode(cache).get("stale")


def test_every_reader_of_a_stale_copy_gets_its_own(make_cache, clock, mode):
    """Unless values are shared."""
    cache = make_cache(DOUBLE, LOCAL_TIMEOUT=5, JITTER=0, STALE_IF_ERROR=60)
    cache.set("1", ["old"])
    cache.get("1")
    clock.move(5)
    fail()
    found = mode(cache).get_many([1, "1"])
    assert found == {1: ["old"], "1": ["old"]}
    assert found[1] is not found["1"]
    mode(cache).get("1").append("mutated")
    assert mode(cache).get("1") == ["old"]


def test_a_remembered_absence_is_served_stale_too(make_cache, clock, mode):
    """It is what the remote has said last."""
    cache = make_cache(DOUBLE, LOCAL_TIMEOUT=5, MISS_TIMEOUT=5, JITTER=0, STALE_IF_ERROR=60)
    assert cache.get("absent", "default") == "default"
    clock.move(5)
    fail()
    assert mode(cache).get("absent", "default") == "default"
    assert mode(cache).get_many(["absent"]) == {}
    assert not mode(cache).has_key("absent")


def test_absence_is_not_learned_from_an_outage(make_cache, clock, mode):
    """A miss for want of a remote is not remembered."""
    cache = make_cache(DOUBLE, LOCAL_TIMEOUT=5, MISS_TIMEOUT=5, JITTER=0, REMOTE_ERRORS="ignore", RETRY_AFTER=1)
    cache.set("key", "value")
    fail()
    assert mode(cache).get("key") is None
    assert mode(cache).get_many(["key"]) == {}
    assert not mode(cache).has_key("key")
    heal()
    clock.move(1)
    assert mode(cache).get("key") == "value"


def test_get_many_with_and_without_copies(make_cache, clock, mode):
    """All or an error; under "ignore" those that there are, in the order asked for."""
    cache = broken(make_cache, clock, STALE_IF_ERROR=60)
    with pytest.raises(ConnectionError):
        mode(cache).get_many(["cold", "stale"])
    heal()
    cache = broken(make_cache, clock, STALE_IF_ERROR=60, REMOTE_ERRORS="ignore")
    assert mode(cache).get_many(["cold", "stale"]) == {"stale": "old"}


def test_stats_of_an_outage(make_cache, clock):
    """Stale copies are hits of the local tier; what nobody answers is a miss."""
    cache = broken(make_cache, clock, STALE_IF_ERROR=60, REMOTE_ERRORS="ignore")
    before = cache.stats()
    for _ in range(3):
        cache.get("stale")
        cache.get("cold")
    after = cache.stats()
    assert after.hits - before.hits == 3
    assert after.stale_served - before.stale_served == 3
    assert after.misses - before.misses == 3
    assert after.remote_errors - before.remote_errors == 1
    assert after.remote_hits == before.remote_hits


def test_once_for_a_process_means_no_queue_in_an_outage(make_cache):
    """What is made and cannot be kept is made by all who want it, not by one after the other."""
    cache = make_cache(DOUBLE, REMOTE_ERRORS="ignore")
    fail()
    RemoteDouble.broken = ConnectionError("refused")
    first, together = Pause(), threading.Barrier(8)

    def lead():
        first.stop()
        return "made"

    def follow():
        together.wait(10)
        return "made"

    answers = []
    leader = threading.Thread(target=lambda: answers.append(cache.get_or_set("key", lead)))
    leader.start()
    first.wait()
    others = [threading.Thread(target=lambda: answers.append(cache.get_or_set("key", follow))) for _ in range(8)]
    for other in others:
        other.start()
    first.release()
    for thread in [leader, *others]:
        thread.join(20)
    assert answers == ["made"] * 9


def test_in_an_outage_nobody_waits_for_who_makes_it(make_cache):
    """What the leader makes could not be kept anyway."""
    cache = make_cache(DOUBLE, REMOTE_ERRORS="ignore")
    fail()
    assert cache.get("key") is None
    first = Pause()

    def lead():
        first.stop()
        return "made"

    leader = threading.Thread(target=cache.get_or_set, args=["key", lead])
    heal()
    cache._tier.gate.after_fork()
    leader.start()
    first.wait()
    fail()
    assert cache.get("other") is None
    assert cache.get_or_set("key", lambda: "made here") == "made here"
    assert asyncio.run(cache.aget_or_set("key", lambda: "made here")) == "made here"
    first.release()
    leader.join()


# --- errors ---


def test_the_error_of_who_was_not_let_through(cache, mode):
    """It names the outage, is caught as the client's own, chains that, and keeps no frames alive."""

    class Request:
        pass

    def connect():
        request = Request()
        requests.append(weakref.ref(request))
        raise OSError("inner")

    def view():
        request = Request()
        requests.append(weakref.ref(request))
        try:
            connect()
        except OSError as inner:
            # As some clients do: the error that it came from is in its arguments.
            fail(redis.ConnectionError("Error 111 connecting", inner))
        with pytest.raises(redis.ConnectionError):
            mode(cache).get("cold")

    requests = []
    view()
    RemoteDouble.broken_reads = None
    with pytest.raises(redis.ConnectionError) as caught:
        mode(cache).get("cold")
    error = caught.value
    assert isinstance(error, RemoteOutage)
    assert "'remote'" in str(error)
    assert "redis" in type(error.__cause__).__module__
    assert error.__cause__.args[0] == "Error 111 connecting"
    assert error.__cause__.__traceback__ is None
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (RemoteOutage, str(error))
    gc.collect()
    assert [request() for request in requests] == [None, None]


def interrupted(cause):
    error = ConnectionInterrupted(connection=None)
    error.__cause__ = cause
    return error


class Numbered(OSError):
    pass


def in_a_circle():
    first, second = OSError("refused"), OSError("refused too")
    first.__cause__, second.__cause__ = second, first
    return first


@pytest.mark.parametrize(
    "error",
    [
        Odd(5, text="odd"),
        Numbered(111, "refused"),
        interrupted(valkey.ConnectionError("refused")),
        Strict(5, "text"),
        in_a_circle(),
    ],
)
def test_errors_of_any_class(cache, error):
    """What an error's class wants of its constructor, and what it says, is not ours to know."""
    fail(error)
    for _ in range(2):
        with pytest.raises((OSError, Odd, Strict, ConnectionInterrupted, RemoteOutage)) as caught:
            cache.get("cold")
    assert isinstance(caught.value, RemoteOutage)
    assert getattr(caught.value, "errno", None) in {None, 111}


FAILURES = [
    ConnectionRefusedError(111, "refused"),
    ConnectionResetError(104, "reset"),
    TimeoutError("timed out"),
    socket.gaierror(-2, "unknown host"),
    EOFError(),
    *[
        error
        for client in (redis, valkey)
        for error in (
            client.ConnectionError("refused"),
            client.ConnectionError("No connection available."),
            client.TimeoutError("timed out"),
            client.BusyLoadingError("loading"),
            client.AuthenticationError("NOAUTH"),
            client.exceptions.InvalidResponse("garbage"),
            client.exceptions.ReadOnlyError("read only"),
            client.exceptions.OutOfMemoryError("oom"),
            client.exceptions.ClusterDownError("down"),
            client.exceptions.MasterDownError("down"),
            client.exceptions.TryAgainError("later"),
            client.exceptions.MovedError("1 host:1"),
            client.ResponseError("MISCONF errors writing to disk"),
            client.ResponseError("WRONGPASS invalid"),
            client.ResponseError("BUSY running a script"),
            client.ResponseError("Command # 1 (SET :1:k 1) of pipeline caused error: NOREPLICAS Not enough"),
        )
    ],
    redis.exceptions.RedisClusterException("no node"),
    interrupted(valkey.ConnectionError("refused")),
    pymemcache.exceptions.MemcacheUnexpectedCloseError(),
    pymemcache.exceptions.MemcacheServerError("out of memory"),
    pymemcache.exceptions.MemcacheError("All servers seem to be down right now"),
    db.OperationalError("server closed the connection"),
    db.InterfaceError("connection already closed"),
    ssl.SSLCertVerificationError(1, "certificate has expired"),
    asyncio.IncompleteReadError(b"", 10),
    type("OfItsOwnClient", (Exception,), {"__module__": "tests.client"})("down"),
    RemoteOutage("of the tier below"),
]
MISTAKES = [
    InvalidCacheKey("too long"),
    ValueError("Key not found"),
    TypeError("unexpected keyword"),
    AttributeError("no such method"),
    KeyError("unknown"),
    NotImplementedError(),
    RuntimeError("event loop is closed"),
    pickle.PicklingError("a function"),
    MemoryError(),
    UserWarning("a warning that is an error"),
    type("SoftTimeLimitExceeded", (Exception,), {"__module__": "billiard.exceptions"})(),
    pymemcache.exceptions.MemcacheServerError("object too large for cache"),
    *[
        error
        for client in (redis, valkey)
        for error in (
            client.DataError("no such type"),
            client.ResponseError("WRONGTYPE Operation against a key"),
            client.ResponseError("value is not an integer or out of range"),
            client.exceptions.NoScriptError("no script"),
            client.exceptions.LockError("not held"),
            client.exceptions.NoPermissionError("not this key"),
        )
    ],
    interrupted(valkey.ResponseError("WRONGTYPE")),
    pymemcache.exceptions.MemcacheIllegalInputError("no spaces"),
    db.ProgrammingError("no such table"),
    asyncio.CancelledError(),
    KeyboardInterrupt(),
]


@pytest.mark.parametrize("error", FAILURES, ids=repr)
def test_what_is_a_failure(error):
    """Of the remote: it begins an outage, and is ignored where errors are."""
    assert is_remote_error(error, frozenset({"tests"}))


@pytest.mark.parametrize("error", MISTAKES, ids=repr)
def test_what_is_none(error, make_cache):
    """But somebody's mistake: raised whatever REMOTE_ERRORS says, and no outage."""
    assert not is_remote_error(error, frozenset({"tests"}))
    cache = make_cache(DOUBLE, REMOTE_ERRORS="ignore")
    RemoteDouble.broken = error
    with pytest.raises(type(error)):
        cache.set("key", 1)
    if isinstance(error, (LookupError, TypeError, ValueError, AttributeError)) and not isinstance(error, InvalidCacheKey):
        return  # in a read these are values that do not decode
    fail(error)
    with pytest.raises(type(error)):
        cache.get("key")
    assert not cache.local.in_outage
    assert cache.stats().remote_errors == 0


# --- real servers that refuse ---


def tier_over(url, **options):
    remote = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url, **options.pop("remote", {})}
    tiered = {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": options}
    return override_settings(CACHES={"default": tiered, "remote": remote})


@pytest.mark.parametrize(
    ("command", "kind", "undo"),
    [
        ("CONFIG SET maxmemory 1", redis.exceptions.OutOfMemoryError, "CONFIG SET maxmemory 0"),
        ("REPLICAOF 127.0.0.1 1", redis.exceptions.ReadOnlyError, "REPLICAOF NO ONE"),
    ],
)
def test_a_server_that_refuses_writes(own_valkey, log, clock, command, kind, undo):
    """Reads go on; writes raise, or are ignored and logged once until one succeeds."""
    control = redis.Redis.from_url(own_valkey)
    with tier_over(own_valkey, LOCAL_TIMEOUT=0):
        cache = caches["default"]
        cache.set("key", "value")
        cache.set("number", 1)
        control.execute_command(*command.split())
        with pytest.raises(kind):
            cache.set("key", "new")
        with pytest.raises(kind):
            cache.incr("number")
        assert cache.get("key") == "value"
        assert not log.lines
    with tier_over(own_valkey, LOCAL_TIMEOUT=0, REMOTE_ERRORS="ignore"):
        cache = caches["default"]
        for _ in range(3):
            assert cache.set("key", "new") is None
            assert cache.add("other", "new") is False
            assert cache.set_many({"key": 1, "other": 2}) == ["key", "other"]
            assert cache.get("key") == "value"
            with pytest.raises(ValueError, match="'number' not changed"):
                cache.incr("number")
            cache.delete("absent")  # which a server out of memory does
        assert len(log.lines) == 1
        assert kind.__name__ in log.lines[0]
        control.execute_command(*undo.split())
        cache.set("key", "new")
        assert cache.get("key") == "new"
        assert len(log.lines) == 1
        clock.move(QUIET)
        cache.set("key", "new")
        assert len(log.lines) == 2
    control.close()


def test_a_server_that_wants_a_password(own_valkey, log):
    """Credentials that were changed under the site are an outage."""
    control = redis.Redis.from_url(own_valkey)
    control.config_set("requirepass", "secret")
    with tier_over(own_valkey, REMOTE_ERRORS="ignore"):
        assert caches["default"].get("key") is None
        assert caches["default"].local.in_outage
    assert "Authentication" in log.lines[0]
    control.close()


def test_a_pool_that_is_exhausted(own_valkey, log):
    """All connections in use: as if there were no server."""
    options = {"CONNECTION_POOL_KWARGS": {"max_connections": 1}}
    with tier_over(own_valkey, REMOTE_ERRORS="ignore", remote={"OPTIONS": options}):
        cache = caches["default"]
        cache.set("key", "value")
        with cache.remote.client.get_client().pubsub() as taken:
            taken.subscribe("channel")
            assert cache.get("key") is None
            assert cache.local.in_outage


@pytest.fixture
def own_valkey():
    """A server that a test may change."""
    from example_project import servers

    with servers.valkey() as url:
        yield url


# --- remotes that swallow their errors ---


def test_a_remote_that_swallows_its_errors_is_told_apart(make_cache, clock, monkeypatch, mode, log):
    """django-redis' IGNORE_EXCEPTIONS: a stale copy where there is one, else the miss that it would say; one attempt."""
    remote = {"OPTIONS": {"IGNORE_EXCEPTIONS": True}}
    cache = make_cache("django-redis", remote_alias=remote, LOCAL_TIMEOUT=5, STALE_IF_ERROR=60, MISS_TIMEOUT=5, JITTER=0)
    cache.set("stale", "old")
    cache.get("stale")
    clock.move(5)
    attempts = []

    def ask(*args, **kwargs):
        attempts.append(1)
        raise redis.ConnectionError("refused")

    monkeypatch.setattr("redis.client.Pipeline.execute", ask)
    for _ in range(3):
        assert mode(cache).get("stale") == "old"
        assert mode(cache).get("cold", "default") == "default"
        assert mode(cache).get_many(["cold", "stale"]) == {"stale": "old"}
    assert len(attempts) == 1
    assert len(log.lines) == 1
    monkeypatch.undo()


@pytest.mark.parametrize("backend", ["django_redis.cache.RedisCache", "django_valkey.cache.ValkeyCache"])
def test_has_key_of_a_remote_that_swallows_its_errors(backend, mode, clock, log):
    """Neither ends an outage nor drops the copy."""
    location = "redis://127.0.0.1:1/0" if "redis" in backend else "valkey://127.0.0.1:1/0"
    remote = {"BACKEND": backend, "LOCATION": location, "OPTIONS": {"IGNORE_EXCEPTIONS": True}}
    tiered = {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": {"STALE_IF_ERROR": 60}}
    with override_settings(CACHES={"default": tiered, "remote": remote}):
        cache = caches["default"]
        with cache._fill("stale", "stale", None) as fill:
            fill.keep("old", None)
        clock.move(5)
        for _ in range(3):
            assert mode(cache).has_key("cold") is False
            assert mode(cache).has_key("stale") is True
            assert mode(cache).get("cold") is None
            clock.move(1)
        assert cache.local.in_outage
        assert len(log.lines) == 1


@pytest.mark.parametrize("error", [ssl.SSLCertVerificationError(1, "expired"), asyncio.IncompleteReadError(b"", 1)])
def test_connection_errors_are_no_values_that_do_not_decode(cache, mode, error):
    """Though one is a ValueError too, and the other an EOFError."""
    fail(error)
    with pytest.raises(type(error)):
        mode(cache).get("cold")
    assert cache.local.in_outage


def test_the_misses_of_a_client_that_does_not_try(make_cache, clock, log):
    """pymemcache calls it a miss while it holds back: no reason to end an outage, or to drop the stale copy."""
    remote = {"BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache", "LOCATION": "127.0.0.1:1"}
    tiered = {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": {"STALE_IF_ERROR": 60, "RETRY_AFTER": 0}}
    with override_settings(CACHES={"default": tiered, "remote": {**remote, "OPTIONS": {"retry_timeout": 3600}}}):
        cache = caches["default"]
        with cache._fill("stale", "stale", None) as fill:
            fill.keep("old", None)
        clock.move(5)
        assert [cache.get("stale") for _ in range(5)] == ["old"] * 5
        assert cache.get("cold") is None
        assert cache.get_many(["cold", "stale"]) == {"stale": "old"}
        assert cache.local.in_outage
        assert len(log.lines) == 1


# --- logging ---


def test_ten_minutes_at_a_thousand_requests_a_second_are_two_lines(make_cache, clock, log):
    """With the cause, the length and the counts; reads and writes alike."""
    cache = broken(make_cache, clock, STALE_IF_ERROR=3600, REMOTE_ERRORS="ignore")
    RemoteDouble.broken = ConnectionError("refused")
    for number in range(600_000):
        cache.get("stale")
        if number % 1000 == 0:
            cache.set("written", number)
        clock.move(0.001)
    heal()
    RemoteDouble.broken = None
    clock.move(1)
    cache.get("stale")
    cache.set("written", 1)
    begin, end = log.lines
    assert "'remote'" in begin
    assert "ConnectionError: refused" in begin
    assert "601.0 s" in end
    assert 590 <= cache.stats().remote_errors - 600 <= 601


def test_an_outage_that_a_write_meets_first(make_cache, clock, log):
    """Is one outage, and two lines."""
    cache = broken(make_cache, clock, STALE_IF_ERROR=3600, REMOTE_ERRORS="ignore")
    RemoteDouble.broken = ConnectionError("refused")
    cache.set("written", 1)
    cache.get("stale")
    cache.get("stale")
    assert RemoteDouble.reads == 1
    heal()
    RemoteDouble.broken = None
    clock.move(1)
    cache.get("stale")
    cache.set("written", 1)
    assert len(log.lines) == 2


def test_a_value_that_does_not_decode_is_told_of_once(make_cache, log, mode, valkey_url):
    """For each key, until it is set again."""
    cache = make_cache("django-redis", LOCAL_TIMEOUT=0, MAX_ENTRIES=3)
    raw = cache.remote.client.get_client()
    for key in "ab":
        raw.set(cache.remote.make_key(key), b"no pickle")
    for _ in range(3):
        assert mode(cache).get("a", "default") == "default"
        assert mode(cache).get_many(["a", "b"]) == {}
    assert len(log.lines) == 2
    assert "'a'" in log.lines[0]
    assert "UnpicklingError" in log.lines[0]
    cache.set("a", "text")
    assert mode(cache).get("a") == "text"
    raw.set(cache.remote.make_key("a"), b"no pickle")
    assert mode(cache).get("a") is None
    assert len(log.lines) == 3
    for number in range(100):
        raw.set(cache.remote.make_key(f"key{number}"), b"no pickle")
        cache.get(f"key{number}")
    assert len(cache._tier.undecodable) <= 3
    assert cache.stats().remote_errors == 0
    assert not cache.local.in_outage


# --- several servers ---


def test_one_node_of_a_cluster(log, monkeypatch):
    """Keys of the others are read as if nothing were; its own wait for one reader."""
    from example_project import servers

    with servers.cluster() as url:
        options = {"BASE_CLIENT_KWARGS": {"socket_timeout": 0.5, "cluster_error_retry_attempts": 0}}
        remote = {
            "BACKEND": "django_valkey.cluster_cache.cache.ClusterValkeyCache",
            "LOCATION": url.replace("redis", "valkey"),
            "OPTIONS": options,
        }
        tiered = {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": {"LOCAL_TIMEOUT": 0, "RETRY_AFTER": 3600}}
        with override_settings(CACHES={"default": tiered, "remote": remote}):
            cache = caches["default"]
            by_server = {}
            for number in range(30):
                cache.set(f"key{number}", number)
                assert cache.get(f"key{number}") == number
                by_server.setdefault(cache._server(f"key{number}", None)(), []).append(f"key{number}")
            assert len(by_server) == 3
            dead, *alive = sorted(by_server)
            with contextlib.closing(valkey.Valkey.from_url(f"valkey://{dead}")) as node:
                node.shutdown(nosave=True)
            well = [key for server in alive for key in by_server[server]]
            for _ in range(3):
                for key in by_server[dead]:
                    with pytest.raises(Exception, match=r"refused|down|closed"):
                        cache.get(key)
                assert cache.get_many(well) == {key: int(key[3:]) for key in well}
                for key in well:
                    assert cache.get(key) == int(key[3:])
                with pytest.raises(Exception, match=r"refused|down|closed"):
                    cache.get_many([*well, *by_server[dead]])
            assert cache.local.in_outage
            assert len(log.lines) == 1
            assert cache.stats().remote_errors == 1
            # Another node takes over, and has what this one could not say.
            monkeypatch.setattr(type(cache._reader()), "server", lambda *args: alive[0])
            monkeypatch.setattr(type(cache._reader()), "get", lambda *args, **kwargs: ("moved", None))
            assert cache.get(by_server[dead][0]) == "moved"
            assert not cache.local.in_outage
            assert len(log.lines) == 2
            caches.close_all()


def test_get_many_from_several_servers_of_which_one_fails(make_cache, monkeypatch, clock):
    """Each key by itself then: stale copies and answers together."""
    cache = make_cache(DOUBLE, LOCAL_TIMEOUT=5, STALE_IF_ERROR=60, JITTER=0)
    reader = cache._reader()
    monkeypatch.setattr(type(reader), "server", lambda self, remote, key, version: key[0])
    cache.set_many({"a1": 1, "a2": 2, "b1": 3, "b2": 4})
    cache.get_many(["a1", "a2"])
    clock.move(5)
    cache.remote.set("b1", 5)
    read, read_many = RemoteDouble.get, RemoteDouble.get_many
    asked = []

    def get(self, key, default=None, version=None):
        asked.append(key)
        if key[0] == "a":
            raise ConnectionError("a is down")
        return read(self, key, default, version)

    def get_many(self, keys, version=None):
        asked.extend(keys)
        if any(key[0] == "a" for key in keys):
            raise ConnectionError("a is down")
        return read_many(self, keys, version)

    monkeypatch.setattr(RemoteDouble, "get", get)
    monkeypatch.setattr(RemoteDouble, "get_many", get_many)
    assert cache.get_many(["a1", "b1", "a2", "b2"]) == {"a1": 1, "b1": 5, "a2": 2, "b2": 4}
    assert asked == ["a1", "b1", "a2", "b2", "a1", "b1", "b2"]
    asked.clear()
    cache.local.forget("b1")
    assert cache.get_many(["a1", "b1", "a2"]) == {"a1": 1, "b1": 5, "a2": 2}
    assert asked == ["b1"]
    clock.move(1)
    asked.clear()
    assert cache.get_many(["a1", "a2"]) == {"a1": 1, "a2": 2}
    assert asked == ["a1", "a2"]
    monkeypatch.setattr(RemoteDouble, "get_many", read_many)
    clock.move(1)
    cache.remote.set("a1", 6)
    assert cache.get_many(["a1", "a2"]) == {"a1": 6, "a2": 2}
    assert not cache.local.in_outage


@pytest.fixture
def servers_by_letter(make_cache, monkeypatch, clock):
    """Makes a tier over a remote of several servers, which are the first letters of keys; "down" has those that fail."""

    def make(**options):
        cache = make_cache(DOUBLE, LOCAL_TIMEOUT=0, **options)
        monkeypatch.setattr(type(cache._reader()), "server", lambda self, remote, key, version: owner(key))
        cache.down, cache.moved, cache.asked = set(), {}, []

        def owner(key):
            return cache.moved.get(key[0], key[0])

        def check(keys):
            cache.asked.extend(keys)
            for key in keys:
                if owner(key) in cache.down:
                    raise ConnectionError(f"{key} is down")

        get, get_many = RemoteDouble.get, RemoteDouble.get_many
        monkeypatch.setattr(
            RemoteDouble, "get", lambda self, key, *rest, **more: (check([key]), get(self, key, *rest, **more))[1]
        )
        monkeypatch.setattr(
            RemoteDouble, "get_many", lambda self, keys, **more: (check(keys), get_many(self, keys, **more))[1]
        )
        cache.set_many({"a": 1, "b": 2, "c": 3, "d": 4})
        return cache

    return make


def test_pages_that_read_from_two_servers_come_back(servers_by_letter, clock):
    """Though each of the two is due at another time, and neither is asked alone."""
    cache = servers_by_letter()
    cache.down = {"a", "b"}
    for key in "ab":
        with pytest.raises(ConnectionError):
            cache.get(key)
        clock.move(0.5)
    cache.down = set()
    for page in range(30):
        try:
            assert cache.get_many(["a", "b"]) == {"a": 1, "b": 2}
            break
        except ConnectionError:
            assert page < 20, "nobody came back"
        clock.move(0.1)
    assert not cache.local.in_outage


def test_a_server_that_is_back_does_not_wait_for_one_that_is_not(servers_by_letter, clock):
    """Each is tried by itself, and all that are due at once."""
    cache = servers_by_letter(REMOTE_ERRORS="ignore")
    cache.down = {"a", "b", "c", "d"}
    for key in "abcd":
        assert cache.get(key) is None
    cache.down = {"a"}
    clock.move(1)
    cache.asked.clear()
    assert cache.get_many(["a", "b"]) == {"b": 2}
    assert cache.get("c") == 3
    assert cache.get("d") == 4
    assert cache.get("a") is None
    assert cache.asked.count("a") <= 2
    assert cache.local.in_outage
    clock.move(1)
    cache.down = set()
    assert cache.get("a") == 1
    assert not cache.local.in_outage


def test_what_another_server_has_taken_over_is_out_no_more(servers_by_letter, clock, log):
    """Though nobody reads the key again that was asked for in vain."""
    cache = servers_by_letter(REMOTE_ERRORS="ignore")
    cache.down = {"a"}
    assert cache.get("a one") is None
    assert cache.local.in_outage
    cache.moved = {"a": "b"}
    assert cache.get("c") == 3
    assert not cache.local.in_outage
    assert len(log.lines) == 2


def test_tasks_look_again_during_another_servers_outage(servers_by_letter):
    """What has changed is what they ask, not whether there is an outage."""
    cache = servers_by_letter(REMOTE_ERRORS="ignore", RETRY_AFTER=60)
    cache._reader().threaded = lambda remote: True
    cache.down = {"a", "b"}
    assert cache.get("a") is None
    cache.asked.clear()

    async def work():
        await asyncio.gather(*(cache.aget(f"b{number}") for number in range(30)))

    asyncio.run(work())
    assert len(cache.asked) == 1


def test_a_chain_over_several_servers(servers_by_letter, clock, monkeypatch):
    """What a server that is up calls missing is missing, whatever the others do; of one that is out, the copy counts."""
    lower = servers_by_letter(REMOTE_ERRORS="ignore")
    upper = {"BACKEND": TIERED, "LOCATION": "lower", "OPTIONS": {"LOCAL_TIMEOUT": 2, "STALE_IF_ERROR": 3600, "JITTER": 0}}
    middle = {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": {"REMOTE_ERRORS": "ignore", "JITTER": 0}}
    state = lower.__dict__
    with override_settings(CACHES={"default": upper, "lower": middle, "remote": DOUBLE}):
        cache = caches["default"]
        cache.set_many({"a": 1, "b": 2})
        cache.get_many(["a", "b"])
        clock.move(10)
        state["down"].add("a")
        cache.remote.remote.delete("b")
        before = cache.stats()
        assert cache.get("a") == 1
        assert cache.get("b") is None
        assert cache.has_key("a")
        assert not cache.has_key("b")
        after = cache.stats()
        assert (after.hits - before.hits, after.misses - before.misses) == (2, 1)  # has_key found a copy too


def test_a_value_that_does_not_decode_keeps_nobody_out(make_cache, clock, monkeypatch):
    """Nor does it end an outage: the next reader tries at once."""
    cache = make_cache("django-redis", LOCAL_TIMEOUT=0, REMOTE_ERRORS="ignore")
    cache.set("good", "text")
    cache.remote.client.get_client().set(cache.remote.make_key("bad"), b"no pickle")

    def refuse(*args, **kwargs):
        raise redis.ConnectionError("refused")

    with monkeypatch.context() as patch:
        patch.setattr("redis.client.Pipeline.execute", refuse)
        assert cache.get("good") is None
    clock.move(1)
    assert cache.get("bad") is None
    assert cache.get("good") == "text"
    assert not cache.local.in_outage


def test_what_a_remotes_package_raises_for_a_value_that_does_not_decode(make_cache, clock, log, mode, monkeypatch):
    """As django-cachex does, whose clients raise the errors of its servers: a miss, and other keys are read as ever."""
    module = types.ModuleType("django_cachex.exceptions")
    module.CachexError = type("CachexError", (Exception,), {"__module__": module.__name__})
    module.SerializerError = type("SerializerError", (module.CachexError,), {"__module__": module.__name__})
    monkeypatch.setitem(sys.modules, module.__name__, module)
    cache = make_cache(DOUBLE, LOCAL_TIMEOUT=0)
    cache.set("key", "text")
    fail(module.SerializerError("no pickle"))
    assert mode(cache).get("key", "default") == "default"
    assert mode(cache).get_many(["key"]) == {}
    heal()
    assert mode(cache).get("key") == "text"
    assert cache.stats().remote_errors == 0
    assert not is_remote_error(module.CachexError("not supported"), frozenset({"django_cachex"}))


def test_an_outage_long_after_a_failed_write_is_told(make_cache, clock, log):
    """The two have nothing to do with each other."""
    cache = make_cache(DOUBLE, REMOTE_ERRORS="ignore")
    RemoteDouble.broken = ConnectionError("refused")
    cache.set("key", 1)
    RemoteDouble.broken = None
    clock.move(30)
    cache.set("key", 1)
    clock.move(86400)
    fail()
    cache.get("cold")
    assert len(log.lines) == 2
    assert log.lines[1].startswith("Outage")


def test_two_memcacheds_of_which_one_fails(memcached_address, clock):
    """A miss of the one that is up is a miss, and tells nothing of the other."""
    from example_project import servers

    with contextlib.ExitStack() as stack:
        other = stack.enter_context(servers.memcached())
        remote = {
            "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
            "LOCATION": [memcached_address, other],
            "OPTIONS": {"retry_timeout": -1, "retry_attempts": 1_000_000_000},
        }
        tiered = {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": {"LOCAL_TIMEOUT": 0}}
        with override_settings(CACHES={"default": tiered, "remote": remote}):
            cache = caches["default"]
            keys = {}
            for number in range(100):
                keys.setdefault(cache._server(f"key{number}", None)(), f"key{number}")
            assert len(keys) == 2
            up, down = keys[memcached_address], keys[other]
            cache.set_many({up: "up", down: "down"})
            stack.close()
            for _ in range(3):
                with pytest.raises((OSError, pymemcache.exceptions.MemcacheError)):
                    cache.get(down)
                assert cache.get(up) == "up"
                assert cache.get_many([up]) == {up: "up"}
                clock.move(1)
            assert cache.local.in_outage
            cache.delete(up)
            for _ in range(3):
                assert cache.get(up) is None


def test_what_succeeds_and_began_before_ends_nothing(cache, clock, log):
    """A slow reader that has been let through by a server on its way down."""
    heal()
    RemoteDouble.pause = pause = Pause()
    slow = threading.Thread(target=cache.get, args=["slow"])
    slow.start()
    pause.wait()
    clock.move(0.1)
    fail()
    assert cache.get("stale") == "old"
    pause.release()
    slow.join()
    assert cache.local.in_outage
    assert len(log.lines) == 1


def test_two_aliases_over_one_remote_are_one_at_the_gate(clock, log):
    """One reader of the process tries."""
    tiered = {"BACKEND": TIERED, "LOCATION": "remote"}
    other = {**tiered, "OPTIONS": {"LOCAL_TIMEOUT": 1}}
    with override_settings(CACHES={"default": tiered, "other": other, "remote": DOUBLE}):
        fail()
        RemoteDouble.reads = 0
        for alias in ("default", "other", "default"):
            with pytest.raises(ConnectionError):
                caches[alias].get("key")
        assert RemoteDouble.reads == 1
        assert len(log.lines) == 1


# --- tasks and their threads ---


def test_readers_that_are_cancelled_find_out_for_the_others(make_cache, monkeypatch):
    """Each gives up before the client does: what its thread meets then is known all the same."""
    cache = make_cache("locmem", REMOTE_ERRORS="ignore", RETRY_AFTER=3600)
    failing, failures = threading.Event(), []

    def hang(self, *args, **kwargs):
        failing.wait(10)
        failures.append(1)
        raise ConnectionError("timed out")

    monkeypatch.setattr(type(cache.remote), "get", hang)

    async def request():
        async with ThreadSensitiveContext():
            await asyncio.wait_for(caches["default"].aget("key"), 0.05)

    async def work():
        with pytest.raises(TimeoutError):
            await request()
        failing.set()
        while not failures or not cache.local.in_outage:
            await asyncio.sleep(0.01)
        assert await caches["default"].aget("key", "default") == "default"

    asyncio.run(asyncio.wait_for(work(), 20))
    assert len(failures) == 1
    assert cache.stats().remote_errors == 1


# --- chains, forks ---


def test_a_chain_has_one_gate(clock, log, mode):
    """That of the tier next to the remote: the one above asks it, and is answered at once."""
    upper = {"BACKEND": TIERED, "LOCATION": "lower", "OPTIONS": {"LOCAL_TIMEOUT": 2, "STALE_IF_ERROR": 60, "JITTER": 0}}
    lower = {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": {"LOCAL_TIMEOUT": 5, "JITTER": 0}}
    with override_settings(CACHES={"default": upper, "lower": lower, "remote": DOUBLE}):
        cache = caches["default"]
        cache.clear()
        cache.set("stale", "old")
        assert mode(cache).get("stale") == "old"
        clock.move(6)
        fail()
        RemoteDouble.reads = 0
        for _ in range(5):
            assert mode(cache).get("stale") == "old"
            with pytest.raises(ConnectionError):
                mode(cache).get("cold")
        assert RemoteDouble.reads == 1
        heal()
        cache.remote.remote.set("stale", "new")
        clock.move(1)
        assert mode(cache).get("stale") == "new"
        assert len(log.lines) == 2


def test_a_chain_over_one_that_ignores_errors(clock, mode):
    """What the lower tier calls a miss is none to the upper one, which has a copy."""
    upper = {"BACKEND": TIERED, "LOCATION": "lower", "OPTIONS": {"LOCAL_TIMEOUT": 2, "STALE_IF_ERROR": 60, "JITTER": 0}}
    lower = {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": {"REMOTE_ERRORS": "ignore", "JITTER": 0}}
    with override_settings(CACHES={"default": upper, "lower": lower, "remote": DOUBLE}):
        cache = caches["default"]
        cache.clear()
        cache.set("key", "old")
        assert mode(cache).get("key") == "old"
        clock.move(6)
        fail()
        for _ in range(2):
            assert mode(cache).get("key") == "old"
            assert mode(cache).get("cold", "default") == "default"
            assert mode(cache).get_many(["key", "cold"]) == {"key": "old"}


def test_a_chain_remembers_no_absence_of_an_outage(clock, mode):
    """A lower tier that ignores errors says "missing": that is no news of the key."""
    upper = {"BACKEND": TIERED, "LOCATION": "lower", "OPTIONS": {"MISS_TIMEOUT": 5, "JITTER": 0}}
    lower = {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": {"REMOTE_ERRORS": "ignore", "JITTER": 0}}
    with override_settings(CACHES={"default": upper, "lower": lower, "remote": DOUBLE}):
        cache = caches["default"]
        cache.clear()
        cache.set("key", "value")
        fail()
        assert mode(cache).get("key") is None
        assert mode(cache).get_many(["key"]) == {}
        heal()
        clock.move(1)
        assert mode(cache).get("key") == "value"


def test_a_child_tries_for_itself(cache):
    """What the parent's threads were doing is none of its business."""
    assert cache.get("stale") == "old"
    cache._tier.gate.after_fork()
    heal()
    RemoteDouble.reads = 0
    cache.get("stale")
    assert RemoteDouble.reads == 1


def test_twenty_outages_leave_nothing_behind(cache, clock, mode):
    """No tokens, no flights, no memory of it."""
    for _ in range(20):
        fail()
        for number in range(50):
            with pytest.raises(ConnectionError):
                mode(cache).get(f"cold{number}")
            assert mode(cache).get("stale") == "old"
        heal()
        clock.move(1)
        cache.get("cold")
        cache.set("stale", "old")
        cache.get("stale")
        clock.move(5)
    assert not cache._tier.tokens
    assert cache._tier.gate.outage is None
    assert len(cache.local) == 1
