"""Which exceptions mean that the remote has failed. All others are somebody's mistake, or will, and are raised."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import BaseDatabaseCache

if TYPE_CHECKING:
    from collections.abc import Iterable

# The roots of what clients raise. Named, not imported: an error of a module that is not loaded has not been raised.
_ROOTS: Final = (
    ("redis.exceptions", "RedisError"),
    ("redis.exceptions", "RedisClusterException"),
    ("valkey.exceptions", "ValkeyError"),
    ("valkey.exceptions", "ValkeyClusterException"),
    ("pymemcache.exceptions", "MemcacheError"),
    ("pylibmc", "Error"),
)
# What of these is the caller's mistake.
_MISTAKES: Final = (
    ("redis.exceptions", "DataError"),
    ("redis.exceptions", "LockError"),
    ("valkey.exceptions", "DataError"),
    ("valkey.exceptions", "LockError"),
    ("pymemcache.exceptions", "MemcacheClientError"),
    ("django.db.utils", "DataError"),
    ("django.db.utils", "IntegrityError"),
    ("django.db.utils", "NotSupportedError"),
    ("django.db.utils", "ProgrammingError"),
    ("django_cachex.exceptions", "CachexError"),  # what its servers do wrong, the client of theirs raises
    ("django_redis.exceptions", "CompressorError"),
    ("django_valkey.exceptions", "CompressorError"),
)
# What a backend raises of its own where a stored value does not decode.
_UNDECODABLE: Final = (("django_cachex.exceptions", "SerializerError"),)
_KNOWN: Final = {"django", "django_redis", "django_valkey", "tieredcache"}
_PYTHONS: Final = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_REPLIES: Final = (("redis.exceptions", "ResponseError"), ("valkey.exceptions", "ResponseError"))
# An error that a Redis or Valkey server replies is the command's fault, unless it is one of these...
_SERVER_ERRORS: Final = (
    "AskError",  # Moved too
    "AuthenticationWrongNumberOfArgsError",
    "ClusterDownError",  # MasterDown too
    "ExecAbortError",
    "OutOfMemoryError",
    "ReadOnlyError",
    "TryAgainError",
)
# ... or one that the client has no class for, and begins with one of these words.
_SERVER_WORDS: Final = ("BUSY", "MISCONF", "NOAUTH", "NOREPLICAS", "UNKILLABLE", "WRONGPASS")
_DEPTH: Final = 4  # how far into an error's causes and arguments we look


class Swallowed(Exception):  # noqa: N818 - never seen outside
    """The remote read failed, and the remote itself would have called it a miss; ``__cause__`` is the client's error."""


class RemoteOutage(Exception):  # noqa: N818 - what it is, in the word of the docs
    """A read that was not tried, because the remote has failed a moment ago; ``__cause__`` is how it failed.

    It is an instance of the class of that error, too, so that who catches the client's errors catches this.
    """

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteOutage, self.args


def packages_of(remote: BaseCache) -> frozenset[str]:
    """Where the exceptions are made that are of ``remote`` itself.

    The packages of a backend that we do not know; the modules of a subclass of one that we know, because a project's package
    has much else; ``"django.db"``, where the entries are in the database.
    """
    if isinstance(remote, BaseDatabaseCache):
        return frozenset({"django.db"})
    modules = {kind.__module__ for kind in type(remote).__mro__ if kind not in {BaseCache, object}}
    own = {module for module in modules if _package(module) not in _KNOWN}
    return frozenset(own if own < modules else map(_package, own))


def _package(module: str) -> str:
    return module.partition(".")[0]


def is_remote_error(error: BaseException, packages: frozenset[str] = frozenset()) -> bool:
    """Whether ``error``, raised by a remote operation, is a failure of the remote, made in ``packages``.

    Refused, reset and timed-out connections, exhausted pools, servers that are loading, read-only, out of memory or want
    other credentials, the database's operational errors. Not an invalid key, a programming error, a time limit, a
    cancellation.
    """
    if isinstance(error, (OSError, Swallowed, RemoteOutage)):
        return True
    kind = type(error)
    if kind.__name__ == "ConnectionInterrupted" and error.__cause__ is not None:
        return is_remote_error(error.__cause__)  # django-redis' and django-valkey's wrapping, also of the command's faults
    if isinstance(error, _loaded(_MISTAKES)):
        return False
    if isinstance(error, _loaded(_REPLIES)):
        return _is_server_error(error)
    if isinstance(error, (EOFError, *_loaded(_ROOTS))):
        return "too large" not in str(error)  # Memcached's answer to a value
    # The database's, where the remote may be one; else it was asked by a value that is pickled. Or a client's that we do not
    # know, and not what Python itself calls a mistake.
    database = bool(packages) and isinstance(error, _loaded([("django.db.utils", "Error")]))
    own = kind.__module__ in packages or _package(kind.__module__) in packages
    return database or (own and isinstance(error, Exception) and not isinstance(error, _PYTHONS))


def _is_server_error(error: BaseException) -> bool:
    # In a pipeline: "Command # 1 (SET key value) of pipeline caused error: MISCONF ..."
    text = str(error).rpartition(" caused error: ")[2]
    classes = _loaded((module, name) for module, _ in _REPLIES for name in _SERVER_ERRORS)
    return isinstance(error, classes) or text.startswith(_SERVER_WORDS)


def undecodable_errors() -> tuple[type[Exception], ...]:
    """The classes of error by which backends say that a stored value does not decode."""
    return tuple(kind for kind in _loaded(_UNDECODABLE) if issubclass(kind, Exception))


def _loaded(names: Iterable[tuple[str, str]]) -> tuple[type[BaseException], ...]:
    found = (getattr(sys.modules.get(module), name, None) for module, name in names)
    return tuple(kind for kind in found if kind is not None)


def cause(error: BaseException) -> BaseException:
    """The client's error."""
    return error.__cause__ if isinstance(error, Swallowed) and error.__cause__ else error


def describe(error: BaseException) -> str:
    """The kind of ``error`` and what it says, in one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - it is the remote that has failed, not its error
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def without_frames(error: BaseException, depth: int = _DEPTH) -> BaseException:
    """A copy of ``error`` without its traceback, to be kept for a while: frames hold requests, and sockets."""

    def bare(part: Any) -> Any:
        return without_frames(part, depth - 1) if isinstance(part, BaseException) else part

    kind = type(error)
    try:
        if depth == 0:
            raise RecursionError  # noqa: TRY301 - in a circle, or too deep to matter
        copy: BaseException = kind.__new__(kind, *map(bare, error.args))  # not called: what __init__ takes is its own affair
        copy.__dict__.update({name: bare(part) for name, part in vars(error).items()})
    except Exception:  # noqa: BLE001 - a class that cannot be made so; that it failed is what counts
        copy = ConnectionError(describe(error))
    if error.__cause__ is not None and depth:
        copy.__cause__ = without_frames(error.__cause__, depth - 1)
    return copy


def outage_class(kind: type[BaseException]) -> type[RemoteOutage]:
    """A ``RemoteOutage`` that is a ``kind`` too, where there can be one."""
    try:
        made = type("RemoteOutage", (RemoteOutage, kind), {"__module__": RemoteOutage.__module__})
        made.__new__(made, "")
    except Exception:  # noqa: BLE001 - a class that does not go with another, or wants more than a text
        return RemoteOutage
    return made
