"""The local tier of a ``TieredCache``, as ``cache.local`` shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieredcache.entries import NO_TIMES, Times

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from tieredcache.tier import LocalTier


class Local:
    """The local tier of one ``TieredCache``, as its users see it. Nothing here touches the remote tier."""

    def __init__(self, tier: LocalTier, local_key: Callable[[Any, Any], Hashable]) -> None:
        self._tier = tier
        self.local_key = local_key

    def __len__(self) -> int:
        """The number of local copies, those past their deadline included until they are met or evicted."""
        return len(self._tier)

    def clear(self) -> None:
        """Forget every local copy."""
        self._tier.clear()

    def forget(self, key: Any, version: Any = None) -> None:
        """Forget the local copy of ``key``, if there is one."""
        self._tier.forget(self.local_key(key, version))

    @property
    def in_outage(self) -> bool:
        """Whether the remote could not be read when it was tried last."""
        return self._tier.gate.outage is not None

    def times(self, key: Any, version: Any = None) -> Times:
        """When the local copy of ``key`` was read, and until when it is served; all in the past where there is none."""
        entry = self._tier.index.get(self.local_key(key, version))
        return NO_TIMES if entry is None else Times(entry.read_at, entry.served_until, entry.expires)
