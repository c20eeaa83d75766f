"""The reader for any Django cache: its own methods, and ``pttl()`` or ``ttl()`` in a second call where it has them."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import pickle
import zlib
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import BaseCache, InvalidCacheKey, default_key_func
from django.core.cache.backends.memcached import PyMemcacheCache

from tieredcache.entries import MISSING, UNREADABLE
from tieredcache.errors import Swallowed
from tieredcache.failures import undecodable_errors
from tieredcache.outages import WHOLE

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

# What Fill.keep takes: a value, and how long it lives; from a tier, when it expires and when it was read, too.
Answer: TypeAlias = "tuple[Any, float | Exception | None] | tuple[Any, float, float, float]"

# What decoding raises where a class is gone or has changed since the value was written, or a file is torn: what the pickle
# module documents, and what constructors and __setstate__ raise most. The remote's own errors are others, but for the key's.
_DECODE_ERRORS: Final = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    TypeError,
    ValueError,
    zlib.error,
)


class Reader:
    """Reads any remote. An answer is a value, ``MISSING`` or ``UNREADABLE``, with the seconds left to live.

    The seconds are ``None`` where the entry does not expire or the remote cannot tell, and 0 where it has expired by the
    time it was asked. A reader is shared by all: the remote, an instance per thread or task, is passed in.
    """

    def home(self, remote: BaseCache) -> str | None:
        """The prefix that every ``str`` key of the default version gets; ``None`` where keys are made in another way."""
        if remote.key_func is not default_key_func or not _makes_keys_as_usual(remote):
            return None
        return f"{remote.key_prefix}:{remote.version}:"

    def make_key(self, remote: BaseCache, key: Any, version: Any) -> str:
        """The key under which the remote keeps ``(key, version)``."""
        # Where there is a client, it makes the key: django-redis' lets one that it has made pass as it is.
        made = (_client(remote) or remote).make_key(key, version=version)
        return made.decode(errors="surrogateescape") if isinstance(made, bytes) else str(made)

    def server(self, remote: BaseCache, key: Any, version: Any) -> Hashable:
        """Which of the remote's servers has ``key``, where they fail one by one."""
        memcached: Any = getattr(remote, "_cache", None) if isinstance(remote, PyMemcacheCache) else None
        if memcached is not None and len(memcached.clients) > 1:
            return _node(memcached, remote, key, version)
        sharded: Any = _client(remote)
        if hasattr(sharded, "get_server_name"):
            server: Hashable = sharded.get_server_name(sharded.make_key(key, version=version))
            return server
        return WHOLE

    def tells_lives(self, remote: BaseCache) -> bool:
        """Whether the remote can tell how long an entry has left to live."""
        return any(callable(getattr(remote, name, None)) for name in ("pttl", "ttl"))

    def threaded(self, remote: BaseCache) -> bool:
        """Whether the remote has no async reads but Django's, which call the sync ones in a thread."""
        return all(
            getattr(getattr(remote, name, default), "__func__", None) is default
            for name, default in (("aget", BaseCache.aget), ("aget_many", BaseCache.aget_many))
        )

    # ``life``: whether the remaining life is wanted. Without it no second call is made.

    def get(self, remote: BaseCache, key: Any, version: Any, *, life: bool = True) -> Answer:
        """The answer for one key; raises what the remote raises."""
        try:
            value = remote.get(key, MISSING, version=version)
        except _decode_errors() as error:
            return _undecoded(error)
        if value is MISSING:
            return _missing(remote, key, version)
        return value, self._life(remote, key, version) if life else None

    def get_many(self, remote: BaseCache, keys: Sequence[Any], version: Any, *, life: bool = True) -> list[Answer]:
        """The answers for ``keys``, in their order; raises what the remote raises."""
        found = None
        if len(set(keys)) == len(keys):  # else the remote's dict could not tell them apart, as it cannot 1 and True
            with contextlib.suppress(*_decode_errors()):
                found = remote.get_many(keys, version=version)
        if found is None:
            return [self.get(remote, key, version, life=life) for key in keys]
        return [
            (found[key], self._life(remote, key, version) if life else None)
            if key in found
            else _missing(remote, key, version)
            for key in keys
        ]

    def has_key(self, remote: BaseCache, key: Any, version: Any) -> bool:
        """Whether ``key`` exists; raises ``Swallowed`` where the remote has swallowed an error."""
        return self._existing(remote, key, version, remote.has_key(key, version=version))

    async def ahas_key(self, remote: BaseCache, key: Any, version: Any) -> bool:
        """As ``has_key``, by the remote's own async method; not called where there is none."""
        return self._existing(remote, key, version, await remote.ahas_key(key, version=version))

    def _existing(self, remote: Any, key: Any, version: Any, found: bool | None) -> bool:
        if found is None or (not found and _holds_back(remote, key, version)):
            raise Swallowed from ConnectionError("the client has swallowed how")
        return found

    async def aget(self, remote: BaseCache, key: Any, version: Any, *, life: bool = True) -> Answer:
        """As ``get``, by the remote's own async methods; not called where there are none."""
        try:
            value = await remote.aget(key, MISSING, version=version)
        except _decode_errors() as error:
            return _undecoded(error)
        if value is MISSING:
            return _missing(remote, key, version)
        return value, await self._alife(remote, key, version) if life else None

    async def aget_many(self, remote: BaseCache, keys: Sequence[Any], version: Any, *, life: bool = True) -> list[Answer]:
        """As ``get_many``, by the remote's own async methods."""
        found = None
        if len(set(keys)) == len(keys):
            with contextlib.suppress(*_decode_errors()):
                found = await remote.aget_many(keys, version=version)
        if found is None:
            return [await self.aget(remote, key, version, life=life) for key in keys]
        return [
            (found[key], await self._alife(remote, key, version) if life else None)
            if key in found
            else _missing(remote, key, version)
            for key in keys
        ]

    def _life(self, remote: BaseCache, key: Any, version: Any) -> float | None:
        for name in ("pttl", "ttl"):
            ask = getattr(remote, name, None)
            if callable(ask) and not inspect.iscoroutinefunction(ask):
                with _unasked():
                    return _seconds(remote, name, ask(key, version=version))
                return 0.0
        return None

    async def _alife(self, remote: BaseCache, key: Any, version: Any) -> float | None:
        for name in ("pttl", "ttl"):
            ask = getattr(remote, f"a{name}", None)
            if inspect.iscoroutinefunction(ask):
                with _unasked():
                    return _seconds(remote, name, await ask(key, version=version))
                return 0.0
        if callable(getattr(remote, "pttl", None)) or callable(getattr(remote, "ttl", None)):
            return await sync_to_async(self._life)(remote, key, version)
        return None


