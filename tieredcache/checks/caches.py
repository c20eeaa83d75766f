"""Checks of the aliases themselves: what is not valid, remotes that are dangerous, and times that do not go together.

All that ``CACHES`` says of them is read without creating a cache.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from django.core.cache import caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import PyMemcacheCache
from django.core.checks import Error, Warning  # noqa: A004 - Django's name
from django.utils.module_loading import import_string

from tieredcache.backends import LRUCache, TieredCache
from tieredcache.config import Mistake, TieredOptions, given, read_lru_options, read_tiered_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.checks import CheckMessage

    from tieredcache.config import LRUOptions

_CLIENTS: Final = {
    "django_redis": ("SOCKET_TIMEOUT", "redis"),
    "django_valkey": ("SOCKET_TIMEOUT", "valkey"),
    "django.core.cache.backends.redis": ("socket_timeout", "redis"),
}
"""By the package of a backend: the option that sets the time-out of its client, and that client."""


def class_at(path: Any) -> type:
    """The class that a setting names; ``object`` where it names none, which Django reports."""
    try:
        found = import_string(path)
    except Exception:  # noqa: BLE001 - a module that is being imported may raise anything
        return object
    return found if isinstance(found, type) else object


def backend_of(alias: Any) -> type:
    """The class of the backend of ``alias``."""
    config: Any = caches.settings[alias]
    return class_at(config.get("BACKEND") if isinstance(config, dict) else None)


def read_aliases() -> dict[str, TieredOptions | LRUOptions | Mistake]:
    """The options of each alias of this package, or what is wrong with its settings.

    A subclass with an ``__init__`` of its own may read its settings in its own way, and is left out.
    """
    found: dict[str, TieredOptions | LRUOptions | Mistake] = {}
    for alias in caches.settings:
        backend: Any = backend_of(alias)
        try:
            if issubclass(backend, TieredCache) and backend.__init__ is TieredCache.__init__:
                found[alias] = read_tiered_options(TieredCache, *given(alias))
            elif issubclass(backend, LRUCache) and backend.__init__ is LRUCache.__init__:
                found[alias] = read_lru_options(LRUCache, *given(alias))
        except Mistake as mistake:
            found[alias] = mistake
    return found


def check_caches(**_: Any) -> list[CheckMessage]:
    """What is wrong with this package's aliases, and what is dangerous about the remotes behind them."""
    aliases = dict(sorted(read_aliases().items()))
    messages = [_invalid(alias, found) for alias, found in aliases.items() if isinstance(found, Mistake)]
    tiered = {alias: found for alias, found in aliases.items() if isinstance(found, TieredOptions)}
    for remote in sorted({caches.settings[alias]["LOCATION"] for alias in tiered}):
        messages += _check_remote(remote, backend_of(remote))
    for alias, options in tiered.items():
        messages += _check_times(alias, options)
    return messages


def _invalid(alias: str, mistake: Mistake) -> CheckMessage:
    # OPTIONS['JITTER'] is CACHES['default']['OPTIONS']['JITTER'].
    name, bracket, rest = mistake.option.partition("[")
    place = f"CACHES[{alias!r}][{name.strip(chr(39))!r}]{bracket}{rest}: " if name else ""
    nowhere = name == "LOCATION" and not issubclass(backend_of(alias), LRUCache)
    name = "tieredcache.E002" if nowhere else "tieredcache.E001"
    return Error(f"CACHES[{alias!r}]: {mistake.fault}.", hint=f"{place}{mistake.remedy}", id=name)


def _check_remote(alias: str, backend: type) -> Iterator[CheckMessage]:
    if missing := _missing_timeouts(alias, backend):
        yield Warning(
            f"The remote cache {alias!r} has no time-out: a server that hangs holds up requests for as long as it likes.",
            hint=f"Set {', '.join(map(repr, missing))} in CACHES[{alias!r}]['OPTIONS'] to less than a second.",
            id="tieredcache.W001",
        )
    if issubclass(backend, (LocMemCache, DummyCache, LRUCache)):
        yield Warning(
            f"The remote cache {alias!r} is a {backend.__name__}: no other process ever sees what is written.",
            hint=(
                f"Set CACHES[{alias!r}]['BACKEND'] to a cache that processes share, such as 'django_redis.cache.RedisCache'."
                f" In settings for development and tests, add 'tieredcache.W003' to SILENCED_SYSTEM_CHECKS."
            ),
            id="tieredcache.W003",
        )


def _missing_timeouts(alias: str, backend: type) -> list[str]:
    """The options that would give the client of ``alias`` its time-outs, where the client is one that we know."""
    options = caches.settings[alias].get("OPTIONS")
    options = options if isinstance(options, Mapping) else {}
    if issubclass(backend, PyMemcacheCache):
        return [name for name in ("connect_timeout", "timeout") if options.get(name) is None]
    module = next((kind.__module__ for kind in backend.__mro__ if kind.__module__.startswith(tuple(_CLIENTS))), "")
    # The cluster's client reads none of these options. In the query of a URL they may stand, too.
    if not module or "cluster" in module or "socket_timeout=" in str(caches.settings[alias].get("LOCATION")):
        return []
    name, client = next(known for package, known in _CLIENTS.items() if module.startswith(package))
    pool = options.get("CONNECTION_POOL_KWARGS")
    seconds = options.get(name, _default_timeout(client))
    return [] if (pool.get("socket_timeout", seconds) if isinstance(pool, Mapping) else seconds) else [name]


def _default_timeout(client: str) -> Any:
    """The time-out that ``client``, redis or valkey, has without a setting: it differs between versions."""
    try:
        connection = import_module(f"{client}.connection").AbstractConnection
        return inspect.signature(connection.__init__).parameters["socket_timeout"].default
    except (ImportError, AttributeError, KeyError):
        return "unknown"


def _check_times(alias: str, options: TieredOptions) -> Iterator[CheckMessage]:
    """Compare the local timeouts with the default timeout of entries: the alias's own, or else the remote's."""
    owner = alias if "TIMEOUT" in caches.settings[alias] else caches.settings[alias]["LOCATION"]
    config = caches.settings[owner]
    timeout = config.get("timeout", config.get("TIMEOUT", 300)) if isinstance(config, Mapping) else None
    if not isinstance(timeout, (int, float)) or timeout <= 0:
        return  # entries do not expire, or are not stored at all
    place, default = f"CACHES[{alias!r}]['OPTIONS']", f"CACHES[{owner!r}]['TIMEOUT']"
    times = {f"{place}['LOCAL_TIMEOUT']": options.local_timeout}
    times |= {f"{place}['LOCAL_TIMEOUTS'][{prefix!r}]": seconds for prefix, seconds in options.local_timeouts}
    for name, seconds in times.items():
        if seconds >= timeout:
            yield Warning(
                f"{name} is {seconds:g}: not shorter than the {timeout:g} seconds that an entry lives by default "
                f"({default}). A replaced value may be served for as long as the entry lives.",
                hint=f"Set {name} to less than {timeout:g}, or {default} to more.",
                id="tieredcache.W004",
            )
