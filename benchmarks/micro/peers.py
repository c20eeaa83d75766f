"""Who is compared: an alias for each cache, ours and the peers', and what is not a Django cache at all."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from benchmarks.micro.caches import DJANGO_REDIS, LOCMEM, LRU, tiered

DELAY = 0.0005  # seconds there and back: another machine in the same data centre
KEYS = [f"catalogue:{number}" for number in range(100)]
TEXT = "x" * 100
PEERS = {
    "LRUObjectCache": "seed",
    "FallthroughCache": "fallthrough",
    "LocMemCache": "locmem",
    "django-redis": "remote",
    "Django's RedisCache": "django",
}
# It wants a newer Python than the others, and is measured where it is installed.
CACHEX_BACKEND = "django_cachex.cache.RedisCache"
CACHEX = {"cachex, tracking": "cachex"} if find_spec("django_cachex") else {}


def settings(url: str, far: str) -> dict[str, Any]:
    """``CACHES``, with one alias for each candidate. ``far``: the same server, with a delay."""

    def remote(url: str, database: int, backend: str = DJANGO_REDIS, **options: Any) -> dict[str, Any]:
        return {"BACKEND": backend, "LOCATION": f"{url}/{database}", "TIMEOUT": 3600, "OPTIONS": options}

    room = {"OPTIONS": {"MAX_ENTRIES": 2000}}
    locmem = {"BACKEND": LOCMEM, "TIMEOUT": 3600, **room}
    everything = {
        "LOCAL_TIMEOUT": 3600,
        "STALE_WHILE_REVALIDATE": 1,
        "STALE_IF_ERROR": 3600,
        "MISS_TIMEOUT": 1,
        "REMOTE_ERRORS": "ignore",
    }
    return {
        "default": tiered(**everything),
        "shared": tiered(**everything, SHARE_VALUES=True),
        "missing": tiered(LOCAL_TIMEOUT=1e-9),  # past its deadline when it is read again
        "lru": {"BACKEND": LRU, **room},
        "full": {"BACKEND": LRU, "LOCATION": "full", "OPTIONS": {"MAX_ENTRIES": 100}},
        "remote": remote(url, 1),
        "far": remote(far, 1),
        # A write forgets the copies of all tiers over its remote: most remotes have one.
        "sole": tiered("its remote", **everything),
        "its remote": remote(url, 5),
        "missing far": tiered("far", LOCAL_TIMEOUT=1e-9),
        "django": remote(url, 2, "django.core.cache.backends.redis.RedisCache"),
        "locmem": locmem,
        "near": {**locmem, "LOCATION": "near"},
        "seed": {"BACKEND": "lrucache_backend.LRUObjectCache", "LOCATION": "seed", **room},
        "fallthrough": {
            "BACKEND": "fallthrough_cache.FallthroughCache",
            "OPTIONS": {"cache_names": ["near", "remote"]},
        },
        "cachex": remote(url, 3, CACHEX_BACKEND, tracking=True),
        "cachex plain": remote(url, 4, CACHEX_BACKEND),
    }


def for_scale() -> dict[str, Any]:
    """Not Django caches: what they are made of, or could be."""
    import cachetools
    from lru import LRU

    class Bare:
        """One lookup, and nothing else."""

        def __init__(self) -> None:
            self._lru: LRU[str, Any] = LRU(2000)
            self.set = self._lru.__setitem__
            self.get = self._lru.__getitem__

    class Tools:
        """No lock either."""

        def __init__(self) -> None:
            self.kept: Any = cachetools.TTLCache(2000, 3600)
            self.set = self.kept.__setitem__
            self.get = self.kept.__getitem__

    return {"a bare lru-dict": Bare(), "cachetools.TTLCache": Tools()}


def filled(candidates: dict[str, Any], value: Any) -> dict[str, Any]:
    """The candidates, each with ``value`` under every key, read once."""
    for name, cache in candidates.items():
        for key in KEYS:
            cache.set(key, value)
            if cache.get(key) != value:
                raise RuntimeError(f"{name} does not keep what it is given")
    return candidates
