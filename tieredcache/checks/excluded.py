"""Check of what must not be stale: whether a prefix of the table in ``config/excluded.py`` is kept locally after all.

Prefixes are compared with ``LOCAL_TIMEOUTS`` as the local tier does it: with the key as it is passed, so without the
remote's ``KEY_PREFIX``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from django.apps import apps
from django.conf import settings
from django.core.checks import Warning  # noqa: A004 - Django's name

from tieredcache.checks.aliases import read_aliases
from tieredcache.config.excluded import EXCLUDED, EXCLUDED_PREFIXES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.checks import CheckMessage

    from tieredcache.config.excluded import Excluded
    from tieredcache.config.options import TieredOptions


class Use(NamedTuple):
    """A row of the table that the settings use. ``prefix``: the one in force; ``rename``: the setting that decides it."""

    row: Excluded
    prefix: Any
    rename: str


def check_excluded(**_: Any) -> list[CheckMessage]:
    """Sessions, counts and one-time codes that a local tier, or nothing but this process's memory, would hold."""
    aliases = read_aliases()
    messages: list[CheckMessage] = []
    for use in (*_sessions(), *_apps()):
        row = use.row
        alias = getattr(settings, row.alias_setting, "default") if row.alias_setting else "default"
        if not (isinstance(alias, str) and isinstance(use.prefix, str)):
            continue  # the setting is wrong, which its package reports
        if alias in aliases.lru:
            messages.append(
                Warning(
                    f"Keys of {row.app} are in CACHES[{alias!r}], an LRUCache: each process has its own.",
                    hint=f"Set {row.alias_setting or f'CACHES[{alias!r}]'} to a cache that processes share.",
                    id="tieredcache.W009",
                )
            )
        elif alias in aliases.tiered and (names := _kept_by(aliases.tiered[alias], use.prefix)):
            timeouts = f"CACHES[{alias!r}]['OPTIONS']['LOCAL_TIMEOUTS']"
            exclude = " and ".join(f"{timeouts}[{name!r}] to 0" for name in names)
            messages.append(
                Warning(
                    f"Keys of {row.app}, which begin with {use.prefix!r}, are kept in the local tier of CACHES[{alias!r}]: "
                    f"{row.reason}.",
                    hint=f"Set {exclude if use.prefix else f'{use.rename} to {row.prefix!r}, which is excluded'}.",
                    id="tieredcache.W006",
                )
            )
    return messages


def _kept_by(options: TieredOptions, prefix: str) -> list[str]:
    """The prefixes that would have to be excluded so that no key that begins with ``prefix`` is kept."""
    names = [
        longer for longer, seconds in options.local_timeouts if longer.startswith(prefix) and seconds and longer != prefix
    ]
    if options.timeout_for(prefix):
        decides = next((shorter for shorter in options.timed_prefixes if prefix.startswith(shorter)), "")
        # A built-in prefix that was overridden is for nothing else; any other may be, and is left as it is.
        names.append(decides if decides in EXCLUDED_PREFIXES else prefix)
    return names


def _sessions() -> Iterator[Use]:
    try:
        store = import_module(settings.SESSION_ENGINE).SessionStore
    except Exception:  # noqa: BLE001 - Django reports it
        return
    # The attribute of Django's two stores, and of others derived from them.
    prefix = getattr(store, "cache_key_prefix", None)
    if prefix is not None:
        row = next((row for row in EXCLUDED if row.prefix == prefix), EXCLUDED[0])
        yield Use(row, prefix, f"{store.__module__}.{store.__qualname__}.cache_key_prefix")


def _apps() -> Iterator[Use]:
    for row in EXCLUDED:
        if row.app == "django.contrib.sessions":
            continue
        # Some work without being in INSTALLED_APPS.
        named = [name for name in (row.alias_setting, row.prefix_setting) if name and hasattr(settings, name)]
        if named or apps.is_installed(row.app):
            yield Use(row, getattr(settings, row.prefix_setting or "-", row.prefix), row.prefix_setting)
