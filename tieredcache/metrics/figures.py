"""What all monitoring systems report: the table of figures, and what this process has counted."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.core.cache import caches
from django.utils.module_loading import import_string

from tieredcache.backends import LRUCache, TieredCache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tieredcache import Stats


class Figure(NamedTuple):
    """One of the figures. ``field``: its name in ``Stats``. ``opentelemetry``, ``unit``: its name and unit there.

    ``counter``: it only grows. ``sums``: that of several processes is the sum; else the largest.
    """

    field: str
    opentelemetry: str
    unit: str
    text: str
    counter: bool = True
    sums: bool = True

    @property
    def prometheus(self) -> str:
        """Its name in Prometheus."""
        return f"tieredcache_{self.field}_total" if self.counter else f"tieredcache_{self.field}"


FIGURES: Final = (
    Figure("hits", "tieredcache.hits", "{read}", "Reads answered by the local tier, remembered absences included."),
    Figure("misses", "tieredcache.misses", "{read}", "Reads answered by neither tier."),
    Figure("remote_hits", "tieredcache.remote.hits", "{read}", "Reads answered by the remote tier."),
    Figure("stale_served", "tieredcache.stale_served", "{read}", "Hits served past their deadline."),
    Figure("forgotten", "tieredcache.forgotten", "{entry}", "Local copies dropped by writes, deletes and clears."),
    Figure("evictions", "tieredcache.evictions", "{entry}", "Local copies dropped to make room."),
    Figure("expired", "tieredcache.expired", "{read}", "Reads that found a local copy past its deadline."),
    Figure("remote_errors", "tieredcache.remote.errors", "{error}", "Remote operations that raised."),
    Figure("skipped", "tieredcache.skipped", "{answer}", "Remote answers that were not kept."),
    Figure("prefetched", "tieredcache.prefetched", "{answer}", "Remote answers that were brought along with another key."),
    Figure("prefetch_used", "tieredcache.prefetch.used", "{answer}", "Of these, those that were read later."),
    Figure("refreshed_early", "tieredcache.refreshed_early", "{value}", "Values that were computed before they expired."),
    Figure("compared", "tieredcache.compared", "{read}", "Hits that were compared with the remote's answer."),
    Figure("compared_stale", "tieredcache.compared.stale", "{read}", "Of these, those of which it was another."),
    Figure(
        "oldest_stale_seconds",
        "tieredcache.compared.oldest",
        "s",
        "The most seconds since such a copy was read.",
        counter=False,
        sums=False,
    ),
    Figure("entries", "tieredcache.entry.count", "{entry}", "Local copies held now.", counter=False),
    Figure("max_entries", "tieredcache.entry.limit", "{entry}", "The capacity.", counter=False),
    Figure("bytes", "tieredcache.memory.usage", "By", "What they take, estimated; 0 without a limit.", counter=False),
    Figure("max_bytes", "tieredcache.memory.limit", "By", "The capacity in bytes; 0: no limit.", counter=False),
)
_found: tuple[object, dict[str, Callable[[], Stats]]] = (None, {})
"""The settings that the aliases were found in, others when ``CACHES`` is overridden; and what tells the figures of each."""


def read() -> dict[str, Stats]:
    """What this process has counted, by alias. Aliases that share a local tier are reported by the first."""
    global _found  # noqa: PLW0603 - of the process
    if _found[0] is not caches.settings:
        _found = caches.settings, dict(_find())
    return {alias: stats() for alias, stats in _found[1].items()}


def _find() -> Iterator[tuple[str, Callable[[], Stats]]]:
    seen: set[object] = set()
    for alias, config in caches.settings.items():
        # A mistake in an alias that nobody may ever use is reported by Django or the backend, not by a scrape.
        with contextlib.suppress(Exception):
            backend: Any = import_string(config["BACKEND"])
            if issubclass(backend, (TieredCache, LRUCache)):
                cache: Any = caches.create_connection(alias)  # used here alone, and no remote is made for it
                shared = cache.local if isinstance(cache, TieredCache) else config.get("LOCATION") or config.get("NAME", "")
                if shared not in seen:
                    seen.add(shared)
                    yield alias, cache.stats
