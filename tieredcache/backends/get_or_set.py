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

    __slots__ = ("_cache", "_default", "_key", "_lock", "_stores", "_threaded", "_timeout", "_version")

    def __init__(
        self,
        cache: TieredCache | LRUCache,
        stores: Callable[[Any, Any], bool],
        threaded: Callable[[], bool],
        lock: AbstractContextManager[Any],
        *asked: Any,
    ) -> None:
        self._cache = cache
        self._stores = stores
        self._threaded = threaded
        self._lock = lock
        self._key, self._default, self._timeout, self._version = asked

    def answer(self) -> Any:
        """The value of the key; where there is none, what the default is, added to the cache."""
        inflight = self._cache.inflight
        finished = inflight.finished
        if (value := self._get()) is not MISSING:
            return value
        if not callable(self._default):
            return self._add(self._default)
        own = Computation(self._cache.local_key(self._key, self._version))
        return inflight.share(own, lambda _: self._compute(own, finished))

    def _compute(self, own: Computation, finished: int) -> Any:
        # Once more where another has finished since the look above.
        if self._cache.inflight.finished != finished and (value := self._get()) is not MISSING:
            return value
        own.starts()
        value = self._default()
        # Another process may have added one first; or the key was written meanwhile, and this value is for nobody else.
        return self._cache.get(self._key, value, self._version) if self._store(own, value) else value

    def _store(self, own: Computation, value: Any) -> bool:
        """Add the value, unless that cannot or must not be; whether the cache may know better than ``value``."""
        with self._lock:
            if own.stores() and self._stores(self._key, self._version):
                self._cache.add(self._key, value, self._timeout, self._version)
                return True
        return own.forgotten

    async def aanswer(self) -> Any:
        """As ``answer``; what the default returns may be awaitable, and is awaited."""
        inflight = self._cache.inflight
        finished = inflight.finished
        if (value := await self._aget()) is not MISSING:
            return value
        if not callable(self._default):
            return await self._aadd(self._default)
        own = Computation(self._cache.local_key(self._key, self._version))
        return await inflight.ashare(own, lambda _: self._acompute(own, finished))

    async def _acompute(self, own: Computation, finished: int) -> Any:
        if self._cache.inflight.finished != finished and (value := await self._aget()) is not MISSING:
            return value
        own.starts()
        value = self._default()
        if inspect.isawaitable(value):
            value = await value
        # In one step: sync code of this task, which uses the same thread, could write in between, and must not wait for it.
        store = sync_to_async(self._store) if self._threaded() else self._astore
        return await self._cache.aget(self._key, value, self._version) if await store(own, value) else value

    async def _astore(self, own: Computation, value: Any) -> bool:
        with self._lock:
            if own.stores() and self._stores(self._key, self._version):
                await self._cache.aadd(self._key, value, self._timeout, self._version)
                return True
        return own.forgotten

    def _get(self) -> Any:
        return self._cache.get(self._key, MISSING, self._version)

    async def _aget(self) -> Any:
        return await self._cache.aget(self._key, MISSING, self._version)

    def _add(self, value: Any) -> Any:
        if not self._stores(self._key, self._version):
            return value
        self._cache.add(self._key, value, self._timeout, self._version)
        return self._cache.get(self._key, value, self._version)

    async def _aadd(self, value: Any) -> Any:
        if not self._stores(self._key, self._version):
            return value
        await self._cache.aadd(self._key, value, self._timeout, self._version)
        return await self._cache.aget(self._key, value, self._version)
