"""Both ways to call a cache, with one spelling."""

import asyncio


class Sync:
    """Calls a cache's methods as they are."""

    def __init__(self, cache):
        self._cache = cache

    def __getattr__(self, name):
        return getattr(self._cache, name)


class Async:
    """Calls the async form of each method, in an event loop of its own."""

    def __init__(self, cache):
        self._cache = cache

    def __getattr__(self, name):
        method = getattr(self._cache, f"a{name}")

        def call(*args, **kwargs):
            return asyncio.run(method(*args, **kwargs))

        return call
