"""The reader for any Django cache: its own methods, and ``pttl()`` or ``ttl()`` in a second call where it has them."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import BaseCache, InvalidCacheKey, default_key_func
from django.core.cache.backends.memcached import PyMemcacheCache

from tieredcache.local.entries import EXISTS, MISSING
from tieredcache.remote.circuit import WHOLE
from tieredcache.remote.failures import Swallowed, is_time_limit, packages_of, undecodable_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

# A value and its TTL in seconds; an Undecodable in place of a value that does not decode.
Answer: TypeAlias = "tuple[Any, float | None]"

# What decoding raises where a class is gone or has changed since the value was written, or a file is torn: what the pickle
# module documents, and what constructors and __setstate__ raise most. The remote's own errors are others, except the key's.
_DECODE_ERRORS: Final = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    TypeError,
    ValueError,
)
_KEY_SETTINGS: Final = ("key_prefix", "version", "key_func")


@dataclass(frozen=True, slots=True)
class Undecodable:
    """In place of a value: it does not decode, or the remote may have called an error a miss. It is not remembered.

    ``error``: what the decoder has raised; ``None`` for an error that the remote has swallowed.
    """

    error: Exception | None


class Reader:
    """Reads any remote. An answer is a value, ``MISSING`` or ``Undecodable``, with the seconds until the entry expires.

    The seconds are ``None`` where the entry does not expire or the remote cannot tell, and 0 where it has expired by the
    time it was asked. A reader is shared by all threads: the remote, an instance per thread or task, is passed in.
    """

    alias: str = ""  # of the remote, for the log

    def prefix(self, remote: BaseCache) -> str:
        """What every ``str`` key of the default version begins with at the remote; ``""`` where keys are made otherwise.

        Only where prefix, version and key function are constants of the instance: a property may depend on the tenant.
        """
        kind, own = type(remote), vars(remote)
        constant = all(name in own and not hasattr(kind, name) for name in _KEY_SETTINGS)
        if not constant or remote.key_func is not default_key_func or not _makes_keys_as_usual(remote):
            return ""
        return f"{remote.key_prefix}:{remote.version}:"

    def make_key(self, remote: BaseCache, key: Any, version: Any) -> str:
        """The key under which the remote keeps ``(key, version)``."""
        # Where there is a client, it makes the key: django-redis' lets one that it has made pass as it is.
        client = _client(remote)
        if client is not None:
            made = client.make_key(key, version=version)
        elif type(remote).make_and_validate_key is BaseCache.make_and_validate_key:
            made = remote.make_key(key, version=version)
        else:
            made = remote.make_and_validate_key(key, version=version)
        return made.decode(errors="surrogateescape") if isinstance(made, bytes) else str(made)

    def has_servers(self, remote: BaseCache) -> bool:
        """Whether the remote consists of servers that fail one by one."""
        memcached = _memcached(remote)
        return len(memcached.clients) > 1 if memcached is not None else hasattr(_client(remote), "get_server_name")

    def batches(self, remote: BaseCache) -> bool:
        """Whether many keys are read, with their TTLs where these can be learned, in one round trip."""
        return _memcached(remote) is not None

    def server(self, remote: BaseCache, key: Any, version: Any) -> Hashable:
        """Which of the remote's servers has ``key``."""
        if memcached := _memcached(remote):
            return _node(memcached, remote, key, version)
        sharded = _client(remote)
        server: Hashable = sharded.get_server_name(sharded.make_key(key, version=version)) if sharded else WHOLE
        return server

    def threaded(self, remote: BaseCache) -> bool:
        """Whether the remote has no async reads but Django's, which call the sync ones in a thread."""
        return all(
            getattr(getattr(remote, name, default), "__func__", None) is default
            for name, default in (("aget", BaseCache.aget), ("aget_many", BaseCache.aget_many))
        )

    # ``ttl``: whether it is wanted. Without it no second call is made.

    def get(self, remote: BaseCache, key: Any, version: Any, *, ttl: bool = True) -> Answer:
        """The answer for one key; raises what the remote raises."""
        try:
            value = remote.get(key, MISSING, version=version)
        except _decode_errors() as error:
            return _undecoded(error)
        if value is MISSING:
            return _missing(remote, key, version)
        return value, self._ttl(remote, key, version) if ttl else None

    def get_many(
        self, remote: BaseCache, keys: Sequence[Any], version: Any, *, ttl: bool = True, asked: int | None = None
    ) -> list[Answer]:
        """The answers for ``keys``, in their order; raises what the remote raises.

        ``asked``: how many of them are asked for, the first ones. The others are ``Undecodable`` where they do not decode.
        """
        found = None
        with contextlib.suppress(*_decode_errors()):  # or a key cannot be hashed
            if len(set(keys)) == len(keys):  # else the remote's dict could not tell them apart, as it cannot 1 and True
                found = remote.get_many(keys, version=version)
        if found is None:
            alone: list[Answer] = [self.get(remote, key, version, ttl=ttl) for key in keys[:asked]]
            return alone + [(Undecodable(None), None)] * (len(keys) - len(alone))  # not a trip for each of the others
        return [
            (found[key], self._ttl(remote, key, version) if ttl else None)
            if key in found
            else _missing(remote, key, version)
            for key in keys
        ]

    def exists(self, remote: BaseCache, key: Any, version: Any, *, ttl: bool = False) -> Answer:
        """``EXISTS`` or ``MISSING``: unlike a read this works for what does not decode, such as the value of a lock."""
        return (EXISTS, None) if remote.has_key(key, version=version) else _missing(remote, key, version)

    async def aexists(self, remote: BaseCache, key: Any, version: Any, *, ttl: bool = False) -> Answer:
        """As ``exists``, by the remote's own async method."""
        return (EXISTS, None) if await remote.ahas_key(key, version=version) else _missing(remote, key, version)

    async def aget(self, remote: BaseCache, key: Any, version: Any, *, ttl: bool = True) -> Answer:
        """As ``get``, by the remote's own async methods; not called where there are none."""
        try:
            value = await remote.aget(key, MISSING, version=version)
        except _decode_errors() as error:
            return _undecoded(error)
        if value is MISSING:
            return _missing(remote, key, version)
        return value, await self._attl(remote, key, version) if ttl else None

    async def aget_many(self, remote: BaseCache, keys: Sequence[Any], version: Any, *, ttl: bool = True) -> list[Answer]:
        """As ``get_many``, by the remote's own async methods."""
        found = None
        with contextlib.suppress(*_decode_errors()):
            if len(set(keys)) == len(keys):
                found = await remote.aget_many(keys, version=version)
        if found is None:
            return [await self.aget(remote, key, version, ttl=ttl) for key in keys]
        return [
            (found[key], await self._attl(remote, key, version) if ttl else None)
            if key in found
            else _missing(remote, key, version)
            for key in keys
        ]

    def _ttl(self, remote: BaseCache, key: Any, version: Any) -> float | None:
        for name in ("pttl", "ttl"):
            ask = getattr(remote, name, None)
            if callable(ask) and not inspect.iscoroutinefunction(ask):
                try:
                    return in_seconds(remote, name, ask(key, version=version))
                except Exception as error:  # noqa: BLE001 - a time limit is raised again
                    return no_ttl(remote, error)
        return None

    async def _attl(self, remote: BaseCache, key: Any, version: Any) -> float | None:
        for name in ("pttl", "ttl"):
            ask = getattr(remote, f"a{name}", None)
            if inspect.iscoroutinefunction(ask):
                try:
                    return in_seconds(remote, name, await ask(key, version=version))
                except Exception as error:  # noqa: BLE001 - a time limit is raised again
                    return no_ttl(remote, error)
        if callable(getattr(remote, "pttl", None)) or callable(getattr(remote, "ttl", None)):
            return await sync_to_async(self._ttl)(remote, key, version)
        return None


