"""Checks of the aliases themselves: those that cannot be made, and times that do not go together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.cache import caches
from django.core.checks import Error, Warning  # noqa: A004 - Django's name

from tieredcache.aliases import read_aliases
from tieredcache.checks.remotes import check_remote
from tieredcache.redaction import redactor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.cache.backends.base import BaseCache
    from django.core.checks import CheckMessage

    from tieredcache.aliases import Aliases, Tier


def check_caches(**_: Any) -> list[CheckMessage]:
    """What is wrong with the aliases of this package, and what is dangerous about the remotes behind them."""
    aliases = read_aliases()
    messages = list(check_aliases(aliases))
    for alias, tiers in sorted(aliases.ends().items()):
        try:
            # Not caches[alias], which would keep it. Making a backend connects to nothing.
            remote = caches.create_connection(alias)
        except Exception:  # noqa: BLE001, S112 - Django says so, and better, when that alias is used
            continue
        messages += check_remote(alias, remote, tiers)
        for tier in tiers:
            messages += _check_times(tier, aliases, alias, remote)
    return messages


def check_aliases(aliases: Aliases) -> Iterator[CheckMessage]:
    """One message for each alias that cannot be made, without passwords: a remote's may stand where an alias should."""
    redact = redactor(caches.settings)
    for alias, mistake in sorted(aliases.mistakes.items()):
        if mistake.alias not in {None, alias}:
            continue  # of an alias further down, and told of that
        nowhere = mistake.option == "LOCATION" and alias not in aliases.lru
        yield Error(
            f"CACHES[{alias!r}]: {redact(mistake.fault)}.",
            hint=f"{_path(alias, mistake.option)}: {mistake.remedy}" if mistake.option else mistake.remedy,
            id="tieredcache.E002" if nowhere else "tieredcache.E001",
        )


def _path(alias: str, option: str) -> str:
    """Where the option stands: ``OPTIONS['JITTER']`` is ``CACHES['default']['OPTIONS']['JITTER']``."""
    name, bracket, rest = option.partition("[")
    return f"CACHES[{alias!r}][{name.strip(chr(39))!r}]{bracket}{rest}"


def _check_times(tier: Tier, aliases: Aliases, end: str, remote: BaseCache) -> Iterator[CheckMessage]:
    # The default timeout of writes is that of the first alias on their way that has one.
    own = next((below for below in aliases.chain(tier.alias) if below.own_timeout), None)
    timeout = getattr(remote, "default_timeout", None) if own is None else own.timeout
    if not isinstance(timeout, (int, float)) or timeout <= 0:
        return  # entries live for ever, or not at all
    options = f"CACHES[{tier.alias!r}]['OPTIONS']"
    times = {f"{options}['LOCAL_TIMEOUT']": tier.options.local_timeout}
    times |= {f"{options}['LOCAL_TIMEOUTS'][{prefix!r}]": seconds for prefix, seconds in tier.options.local_timeouts}
    too_long = {name: seconds for name, seconds in times.items() if seconds >= timeout}
    if too_long:
        default = f"CACHES[{end if own is None else own.alias!r}]['TIMEOUT']"
        yield Warning(
            f"{', '.join(f'{name} is {seconds:g}' for name, seconds in too_long.items())}: not shorter than the "
            f"{timeout:g} seconds that an entry lives by default ({default}). A local copy may be "
            f"served for the whole life of the entry, whatever is written meanwhile.",
            hint=f"Set {' and '.join(f'{name} to less than {timeout:g}' for name in too_long)}, or {default} to more.",
            id="tieredcache.W004",
        )
