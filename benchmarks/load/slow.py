"""A remote whose reads take their time between reading and returning, as over a busy network."""

from __future__ import annotations

import time
from typing import Any

from django_redis.cache import RedisCache

SECONDS = 0.05


class SlowReads(RedisCache):
    """django-redis, but slow to answer."""

    def get(self, *args: Any, **kwargs: Any) -> Any:
        """The value as it was ``SECONDS`` ago."""
        value = super().get(*args, **kwargs)
        time.sleep(SECONDS)  # simulates latency, in which real processes write between the read and its answer
        return value

    def get_many(self, *args: Any, **kwargs: Any) -> Any:
        """As ``get``."""
        values = super().get_many(*args, **kwargs)
        time.sleep(SECONDS)  # simulates latency, as in get()
        return values