def _client(remote: Any) -> Any:
    client = getattr(remote, "client", None)
    return client if hasattr(client, "make_key") else None


def _memcached(remote: BaseCache) -> Any:
    """The client of pymemcache, where that is what the remote is."""
    return getattr(remote, "_cache", None) if isinstance(remote, PyMemcacheCache) else None


def _makes_keys_as_usual(remote: BaseCache) -> bool:
    """Whether keys are made by Django's methods, or django-redis' or django-valkey's, and not by a subclass's own."""
    kind = type(remote)
    if kind.__getattribute__ is not object.__getattribute__:
        return False
    client = _client(remote)
    if client is None:
        return kind.make_key is BaseCache.make_key and kind.make_and_validate_key is BaseCache.make_and_validate_key
    return type(client).make_key.__module__.partition(".")[0] in {"django_redis", "django_valkey"}


def _missing(remote: BaseCache, key: Any, version: Any) -> Answer:
    """The answer for a key that is not there; not to be remembered where the remote would say so of an error too."""
    client = _memcached(remote)
    if failed := getattr(client, "_failed_clients", None):  # pymemcache calls everything a miss while it avoids a server
        node = _node(client, remote, key, version)
        if node in client.clients and client.clients[node].server in failed:
            raise Swallowed from ConnectionError("pymemcache does not try this server for now")
    return Undecodable(None) if getattr(remote, "_ignore_exceptions", False) else MISSING, None


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
    return Undecodable(error), None


def in_seconds(remote: Any, name: str, left: float | None) -> float | None:
    """What ``pttl()`` or ``ttl()`` returned, in seconds: clients say "does not expire" as ``None`` or -1."""
    if left is None or left == -1:
        return None
    # Redis rounds TTL to the nearest second: up to half a second more than there is.
    seconds = left / 1000 if name == "pttl" else left - 0.5
    # Herd clients keep an entry for so much longer than they serve it for sure.
    return max(0.0, seconds - getattr(getattr(remote, "client", None), "_herd_timeout", 0))


def no_ttl(remote: BaseCache, error: Exception) -> float:
    """0: the value is there; that its TTL cannot be learned (by an ACL, say) is no reason not to return it."""
    if is_time_limit(error, packages_of(remote)):
        raise error
    return 0.0


def remote_async(remote: BaseCache, name: str) -> Callable[..., Any]:
    """The remote's own async method for ``name``; where it has none (django-valkey), the sync one in Django's thread."""
    method: Callable[..., Any] | None = getattr(remote, f"a{name}", None)
    return method or sync_to_async(getattr(remote, name), thread_sensitive=True)
