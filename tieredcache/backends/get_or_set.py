"""``get_or_set`` of both backends: one thread or task of this process computes a value, the others wait for it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from tieredcache.local.entries import MISSING
from tieredcache.local.inflight import Computation

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tieredcache.backends.lru import LRUCache
    from tieredcache.backends.tiered import TieredCache


class Request:
    """One call of ``get_or_set``. ``default``: the value, or the callable that computes it.

    ``stores``: tells whether a value can be stored now. In an outage it cannot, and no caller waits for a dead server to say
    so. ``threaded``: tells whether async writes are done in Django's thread for sync code. ``lock``: a value is stored under
    it.
    """

    __slots__ = ("cache", "default", "key", "lock", "stores", "threaded", "timeout", "version")

    def __init__(
        self,
        cache: TieredCache | LRUCache,
        stores: Callable[[Any, Any], bool],
        threaded: Callable[[], bool],
        lock: AbstractContextManager[Any],
        *asked: Any,
    ) -> None:
        self.cache = cache
        self.stores = stores
        self.threaded = threaded
        self.lock = lock
        self.key, self.default, self.timeout, self.version = asked

    def answer(self) -> Any:
        """The value of the key; where there is none, what the default is, added to the cache."""
        inflight = self.cache.inflight
        finished = inflight.finished
        if (value := self._get()) is not MISSING:
            return value
        if not callable(self.default):
            return self._add(self.default)
        own = Computation(self.cache.local_key(self.key, self.version))
        return inflight.share(own, lambda _: self._compute(own, finished))

    def _compute(self, own: Computation, finished: int) -> Any:
        # Once more where another has finished since the look above.
        if self.cache.inflight.finished != finished and (value := self._get()) is not MISSING:
            return value
        own.starts()
        value = self.default()
        # Another process may have added one first; or the key was written meanwhile, and this value is for nobody else.
        return self.cache.get(self.key, value, self.version) if self._store(own, value) else value

    def _store(self, own: Computation, value: Any) -> bool:
        """Add the value, unless that cannot or must not be; whether the cache may know better than ``value``."""
        with self.lock:
            if own.stores() and self.stores(self.key, self.version):
                self.cache.add(self.key, value, self.timeout, self.version)
                return True
        return own.forgotten

    async def aanswer(self) -> Any:
        """As ``answer``; what the default returns may be awaitable, and is awaited."""
        inflight = self.cache.inflight
        finished = inflight.finished
        if (value := await self._aget()) is not MISSING:
            return value
        if not callable(self.default):
            return await self._aadd(self.default)
        own = Computation(self.cache.local_key(self.key, self.version))
        return await inflight.ashare(own, lambda _: self._acompute(own, finished))

    async def _acompute(self, own: Computation, finished: int) -> Any:
        if self.cache.inflight.finished != finished and (value := await self._aget()) is not MISSING:
            return value
        own.starts()
        value = self.default()
        if inspect.isawaitable(value):
            value = await value
        # In one step: sync code of this task, which uses the same thread, could write in between, and must not wait for it.
        store = sync_to_async(self._store) if self.threaded() else self._astore
        return await self.cache.aget(self.key, value, self.version) if await store(own, value) else value

    async def _astore(self, own: Computation, value: Any) -> bool:
        with self.lock:
            if own.stores() and self.stores(self.key, self.version):
                await self.cache.aadd(self.key, value, self.timeout, self.version)
                return True
        return own.forgotten

    def _get(self) -> Any:
        return self.cache.get(self.key, MISSING, self.version)

    async def _aget(self) -> Any:
        return await self.cache.aget(self.key, MISSING, self.version)

    def _add(self, value: Any) -> Any:
        if not self.stores(self.key, self.version):
            return value
        self.cache.add(self.key, value, self.timeout, self.version)
        return self.cache.get(self.key, value, self.version)

    async def _aadd(self, value: Any) -> Any:
        if not self.stores(self.key, self.version):
            return value
        await self.cache.aadd(self.key, value, self.timeout, self.version)
        return await self.cache.aget(self.key, value, self.version)
