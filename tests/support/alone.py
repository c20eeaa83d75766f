"""A remote to compare a tier with in async code: what a LocMemCache is, without a thread for each call."""

import inspect

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.locmem import LocMemCache


class AsyncLocMemCache(LocMemCache):
    """A LocMemCache with async methods of its own, whose ``aget_or_set`` awaits what the callable returns, as ours does."""

    async def aget(self, key, default=None, version=None):
        return self.get(key, default, version)

    async def aadd(self, key, value, timeout=DEFAULT_TIMEOUT, version=None):
        return self.add(key, value, timeout, version)

    async def aset(self, key, value, timeout=DEFAULT_TIMEOUT, version=None):
        return self.set(key, value, timeout, version)

    async def adelete(self, key, version=None):
        return self.delete(key, version)

    async def aget_or_set(self, key, default, timeout=DEFAULT_TIMEOUT, version=None):
        missing = object()
        value = self.get(key, missing, version)
        if value is missing:
            value = default() if callable(default) else default
            if inspect.isawaitable(value):
                value = await value
            self.add(key, value, timeout, version)
            value = self.get(key, value, version)
        return value
