"""Which errors mean that the remote has failed, which of these say that it is down, and what becomes of them."""

import asyncio
import errno
import pickle
import socket
import ssl
import sys
import types

import pymemcache.exceptions
import pytest
import redis
import valkey
from django.core.cache import InvalidCacheKey
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import PyMemcacheCache
from django.db import utils as db
from django_redis.cache import RedisCache
from django_valkey.exceptions import ConnectionInterrupted

from tests.remote.failing import DOUBLE, fail, heal
from tests.support.doubles import Odd, RemoteDouble, Strict
from tieredcache import RemoteOutage
from tieredcache.remote.failures import (
    Swallowed,
    describe,
    is_remote_error,
    may_be_repeated,
    outage_class,
    packages_of,
    says_down,
)

CLIENTS = (redis, valkey)
OWN = frozenset({"tests"})  # as if the remote were a backend of the package tests


def caused_by(error, cause):
    error.__cause__ = cause
    return error


def interrupted(cause):
    """As django-redis and django-valkey raise it."""
    return caused_by(ConnectionInterrupted(connection=None), cause)


def of(module, name, *bases):
    """An exception of this class, of a module that need not be installed."""
    return type(name, bases or (Exception,), {"__module__": module})("text")


def of_clients(names, *, text="text"):
    """The errors of these names that redis-py and valkey-py raise."""
    return [getattr(client.exceptions, name)(text) for client in CLIENTS for name in names.split()]


def replies(*texts):
    """What redis-py and valkey-py make of errors for which they have no class."""
    return [client.ResponseError(text) for client in CLIENTS for text in texts]


FAILURES = [
    ConnectionRefusedError(111, "refused"),
    ConnectionResetError(104, "reset"),
    TimeoutError("timed out"),
    socket.gaierror(-2, "unknown host"),
    ssl.SSLCertVerificationError(1, "certificate has expired"),
    EOFError(),
    asyncio.IncompleteReadError(b"", 10),
    *of_clients("ConnectionError TimeoutError BusyLoadingError AuthenticationError InvalidResponse"),
    *of_clients("ReadOnlyError OutOfMemoryError ClusterDownError MasterDownError TryAgainError ExecAbortError"),
    *of_clients("MovedError AskError", text="1 host:1"),
    *replies("MISCONF errors writing to disk", "WRONGPASS invalid", "BUSY running a script", "NOREPLICAS Not enough"),
    *replies("Command # 1 (SET :1:k 1) of pipeline caused error: NOREPLICAS Not enough"),
    redis.exceptions.RedisClusterException("no node"),
    valkey.exceptions.ValkeyClusterException("no node"),
    interrupted(valkey.ConnectionError("refused")),
    pymemcache.exceptions.MemcacheUnexpectedCloseError(),
    pymemcache.exceptions.MemcacheServerError("out of memory"),
    pymemcache.exceptions.MemcacheError("All servers seem to be down right now"),
    db.OperationalError("server closed the connection"),
    db.InterfaceError("connection already closed"),
    of("tests.client", "OfItsOwnClient"),
    caused_by(Swallowed(), redis.ConnectionError("refused")),
    RemoteOutage("of another alias"),
]
MISTAKES = [
    InvalidCacheKey("too long"),
    ValueError("Key not found"),
    TypeError("unexpected keyword"),
    AttributeError("no such method"),
    NotImplementedError(),
    RuntimeError("event loop is closed"),
    pickle.PicklingError("a function"),
    MemoryError(),
    UserWarning("a warning that is an error"),
    of("billiard.exceptions", "SoftTimeLimitExceeded"),
    of("tests.client", "OfItsOwnKeys", KeyError),
    *of_clients("DataError NoScriptError LockError NoPermissionError"),
    *replies("WRONGTYPE Operation against a key", "value is not an integer or out of range"),
    interrupted(valkey.ResponseError("WRONGTYPE")),
    pymemcache.exceptions.MemcacheIllegalInputError("no spaces"),
    pymemcache.exceptions.MemcacheServerError("object too large for cache"),
    db.ProgrammingError("no such table"),
    db.IntegrityError("not unique"),
    db.InternalError("current transaction is aborted"),
    asyncio.CancelledError(),
    KeyboardInterrupt(),
]


