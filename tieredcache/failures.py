"""Which exceptions mean that the remote has failed. All others are somebody's mistake, or will, and are raised."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import BaseDatabaseCache

from tieredcache.errors import RemoteOutage, Swallowed

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
    ("django_cachex.exceptions", "CachexError"),  # its own are misuse; what servers do comes as redis' or valkey's
    ("django_redis.exceptions", "CompressorError"),
    ("django_valkey.exceptions", "CompressorError"),
)
# What a backend raises of its own where a stored value does not decode.
_UNDECODABLE: Final = (("django_cachex.exceptions", "SerializerError"),)
_KNOWN: Final = {"django", "django_redis", "django_valkey", "tieredcache"}
_PYTHONS_MISTAKES: Final = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
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


def packages_of(remote: BaseCache) -> frozenset[str]:
    """The packages or modules whose exceptions mean that ``remote`` has failed.

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
    # The database's, where the remote may be one; else it was a value that is pickled, such as a queryset, that asked it. Or
    # a client's that we do not know, and not what Python itself calls a mistake.
    database = bool(packages) and isinstance(error, _loaded([("django.db.utils", "Error")]))
    own = kind.__module__ in packages or _package(kind.__module__) in packages
    return database or (own and isinstance(error, Exception) and not isinstance(error, _PYTHONS_MISTAKES))


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
