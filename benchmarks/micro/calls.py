"""The cost of single calls, ours and the peers', over a real Valkey on loopback."""

from __future__ import annotations

import asyncio
import itertools
import threading
from time import monotonic as clock
from typing import TYPE_CHECKING, Any

from benchmarks.micro.engine import Comparison, Target, arepeat, repeat, sets, timed
from benchmarks.micro.parts import Floor
from benchmarks.micro.peers import CACHEX, DELAY, KEYS, PEERS, TEXT, filled, for_scale

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL = {"code": "GB", "name": "United Kingdom", "rates": [1, 2, 3]}
TABLE = [
    {
        "code": f"{number:03}",
        "name": f"Country {number}",
        "official_name": f"The Republic of Country {number}",
        "flag": f"flags/{number:03}.svg",
        "region": "Europe",
        "currency": "EUR",
        "population": number * 1000,
        "area": number * 10.5,
    }
    for number in range(250)
]


def comparisons() -> Iterator[Comparison]:
    """All of them, made one by one: each leaves the caches as it likes."""
    from django.core.cache import caches

    ours = caches["default"]
    peers: dict[str, Any] = {name: caches[alias] for name, alias in PEERS.items()}
    cachex: dict[str, Any] = {name: caches[alias] for name, alias in CACHEX.items()}
    local = {name: peers[name] for name in ("LRUObjectCache", "FallthroughCache", "LocMemCache")} | cachex
    yield hit(ours, {**peers, **cachex, **for_scale()})
    yield small(ours, peers["LocMemCache"])
    yield table(caches["shared"], peers["LocMemCache"])
    yield from asynchronous(ours, peers, cachex)
    yield many(ours, local)
    yield miss("get, local miss, value and TTL", caches["missing"], peers["django-redis"], strict=True)
    yield miss(f"the same, {DELAY * 1000:g} ms away", caches["missing far"], caches["far"])
    yield misses(caches["missing"], peers["django-redis"])
    yield writes(caches["sole"], caches["its remote"])
    yield from lru(caches["lru"], caches["full"], peers["LRUObjectCache"])
    yield from lookups(ours, peers["django-redis"])
    yield instances()


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


def asynchronous(ours: Any, peers: dict[str, Any], more: dict[str, Any]) -> Iterator[Comparison]:
    """``aget``, awaited one by one. ``more``: peers without a target."""
    filled({"TieredCache": ours, **peers, **more}, TEXT)
    loop = asyncio.new_event_loop()
    runs = {
        "aget": arepeat(loop, ours.aget, KEYS),
        "get": repeat(ours.get, KEYS),
        "an empty coroutine": arepeat(loop, Empty().aget, KEYS),
        "an empty method": repeat(Empty().get, KEYS),
    }
    yield Comparison("aget, local hit, against get", runs, [Target("get", 1.5)], len(KEYS), 200)
    # A call of a peer's takes as long as hundreds of ours, and starting the loop as long as dozens of ours.
    runs = {"TieredCache": arepeat(loop, ours.aget, KEYS * 10)}
    runs |= {name: arepeat(loop, peer.aget, KEYS[:10]) for name, peer in (peers | more).items()}
    targets = [*(Target(name, 1 / 10) for name in peers), Target("LocMemCache", 1 / 200)]
    calls = {"TieredCache": 10 * len(KEYS)}
    yield Comparison("aget, local hit, against the peers'", runs, targets, 10, 60, calls)
    loop.close()


class Empty:
    """What a call costs that does nothing."""

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:  # noqa: ARG002 - Django's signature
        """Nothing."""
        return default

    async def aget(self, key: Any, default: Any = None, version: Any = None) -> Any:  # noqa: ARG002
        """As ``get``."""
        return default


def many(ours: Any, local: dict[str, Any]) -> Comparison:
    """``get_many`` of 100 local hits."""
    candidates = filled({"TieredCache": ours, **local}, TEXT)
    runs = {name: repeat(cache.get_many, [KEYS]) for name, cache in candidates.items()}
    targets = [Target("LRUObjectCache", 1 / 8), Target("LocMemCache", 1 / 25)]
    return Comparison("get_many, 100 local hits", runs, targets, 1, 200)


def miss(name: str, ours: Any, remote: Any, *, strict: bool = False) -> Comparison:
    """A local miss: value and TTL, from django-redis. ``strict``: held to what the bookkeeping may take."""
    client = remote.client.get_client()

    def by_hand(key: str) -> Any:
        with client.pipeline(transaction=False) as pipe:
            name = remote.client.make_key(key)
            value, ttl = pipe.get(name).pttl(name).execute()
        return remote.client.decode(value), ttl

    def in_two_calls(key: str) -> Any:
        return remote.get(key), remote.pttl(key)

    filled({"remote": remote}, TEXT)
    calls = {"TieredCache": ours.get, "a pipeline by hand": by_hand, "get, then pttl": in_two_calls, "get alone": remote.get}
    runs = {name: repeat(call, KEYS[:20]) for name, call in calls.items()}
    targets = [Target("a pipeline by hand", 1.15), Target("get, then pttl", 0.7)] if strict else []
    return Comparison(name, runs, targets, 20, 150)


