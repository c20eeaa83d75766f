"""Which entry goes when a local tier is full: what was read once goes before what is read again.

Exact LRU fills itself with keys that are read once, and a scan takes out all that is read always. But a hit must cost no
more than it does, so nothing is noted in it: it moves its entry to the head of lru-dict's list, and that is all that is
known. Therefore:

- A key that is filled again soon after it has left, or while it has a copy, is one that is read again: its entry gets
  ``LIVES`` lives. The keys that have left are remembered as 32 bits of their hash, ``GHOSTS`` for each entry or up to twice
  as many. (The ghost list of 2Q: Johnson and Shasha, VLDB 1994.)
- An entry without lives goes when it reaches the tail, as under LRU. One with lives returns to the head: with one
  less, or with all of them where it has been hit meanwhile. (The counters in the main queue of S3-FIFO: Yang and others,
  SOSP 2023, and of GCLOCK before it.) One past its deadline goes in any case.
- Whether the entry at the tail has been hit shows in the order. Each is numbered when it is placed at the head. What has
  been at the tail before was last used before this one; if it was placed after this one, this one was used later, too.
  A hit that comes right after the fill does not show: it says little.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

    from lru import LRU

    from tieredcache.local.entries import Entry

LIVES: Final = 6
TRIES: Final = 8
"""Entries that one eviction moves to the head, at most: a bound on what it costs."""
GHOSTS: Final = 4
BITS: Final = 0xFFFFFFFF


class ReadAgain:
    """The policy of one store, under whose lock it is called. ``moved``: lookups in lru-dict that were no reads.

    The store numbers each entry that it places at the head, by ``placed``, and gives one that takes the place of a copy
    its ``LIVES``.
    """

    def __init__(self) -> None:
        self.moved: int = 0
        self.placed: int = 0  # the number of the entry that was placed at the head last
        self._passed = 0  # the latest number that has been at the tail
        self._room = 0  # entries that the table of ghosts is large enough for
        self._ghosts = array("I", (0, 0))  # in pairs, the later one first
        self._mask = 0  # makes of a hash the place of its pair

    def last(self, lru: LRU[Any, Entry], entry: Entry) -> tuple[Hashable, Entry] | None:
        """What is to go and make room for ``entry``; ``None`` where nothing is there. Others may have moved to the head."""
        item, now = lru.peek_last_item(), entry.read_at
        for _ in range(TRIES):
            if item is None:
                break
            key, entry = item
            used = entry.placed < self._passed
            if not used:
                self._passed = entry.placed
            late = entry.until < now
            if entry.lives and not late:
                entry.lives = LIVES if used else entry.lives - 1
            elif self.remember(key, len(lru)) and not late:
                self._forget(key)
                entry.lives = LIVES
            else:
                break
            self.placed = entry.placed = self.placed + 1
            lru[key]
            self.moved += 1
            item = lru.peek_last_item()
        return item

    def remember(self, key: Hashable, entries: int) -> bool:
        """Remember that ``key`` leaves; whether it had left before.

        ``entries``: how many there are, by which the table is as large as it has to be.
        """
        if entries > self._room:
            size = 1 << (GHOSTS * entries).bit_length()
            self._ghosts, self._mask, self._room = array("I", bytes(4 * size)), size - 2, size // GHOSTS
        ghosts, bits = self._ghosts, hash(key) & BITS
        first = bits & self._mask
        latest = ghosts[first]
        if bits in (latest, ghosts[first + 1]):
            return True
        ghosts[first], ghosts[first + 1] = bits, latest
        return False

    def _forget(self, key: Hashable) -> None:
        """``key`` stays: its lives are what is known of it."""
        bits = hash(key) & BITS
        first = bits & self._mask
        self._ghosts[first + (self._ghosts[first] != bits)] = 0
