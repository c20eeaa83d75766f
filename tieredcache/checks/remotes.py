"""Checks of a remote: how long its client waits, what it hides, who shares it, and whether it can tell lives."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import PyMemcacheCache
from django.core.cache.backends.redis import RedisCache
from django.core.checks import Info, Warning  # noqa: A004 - Django's name

from tieredcache.aliases import options_of
from tieredcache.backends import LRUCache
from tieredcache.readers import reader_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.cache.backends.base import BaseCache
    from django.core.checks import CheckMessage

    from tieredcache.aliases import Tier


def check_remote(alias: str, remote: BaseCache, tiers: list[Tier]) -> Iterator[CheckMessage]:
    """What is dangerous about ``remote``, made of the settings of ``alias``, at the end of the chains of ``tiers``."""
    try:
        pool = _pool(remote)
        tells_lives = reader_for(remote).tells_lives(remote)
    except Exception:  # noqa: BLE001 - a client that cannot be made says so, and better, when the alias is used
        return
    yield from _check_timeouts(alias, remote, pool)
    yield from _check_silence(alias, remote)
    if isinstance(remote, (LocMemCache, DummyCache, LRUCache)):
        yield _own_memory(alias, remote)
    elif not tells_lives:
        yield from _check_lives(alias, tiers)


def _check_timeouts(alias: str, remote: BaseCache, pool: Any) -> Iterator[CheckMessage]:
    missing = []
    if isinstance(remote, PyMemcacheCache):
        options = options_of(alias)
        missing = [name for name in ("connect_timeout", "timeout") if options.get(name) is None]
    elif pool is not None and _connection_setting(pool, "socket_timeout") is None:
        missing = ["SOCKET_TIMEOUT" if hasattr(remote, "client") else "socket_timeout"]
    if missing:
        yield Warning(
            f"The remote cache {alias!r} has no time-out: a server that hangs holds up requests for as long as it likes.",
            hint=f"Set {', '.join(repr(name) for name in missing)} in CACHES[{alias!r}]['OPTIONS'] to less than a second.",
            id="tieredcache.W001",
        )


def _check_silence(alias: str, remote: BaseCache) -> Iterator[CheckMessage]:
    retry = options_of(alias).get("retry_timeout", 1)
    honest = isinstance(retry, (int, float)) and retry < 0
    if isinstance(remote, PyMemcacheCache) and not honest:
        yield Warning(
            f"The remote cache {alias!r} hides errors: pymemcache calls reads misses and drops writes while it holds back "
            f"from a server that has failed.",
            hint=f"Set 'retry_timeout': -1 and 'retry_attempts': 1_000_000_000 in CACHES[{alias!r}]['OPTIONS'].",
            id="tieredcache.W002",
        )


def _own_memory(alias: str, remote: BaseCache) -> CheckMessage:
    kind = type(remote).__name__
    what = (
        "keeps nothing: every read is a miss"
        if isinstance(remote, DummyCache)
        else "is in this process's memory: no other process ever sees what is written"
    )
    return Warning(
        f"The remote cache {alias!r} is a {kind}, which {what}.",
        hint=(
            f"Set CACHES[{alias!r}]['BACKEND'] to a cache that processes share, such as 'django_redis.cache.RedisCache'. In "
            f"settings for development and tests, add 'tieredcache.W003' to SILENCED_SYSTEM_CHECKS."
        ),
        id="tieredcache.W003",
    )


def _check_lives(alias: str, tiers: list[Tier]) -> Iterator[CheckMessage]:
    longest = max(tiers, key=lambda tier: tier.options.longest_timeout)
    seconds = longest.options.longest_timeout
    if seconds > 0:
        # Only an Info: there is nothing wrong with Memcached, and nothing to mend where these seconds do not matter.
        yield Info(
            f"The remote cache {alias!r} cannot tell how long an entry has left to live: a value is served for up to "
            f"{seconds:g} seconds past its expiry, the longest local timeout over it (that of CACHES[{longest.alias!r}]).",
            hint=(
                "Where nothing depends on that, add 'tieredcache.W005' to SILENCED_SYSTEM_CHECKS. Where something does, set "
                f"CACHES[{alias!r}]['BACKEND'] to one that can tell, such as 'django_redis.cache.RedisCache', or exclude "
                f"keys by CACHES[{longest.alias!r}]['OPTIONS']['LOCAL_TIMEOUTS']."
            ),
            id="tieredcache.W005",
        )


def _pool(remote: Any) -> Any:
    """The connection pool of a Redis or Valkey client to a single server, or ``None``. It connects when it is used."""
    if isinstance(remote, RedisCache):
        django_client: Any = remote._cache
        return django_client._get_connection_pool(write=False)
    client = getattr(remote, "client", None)
    # A cluster's client connects when it is made.
    if client is None or "cluster" in type(client).__module__ or not hasattr(client, "get_client"):
        return None
    try:
        return client.get_client(write=False).connection_pool
    except (AttributeError, NotImplementedError, TypeError):
        return None  # a client of many servers, such as the sharded one


def _connection_setting(pool: Any, name: str) -> Any:
    """What connections of ``pool`` are made with: as it is set, or as the client's default has it."""
    if name in pool.connection_kwargs:
        return pool.connection_kwargs[name]
    for kind in pool.connection_class.__mro__:
        parameter = inspect.signature(kind.__init__).parameters.get(name)
        if parameter is not None:
            return parameter.default
    return None