def _client(remote: Any) -> Any:
    client = getattr(remote, "client", None)
    return client if hasattr(client, "make_key") else None


def _makes_keys_as_usual(remote: BaseCache) -> bool:
    """Whether ``make_key`` is Django's, or django-redis' or django-valkey's, and not a subclass's own."""
    client = _client(remote)
    if client is None:
        return type(remote).make_key is BaseCache.make_key
    return type(client).make_key.__module__.partition(".")[0] in {"django_redis", "django_valkey"}


def _missing(remote: BaseCache, key: Any, version: Any) -> Answer:
    """The answer for a key that is not there; not to be remembered where the remote would say so of an error too."""
    if _holds_back(remote, key, version):
        raise Swallowed from ConnectionError("pymemcache does not try this server for now")
    return UNREADABLE if getattr(remote, "_ignore_exceptions", False) else MISSING, None


def _holds_back(remote: BaseCache, key: Any, version: Any) -> bool:
    """Whether the remote is pymemcache's, and calls everything a miss while it does not try a server that has failed."""
    client: Any = getattr(remote, "_cache", None) if isinstance(remote, PyMemcacheCache) else None
    failed: Any = getattr(client, "_failed_clients", None)
    if not failed:
        return False
    node = _node(client, remote, key, version)
    return node in client.clients and client.clients[node].server in failed


def _node(client: Any, remote: BaseCache, key: Any, version: Any) -> Hashable:
    """Which of pymemcache's servers has ``key``."""
    node: Hashable = client.hasher.get_node(remote.make_key(key, version))
    return node


def _decode_errors() -> tuple[type[Exception], ...]:
    return (*_DECODE_ERRORS, *undecodable_errors())


def _undecoded(error: Exception) -> Answer:
    # A key that cannot be; an expired certificate, which is a ValueError too; a connection cut on an async stream.
    if isinstance(error, (InvalidCacheKey, OSError, asyncio.IncompleteReadError)):
        raise error
    return UNREADABLE, error


def _unasked() -> contextlib.suppress:
    """The value is there; that its life cannot be learned (by an ACL, say) is no reason not to return it."""
    return contextlib.suppress(Exception)


def _seconds(remote: Any, name: str, left: float | None) -> float | None:
    """What ``pttl()`` or ``ttl()`` returned, in seconds of life: clients say "does not expire" as ``None`` or -1."""
    if left is None or left == -1:
        return None
    # Redis rounds TTL to the nearest second: up to half a second more than there is.
    seconds = left / 1000 if name == "pttl" else left - 0.5
    # Herd clients keep an entry for so much longer than they serve it for sure.
    return max(0.0, seconds - getattr(getattr(remote, "client", None), "_herd_timeout", 0))


def remote_async(remote: BaseCache, name: str) -> Callable[..., Any]:
    """The remote's own async method for ``name``; where it has none (django-valkey), the sync one in Django's thread."""
    method: Callable[..., Any] | None = getattr(remote, f"a{name}", None)
    return method or sync_to_async(getattr(remote, name), thread_sensitive=True)


def local_key(made: str, home: str | None) -> Hashable:
    """The local tier's key for the remote's key ``made``: two are equal exactly where the remote's are.

    Most keys are strings of the default version: theirs is the string the caller passed, so that a hit has nothing to
    format. All others are wrapped, and so equal to no string. An empty key is never kept as it is: django-valkey passes
    it on without the prefix.
    """
    if home is not None and len(made) > len(home) and made.startswith(home):
        return made[len(home) :]
    return (made,)
