"""What type checkers know of the public calls: checked by mypy and by pyright in ``make lint``, never run.

Django gives a cache as a ``BaseCache``: code that wants what is ours beyond that asks ``isinstance``, as below.
"""

from collections.abc import Awaitable, Hashable, ItemsView, KeysView, Mapping, ValuesView
from typing import Any, NamedTuple, assert_type

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from opentelemetry.metrics import MeterProvider
from prometheus_client import CollectorRegistry

import tieredcache
from tieredcache import RemoteOutage, Stats, fresh
from tieredcache.backends import LRUCache, TieredCache
from tieredcache.lookups import LookupTable
from tieredcache.metrics import opentelemetry, prometheus
from tieredcache.middleware import ReadYourWritesMiddleware


class Country(NamedTuple):
    code: str
    name: str


def tiers() -> Stats | None:
    """What a tiered alias has beyond Django's interface."""
    cache = caches["default"]
    if not isinstance(cache, TieredCache):
        return None
    assert_type(cache.remote, BaseCache)
    assert_type(len(cache.local), int)
    cache.local.clear()
    cache.local.forget("user:1")
    cache.local.forget("user:1", version=2)
    # The remote's own methods: it alone knows their types.
    assert_type(cache.ttl("user:1"), Any)
    assert_type(cache.delete_pattern("user:*"), Any)
    return cache.stats()


def figures(stats: Stats) -> None:
    """Whole numbers, and a share of them; frozen."""
    assert_type(stats.hits, int)
    assert_type(stats.misses, int)
    assert_type(stats.remote_hits, int)
    assert_type(stats.stale_served, int)
    assert_type(stats.forgotten, int)
    assert_type(stats.evictions, int)
    assert_type(stats.expired, int)
    assert_type(stats.remote_errors, int)
    assert_type(stats.skipped, int)
    assert_type(stats.prefetched, int)
    assert_type(stats.prefetch_used, int)
    assert_type(stats.refreshed_early, int)
    assert_type(stats.compared, int)
    assert_type(stats.compared_stale, int)
    assert_type(stats.oldest_stale_seconds, float)
    assert_type(stats.entries, int)
    assert_type(stats.max_entries, int)
    assert_type(stats.bytes, int)
    assert_type(stats.max_bytes, int)
    assert_type(stats.hit_ratio, float)
    stats.hits = 0  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def calls(cache: TieredCache | LRUCache) -> None:
    """Django's interface, of both backends. Values are anything."""
    assert_type(cache.get("key"), Any)
    assert_type(cache.get("key", "nothing", version=2), Any)
    assert_type(cache.get_many(["a", "b"]), dict[Any, Any])
    assert_type(cache.get_or_set("key", dict, timeout=60), Any)
    assert_type(cache.has_key("key"), bool)
    assert_type("key" in cache, bool)
    cache.set("key", object(), timeout=None)
    assert_type(cache.add("key", 1, timeout=0.5), bool)
    assert_type(cache.touch("key", 60), bool)
    assert_type(cache.delete("key"), bool)
    cache.set_many({"a": 1}, timeout=60)
    cache.delete_many(["a"])
    cache.incr("count", 2)
    cache.decr("count")
    cache.incr_version("key")
    cache.decr_version("key")
    cache.clear()
    cache.close()
    assert_type(cache.stats(), Stats)


def handlers() -> Stats:
    """The default cache is taken for a ``TieredCache``; others are what Django gives."""
    assert_type(tieredcache.cache, TieredCache)
    assert_type(tieredcache.cache.get("key"), Any)
    assert_type(tieredcache.caches["local"], BaseCache)
    assert_type("local" in tieredcache.caches, bool)
    assert_type(list(tieredcache.caches), list[str])
    assert_type(tieredcache.caches.all(initialized_only=True), list[BaseCache])
    tieredcache.caches.close_all()
    return tieredcache.cache.stats()


async def acalls(cache: TieredCache | LRUCache) -> None:
    """The same, awaited."""
    assert_type(await cache.aget("key"), Any)
    assert_type(await cache.aget("key", "nothing", version=2), Any)
    assert_type(await cache.aget_many(["a", "b"]), dict[Any, Any])
    assert_type(await cache.aget_or_set("key", dict, timeout=60), Any)
    assert_type(await cache.ahas_key("key"), bool)
    await cache.aset("key", object(), timeout=None)
    assert_type(await cache.aadd("key", 1, timeout=0.5), bool)
    assert_type(await cache.atouch("key", 60), bool)
    assert_type(await cache.adelete("key"), bool)
    await cache.aset_many({"a": 1}, timeout=60)
    await cache.adelete_many(["a"])
    await cache.aincr("count", 2)
    await cache.adecr("count")
    await cache.aincr_version("key")
    await cache.adecr_version("key")
    await cache.aclear()
    await cache.aclose()


@fresh()
def may_enter(user: int, *, door: str) -> bool:
    """Decorated, a function keeps its parameters and what it returns."""
    return bool(caches["default"].get(f"{user}:{door}"))


@fresh(max_age=0.5)
async def amay_enter(user: int, *, door: str) -> bool:
    """So does a coroutine function."""
    with fresh():
        return bool(await caches["default"].aget(f"{user}:{door}"))


async def freshness() -> None:
    """As a context manager, it gives nothing."""
    with fresh(1) as nothing:
        assert_type(nothing, None)
    assert_type(may_enter(1, door="front"), bool)
    assert_type(await amay_enter(1, door="front"), bool)
    may_enter("one", door="front")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    fresh(max_age="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def outages() -> None:
    """An exception, with the client's as its cause."""
    try:
        caches["default"].get("key")
    except RemoteOutage as outage:
        assert_type(str(outage), str)
        assert_type(outage.__cause__, BaseException | None)


def middleware(request: HttpRequest) -> None:
    """Around what answers, sync or async."""

    def answer(request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.path)

    wrapped = ReadYourWritesMiddleware(answer)
    assert_type(wrapped(request), HttpResponseBase | Awaitable[HttpResponseBase])
    assert_type(wrapped.sync_capable, bool)
    assert_type(wrapped.async_capable, bool)


def lookups(countries: QuerySet[Any, Any]) -> None:
    """Rows of a class of one's own; without one, anything."""
    table = LookupTable("geo.country", countries, key="code", timeout=3600, alias="local", row=Country)
    assert_type(table["GB"], Country)
    assert_type(table["GB"].name, str)
    assert_type(table.get("XX"), Country | None)
    assert_type(table.get("XX", "nowhere"), Country | str)
    assert_type("GB" in table, bool)
    assert_type(len(table), int)
    assert_type(list(table), list[Hashable])
    assert_type(table.keys(), KeysView[Hashable])
    assert_type(table.values(), ValuesView[Country])
    assert_type(table.items(), ItemsView[Hashable, Country])
    assert_type(table.snapshot(), Mapping[Hashable, Country])
    table.reload()
    loose = LookupTable("geo.country", list, key="code")
    assert_type(loose["GB"].name, Any)


async def alookups(table: LookupTable[Country]) -> None:
    """The same, awaited."""
    assert_type(await table.aget("GB"), Country | None)
    assert_type(await table.aget("XX", "nowhere"), Country | str)
    rows = await table.asnapshot()
    assert_type(rows["GB"], Country)
    await table.areload()


def metrics(registry: CollectorRegistry, provider: MeterProvider) -> None:
    """With what they are given, and without."""
    prometheus.register()
    prometheus.register(registry)
    prometheus.flush()
    opentelemetry.register()
    opentelemetry.register(provider)
