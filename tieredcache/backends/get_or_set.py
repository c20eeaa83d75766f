"""``get_or_set`` of both backends: one thread or task of this process computes a value, the others wait for it."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from tieredcache.config.options import BETA
from tieredcache.freshness import fresh
from tieredcache.local.entries import MISSING
from tieredcache.local.inflight import Computation

if TYPE_CHECKING:
    from collections.abc import Hashable

    from tieredcache.local.early import Early
    from tieredcache.local.inflight import Inflight


class GetOrSet(BaseCache):
    """Adds it to a backend with ``local_key``, whose reads and writes are here called by Django's names."""

    inflight: Inflight  # the values that threads and tasks of this process are computing, by local key
    early: Early  # those that are computed before they expire
    refresh_early: float  # the option

    def local_key(self, key: Any, version: Any = None) -> Hashable:
        """The local tier's key for ``(key, version)``."""
        raise NotImplementedError

    def get_or_set(
        self, key: Any, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None, refresh_early: Any = None
    ) -> Any:
        """The value of ``key``; where there is none, ``default``, or what it returns, is added for ``timeout`` seconds.

        A callable is called by one thread or task of this process; the others wait for it, for a few seconds at most. Raises
        what it raises. ``refresh_early``: of this key, in place of the option.
        """
        beta = self.refresh_early if refresh_early is None else BETA(refresh_early, "refresh_early")
        finished = self.inflight.finished
        value = self.get(key, MISSING, version)
        if value is not MISSING and not (beta and self.early.due and callable(default) and self._is_due(key, version)):
            return value
        own = Computation(self.local_key(key, version), beta, value)
        if not callable(default):
            return self._store_own(own, key, default, timeout, version)
        # No closure: its cells are made at each hit as well, and would take as long as the rest of it.
        compute = partial(self._compute, own, finished, default, key, timeout=timeout, version=version)
        try:
            return self.inflight.share(own, compute)
        except Exception as error:
            if self.early.failed(own, error):
                return own.old
            raise

    def _compute(self, own: Computation, finished: int, default: Any, key: Any, *, timeout: Any, version: Any) -> Any:
        # Once more where another has finished since the value was not found.
        if self.inflight.finished != finished and (value := self.get(key, MISSING, version)) is not MISSING:
            return value
        self.inflight.starts(own)
        value = default()
        self.early.took(own)
        return self._store_own(own, key, value, timeout, version)

    async def aget_or_set(
        self, key: Any, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None, refresh_early: Any = None
    ) -> Any:
        """As ``get_or_set``; what ``default`` returns may be awaitable, and is awaited."""
        beta = self.refresh_early if refresh_early is None else BETA(refresh_early, "refresh_early")
        finished = self.inflight.finished
        value = await self.aget(key, MISSING, version)
        if value is not MISSING and not (beta and self.early.due and callable(default) and self._is_due(key, version)):
            return value
        own = Computation(self.local_key(key, version), beta, value)
        if not callable(default):
            return await self._astore_own(own, key, default, timeout, version)
        compute = partial(self._acompute, own, finished, default, key, timeout=timeout, version=version)
        try:
            return await self.inflight.ashare(own, compute)
        except Exception as error:
            if self.early.failed(own, error):
                return own.old
            raise

    async def _acompute(self, own: Computation, finished: int, default: Any, key: Any, *, timeout: Any, version: Any) -> Any:
        if self.inflight.finished != finished and (value := await self.aget(key, MISSING, version)) is not MISSING:
            return value
        self.inflight.starts(own)
        value = default()
        if inspect.isawaitable(value):
            value = await value
        self.early.took(own)
        return await self._astore_own(own, key, value, timeout, version)

    def _is_due(self, key: Any, version: Any) -> bool:
        """Whether this caller is to compute the value early that it has found."""
        return self.early.is_due(self.local_key(key, version)) and self._can_store(key, version)

    def _store_own(self, own: Computation, key: Any, value: Any, timeout: Any, version: Any) -> Any:
        """Add what was computed, unless that cannot or must not be; what the cache has then, which may know better.

        What was computed early is set, if the old value is still there: another process may have written or deleted it.
        """
        store: Any = self.add
        if own.old is not MISSING:
            with fresh():
                store = self.early.method(own.key, self.get(key, MISSING, version), self.set, self.add)
        try:
            if store and own.stores() and self._can_store(key, version):
                store(key, value, timeout, version)
            elif own.old is MISSING and not own.forgotten:
                return value
        finally:
            self.inflight.stored(own)
        # Another process may have added one first; or the key was written meanwhile, and this value is for nobody else.
        return self.get(key, value, version)

    async def _astore_own(self, own: Computation, key: Any, value: Any, timeout: Any, version: Any) -> Any:
        store: Any = self.aadd
        if own.old is not MISSING:
            with fresh():
                store = self.early.method(own.key, await self.aget(key, MISSING, version), self.aset, self.aadd)
        try:
            if store and own.stores() and self._can_store(key, version):
                await store(key, value, timeout, version)
            elif own.old is MISSING and not own.forgotten:
                return value
        finally:
            self.inflight.stored(own)
        return await self.aget(key, value, version)

    def _can_store(self, key: Any, version: Any) -> bool:  # noqa: ARG002 - of use to a remote
        """Whether a value can be stored now: in an outage no caller waits for a dead server to say that it cannot."""
        return True
