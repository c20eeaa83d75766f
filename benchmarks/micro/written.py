"""Reads as people write them: by ``cache`` and ``caches``, by what Django itself keeps in a cache, and in async code."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.micro.engine import Comparison, Target, alone, arepeat, repeat
from benchmarks.micro.peers import CACHEX, KEYS, PEERS, TEXT, filled, for_scale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HIT = "get, local hit, as people write it"
USERS = "what Django's own users of a cache pay"
ASYNC_MISS = "aget, local miss, value and TTL"
REMOTE = {"remote", "django"}  # aliases that are asked by a trip each
FEW = 10  # calls of a round, where each takes as long as hundreds of ours


def comparisons() -> Iterator[Comparison]:
    """All of them, made one by one: each leaves the caches as it likes."""
    yield as_people_write_it()
    yield djangos_users()
    yield from async_misses()


# Loops of their own, not ``repeat``: a function around each call would take a third of a hit.


def by_cache(cache: Any, keys: list[str] = KEYS) -> Callable[[], None]:
    """``cache.get(key)``, for each key."""

    def candidate() -> None:
        for key in keys:
            cache.get(key)

    return alone(candidate)  # type: ignore[no-any-return]


def by_caches(caches: Any) -> Callable[[], None]:
    """``caches["default"].get(key)``, for each key."""

    def candidate() -> None:
        for key in KEYS:
            caches["default"].get(key)

    return alone(candidate)  # type: ignore[no-any-return]


def by_item(cache: Any) -> Callable[[], None]:
    """``cache[key]``, for each key: of what is no cache of Django's."""

    def candidate() -> None:
        for key in KEYS:
            cache[key]

    return alone(candidate)  # type: ignore[no-any-return]


def as_people_write_it() -> Comparison:
    """A hit by the package's pair and by Django's, and of the peers by Django's ``cache``, were they its default."""
    from django.core.cache import cache, caches
    from django.utils.connection import ConnectionProxy

    import tieredcache

    peers = PEERS | CACHEX
    tools: Any = for_scale()["cachetools.TTLCache"]
    filled({"TieredCache": caches["default"], "cachetools": tools} | {name: caches[peers[name]] for name in peers}, TEXT)
    runs = {
        "tieredcache.cache.get": by_cache(tieredcache.cache),
        'tieredcache.caches["default"].get': by_caches(tieredcache.caches),
        "django.core.cache.cache.get": by_cache(cache),
        'django.core.cache.caches["default"].get': by_caches(caches),
        "get, bound once": repeat(caches["default"].get, KEYS),
    }
    few = {}
    for name, alias in peers.items():
        run = f"cache.get of {name}"
        proxy: Any = ConnectionProxy(caches, alias)  # what ``cache`` is, of another alias
        runs[run] = by_cache(proxy, KEYS[:FEW] if alias in REMOTE else KEYS)
        if alias in REMOTE:
            few[run] = FEW
    runs["cachetools.TTLCache[key]"] = by_item(tools.kept)
    targets = [
        Target("get, bound once", 1.3),
        Target("get, bound once", 1.7, of='tieredcache.caches["default"].get'),
        Target("django.core.cache.cache.get", 0.28 if sys.version_info >= (3, 12) else 0.07),
    ]
    return Comparison(HIT, runs, targets, len(KEYS), 200, few)


def djangos_users() -> Comparison:
    """A fragment, a page and a session, and the first two with the package's ``caches`` in the place of Django's."""
    from django.contrib.sessions.backends.cache import SessionStore
    from django.core.cache import caches
    from django.http import HttpResponse
    from django.middleware import cache as pages
    from django.template import Context, Engine
    from django.templatetags import cache as fragments
    from django.test import RequestFactory
    from django.views.decorators.cache import cache_page

    import tieredcache

    engine = Engine(libraries={"cache": "django.templatetags.cache"})
    text = "{%% load cache %%}{%% cache 3600 menu %s%%}a menu{%% endcache %%}"
    fragment, using = (engine.from_string(text % word) for word in ("", 'using="default" '))
    request = RequestFactory().get("/prices")
    view = cache_page(3600)(lambda _: HttpResponse(TEXT))
    session = SessionStore()
    session["user"] = 1
    session.save()
    jobs: dict[str, tuple[Callable[[Any], Any], Any]] = {
        "{% cache %}": (lambda _: fragment.render(Context()), fragments),
        '{% cache using="default" %}': (lambda _: using.render(Context()), fragments),
        "cache_page": (lambda _: view(request), pages),
    }
    few = list(range(FEW * 2))
    runs = {'caches["default"]': repeat(caches.__getitem__, ["default"] * len(few))}
    for name, (job, module) in jobs.items():
        runs[name] = repeat(job, few)
        runs[f"{name}, by tieredcache.caches"] = _with(module, tieredcache.caches, runs[name])
    runs["a session, made and loaded"] = repeat(lambda _: SessionStore(session.session_key).load(), few)
    return Comparison(USERS, runs, [], len(few), 100)


def _with(module: Any, caches: Any, run: Callable[[], None]) -> Callable[[], None]:
    """``run`` while ``module`` finds backends by these ``caches``."""

    def candidate() -> None:
        djangos, module.caches = module.caches, caches
        try:
            run()
        finally:
            module.caches = djangos

    return candidate


def async_misses() -> Iterator[Comparison]:
    """``aget`` of what has to be asked for, beside the peers' and the sync call."""
    from django.core.cache import caches

    few = KEYS[: FEW * 2]
    peers: dict[str, Any] = {name: caches[PEERS[name]] for name in ("django-redis", "Django's RedisCache")}
    if CACHEX:
        peers["cachex"] = caches["cachex plain"]
    filled(peers, TEXT)
    loop = asyncio.new_event_loop()
    runs = {"TieredCache": arepeat(loop, caches["missing"].aget, few)}
    runs |= {name: arepeat(loop, peer.aget, few) for name, peer in peers.items()}
    runs["TieredCache, get"] = repeat(caches["missing"].get, few)
    runs["django-redis, get"] = repeat(peers["django-redis"].get, few)
    yield Comparison(ASYNC_MISS, runs, [], len(few), 100)
    loop.close()