@pytest.mark.parametrize("error", FAILURES, ids=repr)
def test_failures_of_the_remote_are_told_from_mistakes(error):
    """Refused and lost connections, servers that refuse to serve, and whatever the backend's own package raises."""
    assert is_remote_error(error, OWN)


@pytest.mark.parametrize("error", MISTAKES, ids=repr)
def test_mistakes_are_told_from_failures_of_the_remote(error):
    """A key that cannot be, a command that does not fit the value, a time limit, a bug: of the caller, not of the remote."""
    assert not is_remote_error(error, OWN)


@pytest.mark.parametrize(
    "error", [TimeoutError("of a task"), db.OperationalError("of a queryset that is pickled")], ids=repr
)
def test_an_error_that_the_remotes_client_does_not_raise_is_the_callers(error):
    """Redis' clients have a time-out error of their own, and no database."""
    assert not is_remote_error(error)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
def test_an_exhausted_pool_does_not_say_that_the_server_is_down(client):
    """Though it is a failure: whether raised as it is, wrapped, or swallowed."""
    crowded = [
        client.ConnectionError("Too many connections"),
        client.ConnectionError("No connection available."),
        of(client.exceptions.__name__, "MaxConnectionsError", client.ConnectionError),
    ]
    assert all(map(is_remote_error, crowded))
    for error in crowded:
        assert not any(map(says_down, (error, interrupted(error), caused_by(Swallowed(), error))))
    refused = client.ConnectionError("refused")
    assert all(map(says_down, (refused, interrupted(refused), caused_by(Swallowed(), refused), OSError("refused"))))


def test_a_time_out_of_memcached_or_around_redis_is_that_of_a_socket():
    """Memcached's clients have no other; what a backend that is not known raises may have any text."""
    known = [packages_of(PyMemcacheCache("127.0.0.1:1", {})), packages_of(DerivedFromRedis("redis://127.0.0.1:1", {}))]
    of_sockets = TimeoutError("timed out"), TimeoutError(errno.ETIMEDOUT, "Connection timed out")
    for error in (*of_sockets, TimeoutError("Function timed out")):
        assert [is_remote_error(error, packages) for packages in known] == [error in of_sockets] * 2
        assert is_remote_error(error, OWN)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
def test_a_time_limit_that_has_struck_in_the_client_is_not_repeated(client):
    """It makes an error of its own of any TimeoutError while it reads."""
    for within, repeated in ((TimeoutError("timed out"), True), (TimeoutError("too slow"), False)):
        error = client.TimeoutError("Timeout reading from socket")
        error.__context__ = within
        assert may_be_repeated(error, OWN) is repeated
        assert may_be_repeated(interrupted(error), OWN) is repeated


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
def test_an_error_reply_is_repeated_while_the_caller_handles_a_time_out(client):
    """That is the context of whatever is raised then, and no time limit that has struck here."""
    error = client.ResponseError("CROSSSLOT Keys in request don't hash to the same slot")
    error.__context__ = TimeoutError()
    assert may_be_repeated(error, OWN)


# --- the packages of a backend ---


class Foreign(BaseCache):
    """A backend of a package that is not known here."""


class Derived(LocMemCache):
    """A project's subclass of a backend that is known."""


class DerivedFromRedis(RedisCache):
    """One whose client has a time-out error of its own."""


