"""Which values every reader may share, because nobody can change them."""

from __future__ import annotations

import datetime
import decimal
import uuid
import zoneinfo
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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
    uuid.SafeUUID,
}
# These are what they are made of, and that may be instances of subclasses.
_PARTS: dict[type, Callable[[Any], Iterable[Any]]] = {
    tuple: iter,
    frozenset: iter,
    datetime.datetime: lambda moment: (moment.tzinfo,),
    datetime.time: lambda moment: (moment.tzinfo,),
    datetime.timezone: lambda zone: (zone.utcoffset(None), zone.tzname(None)),
    zoneinfo.ZoneInfo: lambda zone: (zone.key,),
    uuid.UUID: lambda number: (number.int, number.is_safe),
}


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
        if kind in _ATOMS or id(item) in seen:
            continue
        parts = _PARTS.get(kind)
        if parts is None:
            return False
        seen.add(id(item))
        pending.extend(parts(item))
    return True
