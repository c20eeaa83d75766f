"""The local tier of a ``TieredCache``, as ``cache.local`` shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieredcache.entries import NEVER

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
        outage = self._tier.gate.outage
        return outage is not None and outage.of_reads

    def times(self, key: Any, version: Any = None) -> tuple[float, float]:
        """The deadline of the local copy of ``key`` and when the remote entry expires; in the past without a copy."""
        entry = self._tier.index.get(self.local_key(key, version))
        return (NEVER, NEVER) if entry is None else (entry.served_until, entry.expires)
