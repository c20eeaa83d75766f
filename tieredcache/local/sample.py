"""How stale the local copies are: a share of the hits is sent to the remote after all, and the two answers are compared.

A tier with such a sample lets the hit path serve none of its entries, so a tier without one does not look for it there.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from tieredcache.local.entries import MISSING, absent, packed, time_limits, unpacked

if TYPE_CHECKING:
    from collections.abc import Hashable

    from tieredcache.local.entries import Entry
    from tieredcache.local.tier import LocalTier, Read


def as_it_is(kept: Any) -> Any:
    """The ``unpack`` of a shared value in such a tier."""
    return kept


def again(tier: LocalTier, key: Any, version: Any, local_key: Hashable) -> Read | None:
    """The read by which a hit is compared, if it is one of the sample."""
    if random.random() >= tier.options.staleness_sample:  # noqa: S311 - a sample, not a secret
        return None
    tier.not_hits += 1
    read = tier.begin(key, version, local_key)
    read.copy = tier.index.get(local_key)
    return read


def compare(tier: LocalTier, read: Read, value: Any) -> None:
    """Count whether ``value``, the answer of the remote, is what the local copy would have answered."""
    copy: Entry | None = getattr(read, "copy", None)
    if copy is None or tier.mark(read.local_key) is not read.mark:  # no hit; or this process has written meanwhile
        return
    try:
        same = _is_same(copy, value)
    except AttributeError:  # forgotten meanwhile
        return
    except Exception as error:
        if isinstance(error, (TimeoutError, *time_limits())):
            raise
        return  # the value's own code: these cannot be compared
    tier.compared += 1
    if not same:
        tier.compared_stale += 1
        tier.oldest_stale_seconds = max(tier.oldest_stale_seconds, read.started - copy.read_at)


def _is_same(copy: Entry, value: Any) -> bool:
    kept = copy.value
    if copy.unpack is absent or value is MISSING:
        return copy.unpack is absent and value is MISSING
    # The pickles first: an object may be equal to nothing but itself.
    return bool(kept == packed(value)) or bool(unpacked(kept) == value)
