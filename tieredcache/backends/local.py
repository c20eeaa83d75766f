"""The local tier of a ``TieredCache``, as ``cache.local`` shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from tieredcache.config.registry import Tier


class Local:
    """The local tier of one ``TieredCache``, as its users see it. Nothing here touches the remote tier's entries."""

    def __init__(self, tier: Tier, local_key: Callable[[Any, Any], Hashable]) -> None:
        self._tier = tier
        self._local_key = local_key

    def __eq__(self, other: object) -> bool:
        """Whether both are views of one local tier: metrics report each tier once."""
        return isinstance(other, Local) and other._tier is self._tier

    def __hash__(self) -> int:
        return hash(self._tier)

    def __len__(self) -> int:
        """The number of local copies, those past their deadline included until they are met or evicted."""
        return len(self._tier)

    def clear(self) -> None:
        """Forget every local copy."""
        self._tier.forget_all()

    def forget(self, key: Any, version: Any = None) -> None:
        """Forget the local copy of ``key``, if there is one."""
        self._tier.forget(self._local_key(key, version))

    @property
    def in_outage(self) -> bool:
        """Whether the remote, or one of its servers, is known to be down."""
        return any(state.open for state in self._tier.circuit.failing.copy().values())
