"""Checks of who must not be served from memory: sessions, REST framework's throttles, django-ratelimit's counters.

Their keys are known by how they begin. That prefix is compared with ``LOCAL_TIMEOUTS`` as the local tier does it: with the
key as it is passed, so without the remote's ``KEY_PREFIX``.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.core.cache import caches
from django.core.checks import Warning  # noqa: A004 - Django's name
from django.utils.connection import ConnectionProxy
from django.utils.module_loading import import_string

from tieredcache.aliases import read_aliases
from tieredcache.options import EXCLUDED_PREFIXES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.checks import CheckMessage

    from tieredcache.aliases import Tier
    from tieredcache.options import TieredOptions


@dataclass(frozen=True, slots=True)
class User:
    """Who keeps something in a cache that is changed by what is read from it.

    ``who`` and ``harm``: for messages. ``id``: of the message where it is kept locally. ``move``: the setting that names the
    alias. ``rename``: what to do where the keys have no prefix to tell them by.
    """

    who: str
    harm: str
    id: str
    alias: Any
    prefix: Any
    move: str
    rename: str


def check_kept(**_: Any) -> list[CheckMessage]:
    """Sessions, throttles and counters that a local tier, or nothing but this process's memory, would hold."""
    aliases = read_aliases()
    messages: list[CheckMessage] = []
    for user in (*_sessions(), *_throttles(), *_rate_limits()):
        if not (isinstance(user.alias, str) and isinstance(user.prefix, str)):
            continue  # the setting is wrong, which its owner will tell
        if user.alias in aliases.lru:
            messages.append(_own_process(user))
        messages += [
            _kept(user, tier, names) for tier in aliases.chain(user.alias) if (names := _kept_by(tier, user.prefix))
        ]
    return messages


def _own_process(user: User) -> CheckMessage:
    return Warning(
        f"{user.who} are in CACHES[{user.alias!r}], an LRUCache: every process has its own. {user.harm}",
        hint=f"Set {user.move} to an alias that processes share.",
        id="tieredcache.W009",
    )


def _kept(user: User, tier: Tier, names: list[str]) -> CheckMessage:
    timeouts = f"CACHES[{tier.alias!r}]['OPTIONS']['LOCAL_TIMEOUTS']"
    exclude = " and ".join(f"{timeouts}[{name!r}] to 0" for name in names)
    return Warning(
        f"{user.who} are kept in the local tier of CACHES[{tier.alias!r}]: their keys begin with {user.prefix!r}, and are "
        f"not excluded. {user.harm}",
        hint=f"Set {exclude}." if user.prefix else user.rename,
        id=user.id,
    )


def _kept_by(tier: Tier, prefix: str) -> list[str]:
    """The prefixes that would have to be excluded so that no key that begins with ``prefix`` is kept."""
    options: TieredOptions = tier.options
    names = [
        longer for longer, seconds in options.local_timeouts if longer.startswith(prefix) and seconds and longer != prefix
    ]
    if options.timeout_for(prefix):
        decides = next((shorter for shorter in options.timed_prefixes if prefix.startswith(shorter)), "")
        # A built-in prefix that has been overridden is for nothing else; any other may be, and is left as it is.
        names.append(decides if decides in EXCLUDED_PREFIXES else prefix)
    return names


def _sessions() -> Iterator[User]:
    try:
        store = import_module(settings.SESSION_ENGINE).SessionStore
    except Exception:  # noqa: BLE001 - Django's to tell
        return
    # The attribute of Django's two stores, and of those that others have derived or written after them.
    prefix = getattr(store, "cache_key_prefix", None)
    if isinstance(prefix, str):
        path = f"{store.__module__}.{store.__qualname__}"
        yield User(
            f"Sessions ({settings.SESSION_ENGINE})",
            "A stale session is saved back, and what another process has saved since is lost.",
            "tieredcache.W006",
            settings.SESSION_CACHE_ALIAS,
            prefix,
            "SESSION_CACHE_ALIAS",
            f"Set {path}.cache_key_prefix to 'django.contrib.sessions.cache', which is excluded.",
        )


def _throttles() -> Iterator[User]:
    rest = getattr(settings, "REST_FRAMEWORK", None)
    paths = rest.get("DEFAULT_THROTTLE_CLASSES") if isinstance(rest, dict) else None
    if not isinstance(paths, (list, tuple)):
        return
    try:
        known = import_string("rest_framework.throttling.SimpleRateThrottle")
    except Exception:  # noqa: BLE001 - not installed, or its own to tell
        return
    for path in paths:
        try:
            throttle = import_string(path) if isinstance(path, str) else path
            prefix = _throttle_prefix(throttle) if issubclass(throttle, known) else None
        except Exception:  # noqa: BLE001, S112 - REST framework's to tell
            continue
        alias = None if prefix is None else _alias_of(throttle.cache)
        if prefix is not None and alias is not None:
            name = f"{throttle.__module__}.{throttle.__qualname__}"
            yield User(
                f"The requests that {name} counts",
                "A stale count lets too many requests through.",
                "tieredcache.W007",
                alias,
                prefix,
                f"{name}.cache",
                f"Set {name}.cache_format to 'throttle_%(scope)s_%(ident)s', whose prefix is excluded.",
            )


def _throttle_prefix(throttle: Any) -> str:
    """What the keys of ``throttle`` begin with: its ``cache_format`` up to what differs from request to request."""
    varies = "\0"
    text: str = throttle.cache_format % {"scope": throttle.scope or varies, "ident": varies}
    return text.partition(varies)[0]


def _alias_of(cache: Any) -> str | None:
    """The alias of ``django.core.cache.cache``, or of a backend that has been taken from ``caches``."""
    if isinstance(cache, ConnectionProxy):
        alias: str = vars(cache)["_alias"]
        return alias
    made: Any = caches._connections  # type: ignore[attr-defined]
    return next((alias for alias in caches.settings if getattr(made, alias, None) is cache), None)


def _rate_limits() -> Iterator[User]:
    used = apps.is_installed("django_ratelimit") or any(
        hasattr(settings, name) for name in ("RATELIMIT_USE_CACHE", "RATELIMIT_CACHE_PREFIX")
    )
    if used and getattr(settings, "RATELIMIT_ENABLE", True):
        yield User(
            "The counters of django-ratelimit",
            "A stale count lets too many requests through.",
            "tieredcache.W008",
            getattr(settings, "RATELIMIT_USE_CACHE", "default"),
            getattr(settings, "RATELIMIT_CACHE_PREFIX", "rl:"),
            "RATELIMIT_USE_CACHE",
            "Set RATELIMIT_CACHE_PREFIX to 'rl:', which is excluded.",
        )
