"""Check of what must not be stale: whether a prefix of the table in ``config/excluded.py`` is kept locally after all.

Prefixes are compared with ``LOCAL_TIMEOUTS`` as the local tier does it: with the key as it is passed, so without the
remote's ``KEY_PREFIX``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from django.apps import apps
from django.conf import settings
from django.core.checks import Warning  # noqa: A004 - Django's name

from tieredcache.checks.caches import read_aliases
from tieredcache.config import EXCLUDED, LRUOptions, TieredOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.checks import CheckMessage

    from tieredcache.config import Excluded

_SESSIONS: Final = "django.contrib.sessions"


def check_excluded(**_: Any) -> list[CheckMessage]:
    """Sessions, counts and one-time codes that a local tier, or nothing but this process's memory, would hold."""
    aliases = read_aliases()
    messages: list[CheckMessage] = []
    for row, prefix in (*_sessions(), *_apps()):
        alias = getattr(settings, row.alias_setting or "-", "default")
        if not (isinstance(alias, str) and isinstance(prefix, str) and prefix):
            continue  # the setting is wrong, which its package reports; without a prefix there is nothing to exclude
        options = aliases.get(alias)
        if isinstance(options, LRUOptions):
            fault = f"are in CACHES[{alias!r}], an LRUCache: each process has its own"
            remedy = f"{row.alias_setting or f'CACHES[{alias!r}]'} to a cache that processes share"
            messages.append(Warning(f"Keys of {row.app} {fault}.", hint=f"Set {remedy}.", id="tieredcache.W009"))
        elif isinstance(options, TieredOptions) and (kept := _kept(options, prefix)):
            fault = f"which begin with {prefix!r}, are kept in the local tier of CACHES[{alias!r}]: {row.reason}"
            remedy = " and ".join(f"CACHES[{alias!r}]['OPTIONS']['LOCAL_TIMEOUTS'][{each!r}] to 0" for each in kept)
            messages.append(Warning(f"Keys of {row.app}, {fault}.", hint=f"Set {remedy}.", id="tieredcache.W006"))
    return messages


def _kept(options: TieredOptions, prefix: str) -> list[str]:
    """The prefixes that would have to be excluded so that no key that begins with ``prefix`` is kept."""
    names = [name for name, seconds in options.local_timeouts if name.startswith(prefix) and name != prefix and seconds]
    return [*names, prefix] if options.timeout_for(prefix) else names


def _sessions() -> Iterator[tuple[Excluded, Any]]:
    """The row of the session store in use, and its prefix: that of Django's two stores, or of one derived from them."""
    try:
        prefix = import_module(settings.SESSION_ENGINE).SessionStore.cache_key_prefix
    except Exception:  # noqa: BLE001 - it keeps its sessions elsewhere, or there is none, which Django reports
        return
    yield next((row for row in EXCLUDED if row.prefix == prefix), EXCLUDED[0]), prefix


def _apps() -> Iterator[tuple[Excluded, Any]]:
    """The rows of the apps in use, each with the prefix in force. Some work without being in ``INSTALLED_APPS``."""
    for row in EXCLUDED:
        named = any(name and hasattr(settings, name) for name in (row.alias_setting, row.prefix_setting))
        if row.app != _SESSIONS and (named or apps.is_installed(row.app)):
            yield row, getattr(settings, row.prefix_setting or "-", row.prefix)
