"""The cost of single calls, ours and the peers', over a real Valkey on loopback."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from benchmarks.engine import Comparison, Target, arepeat, repeat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEYS = [f"catalogue:{number}" for number in range(100)]
TEXT = "x" * 100
SMALL = {"code": "GB", "name": "United Kingdom", "rates": [1, 2, 3]}
TABLE = [
    {"code": f"{number:03}", "name": f"Country {number}", "region": "Europe", "population": number * 1000, "currency": "EUR"}
    for number in range(250)
]
PEERS = {
    "LRUObjectCache": "seed",
    "FallthroughCache": "fallthrough",
    "LocMemCache": "locmem",
    "django-redis": "remote",
    "Django's RedisCache": "django",
}


def settings(url: str) -> dict[str, Any]:
    """``CACHES``, with one alias for each candidate."""
    tiered = {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": "remote"}
    locmem = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "TIMEOUT": 3600, "OPTIONS": {"MAX_ENTRIES": 2000}}
    everything = {
        "LOCAL_TIMEOUT": 3600,
        "STALE_WHILE_REVALIDATE": 1,
        "STALE_IF_ERROR": 3600,
        "MISS_TIMEOUT": 1,
        "REMOTE_ERRORS": "ignore",
    }
    return {
        "default": {**tiered, "OPTIONS": everything},
        "shared": {**tiered, "OPTIONS": {**everything, "SHARE_VALUES": True}},
        "missing": {**tiered, "OPTIONS": {"LOCAL_TIMEOUT": 1e-9}},  # past its deadline when it is read again
        "lru": {"BACKEND": "tieredcache.backends.LRUCache", "OPTIONS": {"MAX_ENTRIES": 2000}},
        "full": {"BACKEND": "tieredcache.backends.LRUCache", "LOCATION": "full", "OPTIONS": {"MAX_ENTRIES": 100}},
        "remote": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"{url}/1", "TIMEOUT": 3600},
        "django": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": f"{url}/2", "TIMEOUT": 3600},
        "locmem": locmem,
        "near": {**locmem, "LOCATION": "near"},
        "seed": {"BACKEND": "lrucache_backend.LRUObjectCache", "LOCATION": "seed", "OPTIONS": {"MAX_ENTRIES": 2000}},
        "fallthrough": {
            "BACKEND": "fallthrough_cache.FallthroughCache",
            "OPTIONS": {"cache_names": ["near", "remote"]},
        },
    }


class Floor:
    """The least that a hit can cost in Python: one method call, one lookup in lru-dict, one look at the clock."""

    def __init__(self) -> None:
        from lru import LRU

        self._lru: LRU[str, tuple[float, Any]] = LRU(2000)

    def set(self, key: str, value: Any) -> None:
        self._lru[key] = (time.monotonic() + 3600, value)

    def get(self, key: str, default: Any = None) -> Any:
        try:
            deadline, value = self._lru[key]
        except KeyError:
            return default
        return value if deadline > time.monotonic() else default

    async def aget(self, key: str, default: Any = None) -> Any:
        return self.get(key, default)


def comparisons() -> Iterator[Comparison]:
    """All of them, made one by one: each leaves the caches as it likes."""
    from django.core.cache import caches

    ours = caches["default"]
    peers: dict[str, Any] = {name: caches[alias] for name, alias in PEERS.items()}
    local = {name: peers[name] for name in ("LRUObjectCache", "FallthroughCache", "LocMemCache")}
    yield hit(ours, peers)
    yield small(ours, peers["LocMemCache"])
    yield table(caches["shared"], peers["LocMemCache"])
    yield from asynchronous(ours, peers)
    yield many(ours, local)
    yield miss(caches["missing"], peers["django-redis"])
    yield writes(ours, peers["django-redis"])
    yield from lru(caches["lru"], caches["full"], peers["LRUObjectCache"])
    yield instances()


def filled(candidates: dict[str, Any], value: Any) -> dict[str, Any]:
    """The candidates, each with ``value`` under every key, read once."""
    for name, cache in candidates.items():
        for key in KEYS:
            cache.set(key, value)
            if cache.get(key) != value:
                raise RuntimeError(f"{name} does not keep what it is given")
    return candidates


def hit(ours: Any, peers: dict[str, Any]) -> Comparison:
    """A local hit of a string."""
    candidates = filled({"TieredCache": ours, "the floor": Floor(), **peers}, TEXT)
    targets = [
        Target("the floor", 1.25),
        Target("LRUObjectCache", 1 / 4),
        Target("FallthroughCache", 1 / 20),
        Target("LocMemCache", 1 / 15),
        Target("django-redis", 1 / 200),
    ]
    runs = {name: repeat(cache.get, KEYS) for name, cache in candidates.items()}
    return Comparison("get, local hit, 100-character string", runs, targets, len(KEYS), 300)


def small(ours: Any, locmem: Any) -> Comparison:
    """A local hit of a small dict, of which every reader gets its own."""
    candidates = filled({"TieredCache": ours, "LocMemCache": locmem}, SMALL)
    runs = {name: repeat(cache.get, KEYS) for name, cache in candidates.items()}
    return Comparison("get, local hit, small dict, own copy", runs, [Target("LocMemCache", 1 / 2.5)], len(KEYS), 200)


def table(ours: Any, locmem: Any) -> Comparison:
    """A local hit of a table of 250 dicts that all readers share."""
    candidates = {"TieredCache, SHARE_VALUES": ours, "LocMemCache": locmem}
    for cache in candidates.values():
        cache.set("table", TABLE)
        cache.get("table")
    runs = {name: repeat(cache.get, ["table"] * 20) for name, cache in candidates.items()}
    return Comparison("get, local hit, table of 250 dicts, shared", runs, [Target("LocMemCache", 1 / 500)], 20, 60)


def asynchronous(ours: Any, peers: dict[str, Any]) -> Iterator[Comparison]:
    """``aget``, awaited one by one."""
    filled({"TieredCache": ours, **peers}, TEXT)
    loop = asyncio.new_event_loop()
    runs = {"aget": arepeat(loop, ours.aget, KEYS), "get": repeat(ours.get, KEYS)}
    yield Comparison("aget, local hit, against get", runs, [Target("get", 2.5)], len(KEYS), 200)
    # A call of a peer's takes as long as hundreds of ours, and starting the loop as long as dozens of ours.
    runs = {"TieredCache": arepeat(loop, ours.aget, KEYS * 10)}
    runs |= {name: arepeat(loop, peer.aget, KEYS[:10]) for name, peer in peers.items()}
    targets = [*(Target(name, 1 / 10) for name in peers), Target("LocMemCache", 1 / 200)]
    calls = {"TieredCache": 10 * len(KEYS)}
    yield Comparison("aget, local hit, against the peers'", runs, targets, 10, 60, calls)
    loop.close()


def many(ours: Any, local: dict[str, Any]) -> Comparison:
    """``get_many`` of 100 local hits."""
    candidates = filled({"TieredCache": ours, **local}, TEXT)
    runs: dict[str, Callable[[], Any]] = {
        name: (lambda cache=cache: cache.get_many(KEYS))
        for name, cache in candidates.items()  # type: ignore[misc]
    }
    targets = [Target("LRUObjectCache", 1 / 8), Target("LocMemCache", 1 / 25)]
    return Comparison("get_many, 100 local hits", runs, targets, 1, 200)


def miss(ours: Any, remote: Any) -> Comparison:
    """A local miss: the value and its remaining life, from django-redis."""
    client = remote.client.get_client()

    def by_hand(key: str) -> Any:
        with client.pipeline(transaction=False) as pipe:
            name = remote.client.make_key(key)
            value, life = pipe.get(name).pttl(name).execute()
        return remote.client.decode(value), life

    def in_two_calls(key: str) -> Any:
        return remote.get(key), remote.pttl(key)

    filled({"remote": remote}, TEXT)
    calls = {"TieredCache": ours.get, "a pipeline by hand": by_hand, "get, then pttl": in_two_calls, "get alone": remote.get}
    runs = {name: repeat(call, KEYS[:20]) for name, call in calls.items()}
    targets = [Target("a pipeline by hand", 1.15), Target("get, then pttl", 0.7)]
    return Comparison("get, local miss, value and life", runs, targets, 20, 150)


def writes(ours: Any, remote: Any) -> Comparison:
    """``set`` through the tier and on the remote alias."""
    runs = {
        "TieredCache": repeat(lambda key: ours.set(key, TEXT), KEYS[:20]),
        "django-redis": repeat(lambda key: remote.set(key, TEXT), KEYS[:20]),
    }
    return Comparison("set", runs, [Target("django-redis", 1.1)], 20, 150)


def lru(roomy: Any, full: Any, seed: Any) -> Iterator[Comparison]:
    """``LRUCache`` alone."""
    keys = [f"key{number}" for number in range(1000)]
    runs = {
        "at capacity": repeat(lambda key: full.set(key, TEXT), keys),
        "below capacity": repeat(lambda key: roomy.set(key, TEXT), keys),
    }
    yield Comparison("LRUCache.set, each evicts, against below capacity", runs, [Target("below capacity", 1.3)], 1000, 60)
    pair = {"LRUCache": roomy, "LRUObjectCache": seed}
    filled(pair, TEXT)
    for name, target, call in (
        ("get", 3, lambda cache: cache.get),
        ("set", 2.5, lambda cache: lambda key: cache.set(key, TEXT)),
    ):
        runs = {kind: repeat(call(cache), KEYS) for kind, cache in pair.items()}
        yield Comparison(f"LRUCache.{name}", runs, [Target("LRUObjectCache", 1 / target)], len(KEYS), 200)
    yield deletes(pair)


def deletes(pair: dict[str, Any]) -> Comparison:
    """``delete``, of keys that are set in between, which is timed too and alike: so the set's own cost is told beside it."""

    def run(cache: Any) -> Callable[[], None]:
        def candidate() -> None:
            for key in KEYS:
                cache.set(key, TEXT)
                cache.delete(key)

        return candidate

    runs = {name: run(cache) for name, cache in pair.items()}
    return Comparison("LRUCache.set and delete", runs, [Target("LRUObjectCache", 1 / 2)], len(KEYS), 200)


def instances() -> Comparison:
    """What Django makes for each request under ASGI."""
    from django.core.cache import caches

    runs = {
        "TieredCache": repeat(caches.create_connection, ["default"] * 100),
        "Django's RedisCache": repeat(caches.create_connection, ["django"] * 100),
    }
    return Comparison("making an instance", runs, [Target("Django's RedisCache", 1.5)], 100, 100)
