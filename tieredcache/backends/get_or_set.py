"""``get_or_set`` of both backends: one thread or task of this process computes a value, the others wait for it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from tieredcache.local.entries import MISSING
from tieredcache.local.inflight import Computation

if TYPE_CHECKING:
    from collections.abc import Hashable

    from tieredcache.local.inflight import Inflight


class GetOrSet(BaseCache):
    """Adds it to a backend with ``inflight`` and ``local_key``, whose reads and writes are here called by Django's names."""

    @property
    def inflight(self) -> Inflight:
        """The values that threads and tasks of this process are computing, by local key."""
        raise NotImplementedError

    def local_key(self, key: Any, version: Any = None) -> Hashable:
        """The local tier's key for ``(key, version)``."""
        raise NotImplementedError

    def get_or_set(self, key: Any, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> Any:
        """The value of ``key``; where there is none, ``default``, or what it returns, is added for ``timeout`` seconds.

        A callable is called by one thread or task of this process; the others wait for it, for a few seconds at most. Raises
        what it raises.
        """
        finished = self.inflight.finished
        if (value := self.get(key, MISSING, version)) is not MISSING:
            return value
        own = Computation(self.local_key(key, version))

        def compute(_: Computation | None) -> Any:
            # Once more where another has finished since the read above.
            if self.inflight.finished != finished and (value := self.get(key, MISSING, version)) is not MISSING:
                return value
            own.starts()
            return added(default())

        def added(value: Any) -> Any:
            # Another process may have added one first; or the key was written meanwhile, and this value is for nobody else.
            return self.get(key, value, version) if self._store_own(own, key, value, timeout, version) else value

        return self.inflight.share(own, compute) if callable(default) else added(default)

    async def aget_or_set(self, key: Any, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> Any:
        """As ``get_or_set``; what ``default`` returns may be awaitable, and is awaited."""
        finished = self.inflight.finished
        if (value := await self.aget(key, MISSING, version)) is not MISSING:
            return value
        own = Computation(self.local_key(key, version))

        async def compute(_: Computation | None) -> Any:
            if self.inflight.finished != finished and (value := await self.aget(key, MISSING, version)) is not MISSING:
                return value
            own.starts()
            value = default()
            return await added(await value if inspect.isawaitable(value) else value)

        async def added(value: Any) -> Any:
            stored = await self._astore_own(own, key, value, timeout, version)
            return await self.aget(key, value, version) if stored else value

        return await (self.inflight.ashare(own, compute) if callable(default) else added(default))

    def _store_own(self, own: Computation, key: Any, value: Any, timeout: Any, version: Any) -> bool:
        """Add what was computed, unless that cannot or must not be; whether the cache may know better than ``value``."""
        try:
            if own.stores() and self._stores(key, version):
                self.add(key, value, timeout, version)
                return True
            return own.forgotten
        finally:
            self.inflight.stored(own)

    async def _astore_own(self, own: Computation, key: Any, value: Any, timeout: Any, version: Any) -> bool:
        try:
            if own.stores() and self._stores(key, version):
                await self.aadd(key, value, timeout, version)
                return True
            return own.forgotten
        finally:
            self.inflight.stored(own)

    def _stores(self, key: Any, version: Any) -> bool:  # noqa: ARG002 - of use to a remote
        """Whether a value can be stored now: in an outage no caller waits for a dead server to say that it cannot."""
        return True
