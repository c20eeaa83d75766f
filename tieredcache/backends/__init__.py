"""The cache backends: what ``BACKEND`` in ``CACHES`` names."""

from tieredcache.backends.lru import LRUCache
from tieredcache.backends.tiered import TieredCache

__all__ = ["LRUCache", "TieredCache"]
