"""Which exceptions mean that the remote has failed, and which of these say that it is down."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import BaseDatabaseCache
from django.core.cache.backends.memcached import BaseMemcachedCache

from tieredcache.local.entries import is_callers, loaded


class Swallowed(Exception):  # noqa: N818 - never seen outside
    """The remote read failed, and the remote itself would have called it a miss; ``__cause__`` is the client's error."""


class RemoteOutage(Exception):  # noqa: N818 - what it is, in the word of the docs
    """A read that was not sent, because the remote is known to be down; the message says since when, and why.

    It is an instance of the class of the client's error, too: code that catches the client's errors catches this.
    """

    def __str__(self) -> str:
        return str(self.args[0])

    def __repr__(self) -> str:
        return f"RemoteOutage({self.args[0]!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteOutage, self.args


_Classes: TypeAlias = dict[str, str]
"""Classes by their modules: see ``loaded``."""

# The roots of what clients raise.
_ROOTS: Final[_Classes] = {
    "redis.exceptions": "RedisError RedisClusterException",
    "valkey.exceptions": "ValkeyError ValkeyClusterException",
    "pymemcache.exceptions": "MemcacheError",
    "pylibmc": "Error",
}
# What of these is the caller's mistake. An aborted transaction (InternalError) is one. django-cachex' own errors are misuse:
# what servers do comes as redis' or valkey's.
_MISTAKES: Final[_Classes] = {
    "redis.exceptions": "DataError LockError",
    "valkey.exceptions": "DataError LockError",
    "pymemcache.exceptions": "MemcacheClientError",
    "django.db.utils": "DataError IntegrityError InternalError NotSupportedError ProgrammingError",
    "django_cachex.exceptions": "CachexError",
}
# What backends, serializers and compressors raise of their own where a stored value does not decode.
_UNDECODABLE: Final[_Classes] = {
    "django_cachex.exceptions": "SerializerError",
    "django_redis.exceptions": "CompressorError",
    "django_valkey.exceptions": "CompressorError",
    "msgpack.exceptions": "UnpackException",
    "lzma": "LZMAError",
    "zlib": "error",
    "zstandard": "ZstdError",
    "compression.zstd": "ZstdError",
    "django.core.signing": "BadSignature",
    "cryptography.fernet": "InvalidToken",
}
_MEMCACHED: Final = frozenset({"pymemcache", "pylibmc"})
_REDIS: Final = ("django.core.cache.backends.redis", "django_redis", "django_valkey")
_KNOWN: Final = {"django", "django_redis", "django_valkey", "tieredcache"}
_PYTHONS_MISTAKES: Final = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_DATABASE: Final[_Classes] = {"django.db.utils": "Error"}
_REPLIES: Final[_Classes] = dict.fromkeys(("redis.exceptions", "valkey.exceptions"), "ResponseError")
_CLOSED: Final[_Classes] = dict.fromkeys(_REPLIES, "ConnectionError")
# An error that a Redis or Valkey server replies is the command's fault, unless it is one of these (AskError is MovedError
# too, and ClusterDownError is MasterDownError)...
_SERVER_ERRORS: Final[_Classes] = dict.fromkeys(
    _REPLIES,
    "AskError AuthenticationWrongNumberOfArgsError ClusterDownError ExecAbortError OutOfMemoryError ReadOnlyError "
    "TryAgainError",
)
# ... or one that the client has no class for, and begins with one of these words.
_SERVER_WORDS: Final = ("BUSY", "MISCONF", "NOAUTH", "NOREPLICAS", "UNKILLABLE", "WRONGPASS")
# What they say of a connection that was there.
_CLOSED_WORDS: Final = ("closed by server", "while reading", "while writing")
# What redis-py's and valkey-py's pools say when all of their connections are in use.
_POOL_WORDS: Final = ("Too many connections", "No connection available")


def packages_of(remote: BaseCache) -> frozenset[str]:
    """The packages or modules whose exceptions mean that ``remote`` has failed.

    The packages of a backend that we do not know; the modules of a subclass of one that we know, because a project's package
    has much else, with that of Redis; ``"django.db"``, where the entries are in the database.
    """
    if isinstance(remote, BaseDatabaseCache):
        return frozenset({"django.db"})
    if isinstance(remote, BaseMemcachedCache):
        return _MEMCACHED
    # Its backends only: django-redis 7's inherits from typing.Generic as well.
    backends = {kind for kind in type(remote).__mro__ if issubclass(kind, BaseCache)} - {BaseCache}
    modules = {kind.__module__ for kind in backends | {type(remote)}}
    own = {module for module in modules if _package(module) not in _KNOWN}
    if own == modules:
        return frozenset(map(_package, own))
    return frozenset(own and own | {module for module in modules if module.startswith(_REDIS)})


def _package(module: str) -> str:
    return module.partition(".")[0]


