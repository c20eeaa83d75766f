"""Which values every reader may share, because nobody can change them."""

from __future__ import annotations

import datetime
import decimal
import uuid
import zoneinfo
from typing import Any

# Exact types only: an instance of a subclass may carry a __dict__, and with it anything.
_ATOMS = {
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    range,
    decimal.Decimal,
    datetime.date,
    datetime.timedelta,
    datetime.timezone,
    uuid.UUID,
}
_ZONED = {datetime.datetime, datetime.time}
_ZONES = {type(None), datetime.timezone, zoneinfo.ZoneInfo}
_CONTAINERS = {tuple, frozenset}


def share_instances_of(*types: type) -> None:
    """Let every reader share instances of exactly these types; call it only for types that cannot be changed."""
    _ATOMS.update(types)


def is_immutable(value: Any) -> bool:
    """Whether ``value`` is proved immutable, deeply, by exact types; ``False`` where the proof fails.

    ``range`` counts because its bounds are ints: ``range`` stores what ``__index__`` returned.
    """
    if type(value) in _ATOMS:
        return True
    pending = [value]
    seen = set()  # parts may be shared, and then there are more paths to them than anybody can walk
    while pending:
        item = pending.pop()
        kind = type(item)
        if kind in _ATOMS:
            continue
        if kind in _CONTAINERS:
            if id(item) not in seen:
                seen.add(id(item))
                pending.extend(item)
        elif kind not in _ZONED or type(item.tzinfo) not in _ZONES:
            return False
    return True
