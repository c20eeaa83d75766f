"""Answers cache reads from the process's own memory and falls through to any Django cache."""

from tieredcache.freshness import fresh
from tieredcache.handlers import cache, caches
from tieredcache.local.stats import Stats
from tieredcache.remote.failures import RemoteOutage

__all__ = ["RemoteOutage", "Stats", "cache", "caches", "fresh"]
