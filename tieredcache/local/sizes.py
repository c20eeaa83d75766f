"""What an entry takes in memory, estimated: its value, its key, and its share of the tables."""

from __future__ import annotations

import sys
from typing import Any, Final

TIER_ENTRY: Final = 330
"""Bytes of an entry of a local tier besides its key and its value, the tables' slots included: measured."""
LRU_ENTRY: Final = 190
"""The same in an ``LRUCache``."""
SHARE: Final = 8
"""A value that takes more than the limit divided by this is not kept: a few such would drive out all else."""

_SMALL: Final = range(-5, 257)  # of each of these ints there is one
_WHOLE: Final = (str, bytes, bytearray, float, complex)  # no parts, and the size of each is its own


def size_of(value: Any, most: int) -> int:
    """The bytes that ``value`` takes, with all that it holds; each part counts once. Beyond ``most`` it is not counted on.

    What all of the process has in common (``None``, small ints, classes, names as the keys of a dict) counts nothing. Raises
    what the value's own code raises.
    """
    if type(value) in _WHOLE:
        return sys.getsizeof(value)
    total, pending, seen = 0, [value], set()
    while pending and total <= most:
        item = pending.pop()
        kind = type(item)
        if item is None or kind is bool or isinstance(item, type) or (kind is int and item in _SMALL):
            continue
        if kind is not int and kind is not float:  # numbers are seldom shared, and many
            if id(item) in seen:
                continue
            seen.add(id(item))
        total += sys.getsizeof(item)
        if issubclass(kind, dict):
            # Copied in one step each: another thread may change it.
            keys, values = [*dict.keys(item)], [*dict.values(item)]
            pending += [*values, *(key for key in keys if not (type(key) is str and key.isidentifier()))]
        elif isinstance(item, (list, tuple, set, frozenset)):
            pending += item
        elif kind not in _WHOLE:
            pending += vars(item).values() if hasattr(item, "__dict__") else ()
    return total
