"""The settings: what ``CACHES`` may say, and the one local tier that each configuration has in this process."""

from tieredcache.config.excluded import EXCLUDED, Excluded
from tieredcache.config.options import (
    LRUOptions,
    Mistake,
    Number,
    TieredOptions,
    given,
    read_lru_options,
    read_tiered_options,
)

__all__ = [
    "EXCLUDED",
    "Excluded",
    "LRUOptions",
    "Mistake",
    "Number",
    "TieredOptions",
    "given",
    "read_lru_options",
    "read_tiered_options",
]
