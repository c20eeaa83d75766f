"""What a store counts, and the figures it hands out."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Counter:
    """Counts without a lock: ``add`` is one C call, which the interpreter does not interrupt."""

    __slots__ = ("_count", "add")

    def __init__(self) -> None:
        self._count = itertools.count()
        self.add: Callable[[], int] = self._count.__next__

    def value(self) -> int:
        # To look at it without counting there is only its repr, "count(5)".
        return int(repr(self._count)[6:-1])


@dataclass(frozen=True, slots=True)
class Stats:
    """What this process has counted since its store was made; nothing resets it.

    Of an ``LRUCache``, ``remote_hits``, ``stale_served``, ``remote_errors`` and ``skipped`` are 0.
    """

    hits: int = 0
    """Reads answered by the local tier, remembered absences included."""
    misses: int = 0
    """Reads answered by neither tier."""
    remote_hits: int = 0
    """Reads answered by the remote tier."""
    stale_served: int = 0
    """Hits served past their deadline."""
    forgotten: int = 0
    """Local copies dropped by writes, deletes and clears."""
    evictions: int = 0
    """Local copies dropped to make room."""
    expired: int = 0
    """Reads that found a local copy past its deadline."""
    remote_errors: int = 0
    """Remote operations that raised."""
    skipped: int = 0
    """Remote answers that were not kept: the key's local timeout is 0, the value cannot be pickled or decoded, the remote
    entry was about to expire, or a write came in between."""
    entries: int = 0
    """Local copies held now, those past their deadline included until they are met or evicted."""
    max_entries: int = 0
    """The capacity: ``MAX_ENTRIES``."""

    @property
    def hit_ratio(self) -> float:
        """The share of reads answered by the local tier, 0.0 to 1.0; 0.0 before the first read."""
        reads = self.hits + self.remote_hits + self.misses
        return self.hits / reads if reads else 0.0
