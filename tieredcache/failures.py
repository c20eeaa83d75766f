"""Which exceptions mean that the remote failed, and which that the caller, or the code, is mistaken."""

from __future__ import annotations

import sys
from typing import Final

from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db.utils import DataError, IntegrityError, NotSupportedError, ProgrammingError

# Whatever a remote raises is a failure of its own, but for these. ValueError is also how a cache says "no such key" (incr)
# and "no such key possible" (InvalidCacheKey).
_MISTAKES: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
    ImproperlyConfigured,
    SynchronousOnlyOperation,
    DataError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
# An error that a Redis or Valkey server replies is the command's fault, unless it is one of these...
_SERVER_ERRORS: Final = (
    "AskError",  # Moved too
    "AuthenticationWrongNumberOfArgsError",
    "ClusterDownError",  # MasterDown too
    "ExecAbortError",
    "NoPermissionError",
    "OutOfMemoryError",
    "ReadOnlyError",
    "TryAgainError",
)
# ... or one that the client has no class for, and begins with one of these words.
_SERVER_WORDS: Final = ("BUSY", "MISCONF", "NOAUTH", "NOREPLICAS", "UNKILLABLE", "WRONGPASS")


class Swallowed(Exception):  # noqa: N818 - never seen outside
    """The remote read failed, and the remote itself would have called it a miss; ``__cause__`` is the client's error."""


def is_remote_error(error: BaseException) -> bool:
    """Whether ``error``, raised by a remote operation, is a failure of the remote.

    Refused, reset and timed-out connections, exhausted pools, servers that are loading, read-only, out of memory or want
    other credentials, the database's operational errors. Not an invalid key, a programming error or a cancellation.
    """
    if type(error).__name__ == "ConnectionInterrupted" and error.__cause__ is not None:
        return is_remote_error(error.__cause__)  # django-redis' and django-valkey's wrapping, also of the command's faults
    for package in ("redis", "valkey"):
        # Looked up, not imported: an error of a module that is not loaded has not been raised.
        known = sys.modules.get(f"{package}.exceptions")
        if known is None:
            continue
        if isinstance(error, known.DataError):
            return False
        if isinstance(error, known.ResponseError):
            classes = tuple(getattr(known, name) for name in _SERVER_ERRORS if hasattr(known, name))
            return isinstance(error, classes) or str(error).startswith(_SERVER_WORDS)
    memcached = sys.modules.get("pymemcache.exceptions")
    if memcached is not None and isinstance(error, memcached.MemcacheClientError):
        return False
    return isinstance(error, Exception) and not isinstance(error, _MISTAKES)


def cause(error: BaseException) -> BaseException:
    """The client's error."""
    return error.__cause__ if isinstance(error, Swallowed) and error.__cause__ else error


def without_frames(error: BaseException) -> BaseException:
    """A copy of ``error`` without its traceback, to be kept for a while: frames hold requests, and sockets."""
    kind = type(error)
    try:
        copy: BaseException = kind.__new__(kind, *error.args)  # not called: what __init__ takes is its own affair
        copy.__dict__.update(error.__dict__)
    except Exception:  # noqa: BLE001 - a class that cannot be made so; that it failed is what counts
        copy = ConnectionError(f"{kind.__name__}: {error}")
    if error.__cause__ is not None:
        copy.__cause__ = without_frames(error.__cause__)
    return copy
