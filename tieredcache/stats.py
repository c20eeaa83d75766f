"""What a store counts, and the figures it hands out."""

from __future__ import annotations

import itertools
from dataclasses import dataclass


class Counter:
    """Counts without a lock: ``add`` is one C call, which the interpreter does not interrupt."""

    __slots__ = ("_count", "add")

    def __init__(self) -> None:
        self._count = itertools.count()
        self.add = self._count.__next__

    def value(self) -> int:
        # To look at it without counting there is only its repr, "count(5)".
        return int(repr(self._count)[6:-1])


@dataclass(frozen=True, slots=True)
class Stats:
    """What this process has counted since its store was made.

    ``hits``: reads answered by the local tier, remembered absences included.
    ``misses``: reads answered by neither tier.
    ``remote_hits``: reads answered by the remote tier.
    ``stale_served``: hits served past their deadline.
    ``forgotten``: local copies dropped by writes, deletes and clears.
    ``evictions``: local copies dropped to make room.
    ``expired``: reads that found a local copy past its deadline.
    ``remote_errors``: remote operations that raised.
    ``skipped``: remote answers that were not kept: the key's local timeout is 0, the value cannot be pickled or decoded,
    the remote entry was about to expire, or a write came in between.
    ``entries``: local copies held now. ``max_entries``: the capacity.
    """

    hits: int = 0
    misses: int = 0
    remote_hits: int = 0
    stale_served: int = 0
    forgotten: int = 0
    evictions: int = 0
    expired: int = 0
    remote_errors: int = 0
    skipped: int = 0
    entries: int = 0
    max_entries: int = 0

    @property
    def hit_ratio(self) -> float:
        """The share of reads answered by the local tier, 0.0 to 1.0; 0.0 before the first read."""
        reads = self.hits + self.remote_hits + self.misses
        return self.hits / reads if reads else 0.0