@pytest.mark.parametrize(
    ("remote", "packages"),
    [
        (LocMemCache("", {}), set()),
        (RedisCache("redis://127.0.0.1:1", {}), set()),
        (PyMemcacheCache("127.0.0.1:1", {}), {"pymemcache", "pylibmc"}),
        (DatabaseCache("table", {}), {"django.db"}),
        (Foreign({}), {"tests"}),
        (Derived("", {}), {__name__}),
        (DerivedFromRedis("redis://127.0.0.1:1", {}), {__name__, RedisCache.__module__}),
        (RemoteDouble("", {}), {"tests.support.doubles"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_errors_of_a_backend_are_those_of_its_package(remote, packages):
    """Of a subclass of one that is known, only those of its module: a project's package has much else."""
    assert packages_of(remote) == packages


# --- what becomes of an error ---


class Numbered(OSError):
    pass


@pytest.mark.parametrize(
    "kind",
    [ConnectionError, Numbered, redis.ConnectionError, valkey.TimeoutError, ConnectionInterrupted, db.OperationalError],
)
def test_an_outage_is_raised_as_an_error_of_the_clients_class_too(kind):
    """What catches the client's error catches it; it can be shown and pickled like any other."""
    both = outage_class(kind)
    outage = both.__new__(both, "down for 3 s")
    assert isinstance(outage, RemoteOutage)
    assert isinstance(outage, kind)
    assert str(outage) == "down for 3 s"
    assert "RemoteOutage" in repr(outage)
    copy = pickle.loads(pickle.dumps(outage))
    assert (type(copy), str(copy)) == (RemoteOutage, "down for 3 s")


@pytest.mark.parametrize("kind", [Odd, Strict])
def test_an_outage_is_only_that_when_the_clients_class_wants_more_than_a_text(kind):
    """What an error's class wants of its constructor is not ours to know."""
    assert outage_class(kind) is RemoteOutage


def test_an_error_is_described_in_one_line():
    """By its class and what it says, if it can say anything."""
    assert describe(redis.ConnectionError("Error 111\n connecting")) == "ConnectionError: Error 111 connecting"
    assert describe(redis.ConnectionError("Connection refused.")) == "ConnectionError: Connection refused"
    assert describe(EOFError()) == "EOFError"
    assert describe(Strict(5, "text")) == "Strict"


# --- values that do not decode ---


def test_a_value_that_does_not_decode_is_logged_once_until_it_does(make_cache, mode, log):
    """For each key; of the keys that have been logged, no more than MAX_ENTRIES are remembered."""
    cache = make_cache(DOUBLE, LOCAL_TIMEOUT=0, MAX_ENTRIES=3)
    cache.set("a", "text")
    fail(pickle.UnpicklingError("no pickle"))
    for _ in range(2):
        assert mode(cache).get("a", "default") == "default"
        assert mode(cache).get_many(["a", "b"]) == {}
    assert len(log()) == 2
    assert "'a'" in log()[0]
    assert "UnpicklingError" in log()[0]
    heal()
    assert mode(cache).get("a") == "text"
    fail(pickle.UnpicklingError("no pickle"))
    mode(cache).get("a")
    assert len(log()) == 3
    mode(cache).get_many("abcdb")
    assert len(log()) == 5, "c and d"
    mode(cache).get("a")
    assert len(log()) == 6, "it is not remembered any more"
    assert cache.stats().remote_errors == 0


def test_what_a_remotes_package_raises_for_a_value_that_does_not_decode_is_a_miss(make_cache, mode, monkeypatch):
    """As django-cachex does, whose other errors of its own are mistakes."""
    module = types.ModuleType("django_cachex.exceptions")
    module.CachexError = type("CachexError", (Exception,), {"__module__": module.__name__})
    module.SerializerError = type("SerializerError", (module.CachexError,), {"__module__": module.__name__})
    monkeypatch.setitem(sys.modules, module.__name__, module)
    cache = make_cache(DOUBLE, LOCAL_TIMEOUT=0)
    fail(module.SerializerError("no pickle"))
    assert mode(cache).get("key", "default") == "default"
    assert mode(cache).get_many(["key"]) == {}
    assert cache.stats().remote_errors == 0
    assert not is_remote_error(module.CachexError("not supported"), frozenset({"django_cachex"}))


@pytest.mark.parametrize(
    "error", [ssl.SSLCertVerificationError(1, "expired"), asyncio.IncompleteReadError(b"", 1)], ids=repr
)
def test_a_connection_that_fails_is_not_taken_for_a_value_that_does_not_decode(make_cache, mode, error):
    """Though the one is a ValueError too, and the other an EOFError."""
    cache = make_cache(DOUBLE)
    fail(error)
    for read in (lambda: mode(cache).get("key"), lambda: mode(cache).get_many(["key"])):
        with pytest.raises(type(error)):
            read()
    assert cache.stats().remote_errors == 2
