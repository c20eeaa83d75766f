"""Answers cache reads from the process's own memory and falls through to any Django cache."""

from tieredcache.errors import RemoteOutage
from tieredcache.freshness import fresh
from tieredcache.stats import Stats

__all__ = ["RemoteOutage", "Stats", "fresh"]
