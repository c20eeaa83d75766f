"""The async methods of a cache that never waits: they call the sync ones, without a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from tieredcache.backends.get_or_set import OncePerProcess

if TYPE_CHECKING:
    from collections.abc import Iterable


class Inline(OncePerProcess):
    """Calls the sync methods where Django's own would call them in a thread."""

    async def aget(self, key: Any, default: Any = None, version: Any = None) -> Any:
        """As ``get``."""
        return self.get(key, default, version)

    async def aget_many(self, keys: Iterable[Any], version: Any = None) -> dict[Any, Any]:
        """As ``get_many``."""
        return self.get_many(keys, version)

    async def ahas_key(self, key: Any, version: Any = None) -> bool:
        """As ``has_key``."""
        return self.has_key(key, version)

    async def aset(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> None:
        """As ``set``."""
        self.set(key, value, timeout, version)

    async def aadd(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """As ``add``."""
        return self.add(key, value, timeout, version)

    async def atouch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """As ``touch``."""
        return self.touch(key, timeout, version)

    async def aincr(self, key: Any, delta: int = 1, version: Any = None) -> Any:
        """As ``incr``."""
        return self.incr(key, delta, version)

    async def adelete(self, key: Any, version: Any = None) -> bool:
        """As ``delete``."""
        return self.delete(key, version)

    async def aset_many(self, data: dict[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> list[Any]:
        """As ``set_many``."""
        return self.set_many(data, timeout, version)

    async def adelete_many(self, keys: Iterable[Any], version: Any = None) -> None:
        """As ``delete_many``."""
        self.delete_many(keys, version)

    async def aincr_version(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """As ``incr_version``."""
        return self.incr_version(key, delta, version)

    async def aclear(self) -> None:
        """As ``clear``."""
        self.clear()

    async def aclose(self, **kwargs: Any) -> None:
        """As ``close``: nothing."""
