"""Read-through lookup tables: one cache entry holds a table, and each process indexes its local copy once."""

from tieredcache.lookups.table import LookupTable

__all__ = ["LookupTable"]
