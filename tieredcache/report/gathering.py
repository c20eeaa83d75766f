"""Finds out what ``manage.py tieredcache`` tells: of the aliases with a local tier, and of the remotes under them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured

from tieredcache.aliases import backend_of
from tieredcache.backends import LRUCache, TieredCache
from tieredcache.errors import describe
from tieredcache.options import EXCLUDED_PREFIXES, LRUOptions, TieredOptions, given, read_lru_options
from tieredcache.readers import reader_for
from tieredcache.redaction import redactor
from tieredcache.report.facts import LRUAlias, LRUSettings, MisconfiguredAlias, Remote, Report, TieredAlias, TieredSettings
from tieredcache.report.measurements import measure_lru_hit, measure_tiered_hit, try_remote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def known_aliases() -> list[str]:
    """The aliases in ``CACHES`` of a ``TieredCache`` or an ``LRUCache``, and of what may be meant for one."""
    return [alias for alias in caches.settings if _is_ours(alias)]


def _is_ours(alias: str) -> bool:
    backend = backend_of(alias)
    if backend is None:
        return str(caches.settings[alias].get("BACKEND")).startswith("tieredcache.")  # misspelt
    return issubclass(backend, (TieredCache, LRUCache))


def gather(aliases: Iterable[str]) -> Report:
    """Everything about ``aliases``, which are of ``known_aliases()``; waits for the remotes as long as their clients do."""
    report = Report()
    redact = redactor(caches.settings)
    for alias in aliases:
        backend = str(caches.settings[alias].get("BACKEND"))
        try:
            cache = _made(alias)
            if isinstance(cache, LRUCache):
                report.aliases[alias] = _lru(alias, backend, cache)
                continue
            *_, remote = chain = _chain(alias)
            if remote not in report.remotes:
                report.remotes[remote] = _remote(remote)
            report.aliases[alias] = _tiered(alias, backend, chain)
        except ImproperlyConfigured as error:
            report.aliases[alias] = MisconfiguredAlias(backend, redact(str(error)))
    for alias, found in report.remotes.items():
        if found.error is not None:
            report.remotes[alias] = replace(found, error=redact(found.error))
    return report


def _made(alias: str) -> Any:
    """The cache of ``alias``, with all that its local tier has to know of the remote; raises ``ImproperlyConfigured``."""
    try:
        cache: Any = caches[alias]
        if isinstance(cache, TieredCache):
            cache.home  # noqa: B018 - makes the tiers below, and the remote, which is not connected to
    except ImproperlyConfigured:
        raise
    except Exception as error:  # a client that is not installed, or does not take its OPTIONS
        raise ImproperlyConfigured(
            f"CACHES[{alias!r}]: its cache, or one below it, cannot be made: {describe(error)}"
        ) from error
    return cache


def _chain(alias: str) -> list[str]:
    """``alias``, the tiers below it and the remote."""
    chain = [alias]
    while isinstance(caches[chain[-1]], TieredCache):
        chain.append(caches.settings[chain[-1]]["LOCATION"])
    return chain


def _remote(alias: str) -> Remote:
    remote = caches[alias]
    reader = reader_for(remote)
    trial = try_remote(remote, reader)
    return Remote(
        backend=caches.settings[alias]["BACKEND"],
        reader=type(reader).__name__,
        reachable=trial.reachable,
        error=trial.error,
        remaining_life=trial.remaining_life,
        remote_read=trial.remote_read,
    )


def _lru(alias: str, backend: str, cache: LRUCache) -> LRUAlias:
    settings = _lru_settings(read_lru_options(*given(alias)))
    return LRUAlias(
        backend=backend,
        settings=settings,
        defaults=_equal(settings, _lru_settings(LRUOptions())),
        timeout_seconds=cache.default_timeout,
        timeout_from=_first_timeout([alias]),
        local_hit=measure_lru_hit(cache),
    )


def _tiered(alias: str, backend: str, chain: list[str]) -> TieredAlias:
    cache, *_ = tiers = [_made(name) for name in chain[:-1]]
    options = [tier._tier.options for tier in tiers]
    settings = _tiered_settings(options[0])
    timeouts = settings.local_timeouts_seconds
    # What a tier below has not kept is not kept above it either.
    keeps = all(_longest(each) > 0 for each in options)
    return TieredAlias(
        backend=backend,
        settings=settings,
        defaults=_equal(settings, _tiered_settings(TieredOptions())),
        timeout_seconds=cache.default_timeout,
        timeout_from=_first_timeout(chain),
        chain=tuple(chain[1:]),
        reader=type(reader_for(cache.remote)).__name__,
        keeps_values=keeps,
        staleness_bound_seconds=_bound(options, _longest, keeps=keeps),
        staleness_bound_without_prefix_seconds=_bound(options, lambda each: each.local_timeout, keeps=keeps),
        staleness_bound_in_outage_seconds=_bound(options, _longest, keeps=keeps, outage=True),
        excluded_prefixes=tuple(prefix for prefix in EXCLUDED_PREFIXES if prefix not in timeouts),
        overridden_prefixes_seconds={
            prefix: seconds
            for prefix, seconds in timeouts.items()
            if seconds and prefix.startswith(tuple(EXCLUDED_PREFIXES))
        },
        local_hit=measure_tiered_hit(alias) if keeps else None,
    )


def _longest(options: TieredOptions) -> float:
    return max([options.local_timeout, *(timeout for _, timeout in options.local_timeouts)])


def _bound(
    chain: list[TieredOptions], timeout_of: Callable[[TieredOptions], float], *, keeps: bool, outage: bool = False
) -> float:
    """The staleness bound over ``chain``, of keys whose local timeout is ``timeout_of`` each tier's options, in seconds.

    The sum, because a tier may keep what the one below has served past its own deadline.
    """
    total: float = 0
    for options in chain:
        timeout = timeout_of(options)
        if not keeps:
            timeout = min(timeout, options.miss_timeout)  # absence is all that is remembered
        elif timeout:
            stale = options.stale_while_revalidate
            timeout += max(stale, options.stale_if_error) if outage else stale
        total += timeout
    return total


def _first_timeout(chain: Iterable[str]) -> str | None:
    return next((alias for alias in chain if {"TIMEOUT", "timeout"} & caches.settings[alias].keys()), None)


def _tiered_settings(options: TieredOptions) -> TieredSettings:
    return TieredSettings(
        local_timeout_seconds=options.local_timeout,
        local_timeouts_seconds={
            prefix: seconds for prefix, seconds in options.local_timeouts if EXCLUDED_PREFIXES.get(prefix) != seconds
        },
        max_entries=options.max_entries,
        miss_timeout_seconds=options.miss_timeout,
        jitter=options.jitter,
        share_values=options.share_values,
        stale_while_revalidate_seconds=options.stale_while_revalidate,
        stale_if_error_seconds=options.stale_if_error,
        remote_errors="ignore" if options.ignore_errors else "raise",
        retry_after_seconds=options.retry_after,
    )


def _lru_settings(options: LRUOptions) -> LRUSettings:
    return LRUSettings(max_entries=options.max_entries, cull_frequency=options.cull_frequency)


def _equal(settings: TieredSettings | LRUSettings, defaults: TieredSettings | LRUSettings) -> tuple[str, ...]:
    return tuple(each.name for each in fields(settings) if getattr(settings, each.name) == getattr(defaults, each.name))
