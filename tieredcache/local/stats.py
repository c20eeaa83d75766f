"""The figures that a cache hands out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stats:
    """What this process has counted since its store was made; nothing resets it.

    Of an ``LRUCache``, all else that concerns a remote is 0.
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
    """Remote answers that were not kept: the key's local timeout is 0, the value cannot be pickled or decoded, or takes more
    than an eighth of ``MAX_BYTES``, the remote entry was about to expire, or a write came in between. Of an ``LRUCache``,
    values that take more than an eighth."""
    prefetched: int = 0
    """Remote answers that were brought along with another key, and kept."""
    prefetch_used: int = 0
    """Of these, those that were read later."""
    refreshed_early: int = 0
    """Values that were computed before they expired."""
    compared: int = 0
    """Hits that were compared with the remote's answer: ``STALENESS_SAMPLE``. They count as reads of the remote."""
    compared_stale: int = 0
    """Of these, those of which it was another."""
    oldest_stale_seconds: float = 0
    """The most seconds since such a copy was read."""
    entries: int = 0
    """Local copies held now, those past their deadline included until they are met or evicted."""
    max_entries: int = 0
    """The capacity: ``MAX_ENTRIES``."""
    bytes: int = 0
    """What they take, estimated; 0 without a limit, because then nothing is estimated."""
    max_bytes: int = 0
    """The capacity in bytes; 0: no limit. ``MAX_BYTES``."""

    @property
    def hit_ratio(self) -> float:
        """The share of reads answered by the local tier, 0.0 to 1.0; 0.0 before the first read."""
        reads = self.hits + self.remote_hits + self.misses
        return self.hits / reads if reads else 0.0
