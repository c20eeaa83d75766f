"""System checks: what is dangerous in ``CACHES``, found without a request and without a connection."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from django.core.cache import caches
from django.core.cache.backends.memcached import PyMemcacheCache
from django.core.cache.backends.redis import RedisCache
from django.core.checks import Warning  # noqa: A004 - Django's name
from django.utils.module_loading import import_string

from tieredcache.backends import TieredCache

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.checks import CheckMessage


def check_caches(**_: Any) -> list[CheckMessage]:
    """All that there is to say of the tiered aliases."""
    return [message for alias in _remotes() for check in (_check_timeouts, _check_silence) for message in check(alias)]


def _remotes() -> Iterator[str]:
    """The aliases at which chains of tiers end."""
    seen = set()
    for config in caches.settings.values():
        remote = config.get("LOCATION")
        if _is_tiered(config) and remote in caches.settings and not _is_tiered(caches.settings[remote]):
            seen.add(remote)
    yield from sorted(seen)


def _is_tiered(config: dict[str, Any]) -> bool:
    try:
        return issubclass(import_string(config["BACKEND"]), TieredCache)
    except (ImportError, KeyError, TypeError):
        return False  # Django's to tell


def _check_timeouts(alias: str) -> Iterator[CheckMessage]:
    remote: Any = caches[alias]
    missing = []
    if isinstance(remote, PyMemcacheCache):
        options = caches.settings[alias].get("OPTIONS", {})
        missing = [name for name in ("connect_timeout", "timeout") if options.get(name) is None]
    elif (pool := _pool(remote)) is not None and _connection_setting(pool, "socket_timeout") is None:
        missing = ["SOCKET_TIMEOUT" if hasattr(remote, "client") else "socket_timeout"]
    if missing:
        yield Warning(
            f"The remote cache {alias!r} has no time-out: a server that hangs holds up requests for as long as it likes.",
            hint=f"Set {', '.join(repr(name) for name in missing)} in CACHES[{alias!r}]['OPTIONS'] to less than a second.",
            id="tieredcache.W001",
        )


def _check_silence(alias: str) -> Iterator[CheckMessage]:
    options = caches.settings[alias].get("OPTIONS", {})
    if isinstance(caches[alias], PyMemcacheCache) and options.get("retry_timeout", 1) >= 0:
        yield Warning(
            f"The remote cache {alias!r} hides errors: pymemcache calls reads misses and drops writes while it holds back "
            f"from a server that has failed.",
            hint=f"Set 'retry_timeout': -1 and 'retry_attempts': 1_000_000_000 in CACHES[{alias!r}]['OPTIONS'].",
            id="tieredcache.W002",
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
