"""The reader for any Django cache: its own methods, and ``pttl()`` or ``ttl()`` in a second call where it has them."""

from __future__ import annotations

import inspect
import pickle
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import BaseCache, default_key_func

from tieredcache.entries import MISSING, UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

Answer: TypeAlias = "tuple[Any, float | None]"

# What unpickling raises, by the pickle module's documentation, where a class is gone or has changed since the value was
# written. The remote's own errors (connections, keys) are others.
_DECODE_ERRORS: Final = (pickle.UnpicklingError, AttributeError, EOFError, ImportError, IndexError)


class Reader:
    """Reads any remote. An answer is a value, ``MISSING`` or ``UNREADABLE``, with the seconds left to live.

    The seconds are ``None`` where the entry does not expire or the remote cannot tell, and 0 where it has expired by the
    time it was asked. Readers keep no state: the remote, an instance per thread or task, is passed in.
    """

    def home(self, remote: BaseCache) -> str | None:
        """The prefix that every ``str`` key of the default version gets; ``None`` where keys are made in another way."""
        if remote.key_func is default_key_func and type(remote).make_key is BaseCache.make_key:
            return str(remote.make_key(""))
        return None

    def make_key(self, remote: BaseCache, key: Any, version: Any) -> str:
        """The key under which the remote keeps ``(key, version)``."""
        return str(remote.make_key(key, version))

    # ``life``: whether the remaining life is wanted. Without it no second call is made.

    def get(self, remote: BaseCache, key: Any, version: Any, *, life: bool = True) -> Answer:
        """The answer for one key; raises what the remote raises."""
        try:
            value = remote.get(key, MISSING, version=version)
        except _DECODE_ERRORS:
            return UNREADABLE, None
        return value, None if value is MISSING or not life else self._life(remote, key, version)

    def get_many(self, remote: BaseCache, keys: Sequence[Any], version: Any, *, life: bool = True) -> list[Answer]:
        """The answers for ``keys``, in their order; raises what the remote raises."""
        try:
            found = remote.get_many(keys, version=version)
        except _DECODE_ERRORS:
            return [self.get(remote, key, version, life=life) for key in keys]  # to find out which one it is
        return [
            (found[key], self._life(remote, key, version) if life else None) if key in found else (MISSING, None)
            for key in keys
        ]

    async def aget(self, remote: BaseCache, key: Any, version: Any, *, life: bool = True) -> Answer:
        """As ``get``, by the remote's own async methods."""
        try:
            value = await remote_async(remote, "get")(key, MISSING, version=version)
        except _DECODE_ERRORS:
            return UNREADABLE, None
        return value, None if value is MISSING or not life else await self._alife(remote, key, version)

    async def aget_many(self, remote: BaseCache, keys: Sequence[Any], version: Any, *, life: bool = True) -> list[Answer]:
        """As ``get_many``, by the remote's own async methods."""
        try:
            found = await remote_async(remote, "get_many")(keys, version=version)
        except _DECODE_ERRORS:
            return [await self.aget(remote, key, version, life=life) for key in keys]
        return [
            (found[key], await self._alife(remote, key, version) if life else None) if key in found else (MISSING, None)
            for key in keys
        ]

    def _life(self, remote: BaseCache, key: Any, version: Any) -> float | None:
        for name in ("pttl", "ttl"):
            ask = getattr(remote, name, None)
            if callable(ask) and not inspect.iscoroutinefunction(ask):
                return _seconds(name, ask(key, version=version))
        return None

    async def _alife(self, remote: BaseCache, key: Any, version: Any) -> float | None:
        for name in ("pttl", "ttl"):
            ask = getattr(remote, f"a{name}", None)
            if inspect.iscoroutinefunction(ask):
                return _seconds(name, await ask(key, version=version))
        if callable(getattr(remote, "pttl", None)) or callable(getattr(remote, "ttl", None)):
            return await sync_to_async(self._life)(remote, key, version)
        return None


def _seconds(name: str, left: float | None) -> float | None:
    """What ``pttl()`` or ``ttl()`` returned, in seconds of life: clients say "does not expire" as ``None`` or -1."""
    if left is None or left == -1:
        return None
    # Redis rounds TTL to the nearest second: up to half a second more than there is.
    return max(0.0, left / 1000 if name == "pttl" else left - 0.5)


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
