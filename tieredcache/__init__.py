"""A two-tier cache for Django: the process's own memory in front of any remote cache."""

from tieredcache.freshness import fresh
from tieredcache.stats import Stats

__all__ = ["Stats", "fresh"]