def misses(ours: Any, remote: Any) -> Comparison:
    """``get_many`` of 100 keys, all of them local misses: values and TTLs."""
    client = remote.client.get_client()

    def by_hand() -> Any:
        names = [remote.client.make_key(key) for key in KEYS]
        with client.pipeline(transaction=False) as pipe:
            pipe.mget(names)
            for name in names:
                pipe.pttl(name)
            values, *ttls = pipe.execute()
        return {key: (remote.client.decode(value), ttl) for key, value, ttl in zip(KEYS, values, ttls, strict=True)}

    filled({"remote": remote}, TEXT)
    calls = {"TieredCache": ours.get_many, "a pipeline by hand": lambda _: by_hand(), "django-redis": remote.get_many}
    runs = {name: repeat(call, [KEYS]) for name, call in calls.items()}
    targets = [Target("a pipeline by hand", 1.0), Target("django-redis", 2.0)]
    return Comparison("get_many, 100 local misses, values and TTLs", runs, targets, 1, 150)


def writes(ours: Any, remote: Any) -> Comparison:
    """``set`` through the tier and on the remote, the backend bound once and looked up for each call."""
    from django.core.cache import caches

    runs = {
        "TieredCache": sets(ours, KEYS[:20], TEXT),
        "django-redis": sets(remote, KEYS[:20], TEXT),
        "django-redis, looked up": repeat(lambda key: caches["its remote"].set(key, TEXT), KEYS[:20]),
    }
    return Comparison("set", runs, [Target("django-redis", 1.07)], 20, 150)


def lru(roomy: Any, full: Any, seed: Any) -> Iterator[Comparison]:
    """``LRUCache`` alone."""
    batches = itertools.count()
    new: list[str] = []  # keys that no cache has seen

    def renew() -> None:
        roomy.clear()
        batch = next(batches)
        new[:] = [f"key{batch}:{number}" for number in range(1000)]

    def overwrite() -> None:
        roomy.clear()
        sets(roomy, new, TEXT)()

    runs = {
        "at capacity, each evicts": timed(renew, sets(full, new, TEXT)),
        "below capacity": timed(renew, sets(roomy, new, TEXT)),
        "below capacity, keys that are there": timed(overwrite, sets(roomy, new, TEXT)),
    }
    yield Comparison("LRUCache.set at capacity", runs, [Target("below capacity", 1.3)], 1000, 60)
    pair = {"LRUCache": roomy, "LRUObjectCache": seed}
    filled(pair, TEXT)
    runs = {kind: repeat(cache.get, KEYS) for kind, cache in pair.items()}
    yield Comparison("LRUCache.get", runs, [Target("LRUObjectCache", 1 / 3)], len(KEYS), 200)
    lock = threading.RLock()

    def take(_: str) -> None:
        with lock:
            pass

    shared = {"taking a lock": repeat(take, KEYS), "reading the clock": repeat(lambda _: clock(), KEYS)}
    runs = {kind: sets(cache, KEYS, TEXT) for kind, cache in pair.items()} | shared
    yield Comparison("LRUCache.set", runs, [Target("LRUObjectCache", 1 / 2.5)], len(KEYS), 200)
    runs = {kind: timed(sets(cache, KEYS, TEXT), repeat(cache.delete, KEYS)) for kind, cache in pair.items()} | shared
    yield Comparison("LRUCache.delete", runs, [Target("LRUObjectCache", 1 / 1.5)], len(KEYS), 200)


def lookups(ours: Any, remote: Any) -> Iterator[Comparison]:
    """A row of a warm table, beside a hit, a query for it, and the table's row from the remote under a key of its own."""
    from django.db import connection, models

    from tieredcache.lookups import LookupTable

    class Subdivision(models.Model):
        code = models.CharField(max_length=10, primary_key=True)
        name = models.CharField(max_length=200)

        class Meta:
            app_label = "benchmarks"

    with connection.schema_editor() as editor:
        editor.create_model(Subdivision)
    get, query = ours.get, Subdivision.objects.values("code", "name").get
    for size in (10, 250, 5_046):
        Subdivision.objects.all().delete()
        rows = [Subdivision(code=f"XX-{number}", name=f"Subdivision {number}") for number in range(size)]
        Subdivision.objects.bulk_create(rows)
        codes = [row.code for row in rows][:: size // 10][:10]
        for row in rows:
            remote.set(row.code, (row.code, row.name))
        for code in codes:
            get(code)
        table = LookupTable(f"table{size}", Subdivision.objects.values("code", "name"), key="code", timeout=3600)
        runs = {
            "LookupTable": repeat(table.__getitem__, codes * 10),
            "TieredCache.get, a hit": repeat(get, codes * 10),
            "a query": repeat(lambda code: query(code=code), codes),
            "django-redis": repeat(remote.get, codes),
        }
        calls = {"a query": 10, "django-redis": 10}
        yield Comparison(
            f"a row of a table of {size:,}", runs, [Target("TieredCache.get, a hit", 3)], 100, 150, calls_of=calls
        )


def instances() -> Comparison:
    """What Django makes for each request under ASGI."""
    from django.core.cache import caches

    runs = {
        "TieredCache": repeat(caches.create_connection, ["default"] * 100),
        "Django's RedisCache": repeat(caches.create_connection, ["django"] * 100),
    }
    return Comparison("making an instance", runs, [Target("Django's RedisCache", 1.5)], 100, 100)