def is_remote_error(error: BaseException, packages: frozenset[str] = frozenset()) -> bool:
    """Whether ``error``, raised by a remote operation, is a failure of the remote, made in ``packages``.

    Refused, reset and timed-out connections, exhausted pools, servers that are loading, read-only, out of memory or want
    other credentials, the database's operational errors. Not an invalid key, a programming error, a time limit, a
    cancellation.
    """
    error = _unwrapped(error)
    kind = type(error)
    if kind is TimeoutError:  # redis-py's is another; Memcached's clients, and what is around redis-py, raise a socket's
        known = packages == _MEMCACHED or any(name.startswith(_REDIS) for name in packages)
        return bool(packages) and not (known and is_callers(error))
    if isinstance(error, (OSError, Swallowed, RemoteOutage)):
        return True
    if isinstance(error, (*loaded(_MISTAKES), *loaded(_UNDECODABLE))):
        return False
    if isinstance(error, loaded(_REPLIES)):
        # In a pipeline: "Command # 1 (SET key value) of pipeline caused error: MISCONF ..."
        text = str(error).rpartition(" caused error: ")[2]
        return isinstance(error, loaded(_SERVER_ERRORS)) or text.startswith(_SERVER_WORDS)
    if isinstance(error, (EOFError, *loaded(_ROOTS))):
        return "too large" not in str(error)  # Memcached's answer to a value
    # The database's, where the remote may be one; else it was a value that is pickled, such as a queryset, that asked it. Or
    # a client's that we do not know, and not what Python itself calls a mistake.
    database = isinstance(error, loaded(_DATABASE)) and bool(packages - _MEMCACHED)
    own = kind.__module__ in packages or _package(kind.__module__) in packages
    return database or (own and isinstance(error, Exception) and not isinstance(error, _PYTHONS_MISTAKES))


def is_refusal(error: BaseException, *, closed: bool) -> bool:
    """Whether a server has replied that it does not run this command: not at all, not here, or not for this user.

    ``closed``: or has closed the connection, as some proxies do. Not that there is none: a reader that has waited for a
    server, or for the pool, must not wait again.
    """
    if isinstance(error, loaded(_CLOSED)):
        return closed and any(words in str(error) for words in _CLOSED_WORDS)
    failed = type(error).__name__ != "ReadOnlyError" and is_remote_error(error)
    return not failed and isinstance(error, loaded(_REPLIES))


def is_time_limit(error: BaseException, packages: frozenset[str]) -> bool:
    """Whether it is a time limit of the caller, and not an error of the remote, which is made in ``packages``."""
    error = _unwrapped(error)
    return not is_remote_error(error, packages) if type(error) is TimeoutError else is_callers(error)


def may_be_repeated(error: BaseException, packages: frozenset[str]) -> bool:
    """Whether a read that failed so may be sent again: after what a client or server raises, not a time limit of the caller.

    Such a limit may be any exception that a signal handler raises, and strikes once.
    """
    inner = _unwrapped(error)
    clients = isinstance(inner, loaded(_ROOTS))
    # Those of Redis raise a TimeoutError of their own while they handle Python's. The context of any other error may be what
    # the caller was handling when it asked.
    limit = inner.__context__ if clients and type(inner).__name__ == "TimeoutError" else None
    if is_time_limit(error, packages) or (limit is not None and is_callers(limit)):
        return False
    return clients or is_remote_error(error, packages)


def says_down(error: BaseException) -> bool:
    """Whether a failure of the remote tells anything of the server: an exhausted pool of connections does not."""
    error = _unwrapped(client_error(error))
    exhausted = type(error).__name__ == "MaxConnectionsError" or str(error).startswith(_POOL_WORDS)
    return not (exhausted and isinstance(error, loaded(_ROOTS)))


def _unwrapped(error: BaseException) -> BaseException:
    """The cause of django-redis' and django-valkey's error, in which they wrap the command's faults, too."""
    return error.__cause__ if type(error).__name__ == "ConnectionInterrupted" and error.__cause__ else error


def client_error(error: BaseException) -> BaseException:
    """The client's own error, where it was swallowed."""
    return error.__cause__ if isinstance(error, Swallowed) and error.__cause__ else error


def describe(error: BaseException) -> str:
    """The kind of ``error`` and what it says, in one line, without a full stop."""
    try:
        text = " ".join(str(error).split()).rstrip(".")
    except Exception:  # noqa: BLE001 - it is the remote that has failed, not its error
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def outage_class(kind: type[BaseException]) -> type[RemoteOutage]:
    """A ``RemoteOutage`` that is a ``kind`` too, where there can be one."""
    try:
        both = type("RemoteOutage", (RemoteOutage, kind), {"__module__": RemoteOutage.__module__})
        both.__new__(both, "")
    except Exception:  # noqa: BLE001 - a class that does not go with another, or wants more than a text
        return RemoteOutage
    return both


def undecodable_errors() -> tuple[type[Exception], ...]:
    """The classes of error by which backends say that a stored value does not decode."""
    return tuple(kind for kind in loaded(_UNDECODABLE) if issubclass(kind, Exception))
