"""What all monitoring systems report: the table of figures, and what this process has counted.

A monitoring system takes a counter that goes down for that of a new process, and adds all of it once more. So no counter
that is reported here goes down, as ``hits`` may for a moment: a lookup is counted before it is known to be a hit.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from django.core.cache import caches
from django.utils.module_loading import import_string

from tieredcache.backends import LRUCache, TieredCache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tieredcache import Stats

Counts: TypeAlias = "dict[str, int]"


class Figure(NamedTuple):
    """One of the figures. ``field``: its name in ``Stats``. ``opentelemetry``, ``unit``: its name and unit there."""

    field: str
    opentelemetry: str
    unit: str
    text: str
    counter: bool = True

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
    Figure("entries", "tieredcache.entry.count", "{entry}", "Local copies held now.", counter=False),
    Figure("max_entries", "tieredcache.entry.limit", "{entry}", "The capacity.", counter=False),
)
COUNTERS: Final = frozenset(figure.field for figure in FIGURES if figure.counter)


lock: threading.RLock = threading.RLock()  # reentrant: a destructor may read the figures amid a reading
_stats: dict[str, Callable[[], Stats]] = {}
_reported: dict[str, Counts] = {}
_settings: object = None  # what these belong to: others when CACHES is overridden


def read() -> dict[str, Counts]:
    """What this process has counted, by alias and field. Aliases that share a local tier are reported by the first."""
    global _stats, _reported, _settings
    with lock:
        if _settings is not caches.settings:
            _stats, _reported, _settings = dict(_find()), {}, caches.settings
        for alias, stats_of in _stats.items():
            stats, before = stats_of(), _reported.get(alias, {})
            counts = {figure.field: getattr(stats, figure.field) for figure in FIGURES}
            counts |= {field: max(counts[field], before.get(field, 0)) for field in COUNTERS}
            _reported[alias] = counts
        return _reported.copy()


def _find() -> Iterator[tuple[str, Callable[[], Stats]]]:
    seen: set[object] = set()
    for alias, config in caches.settings.items():
        # A mistake in an alias that nobody may ever use is reported by Django or the backend, not by a scrape.
        with contextlib.suppress(Exception):
            backend: Any = import_string(config["BACKEND"])
            if issubclass(backend, (TieredCache, LRUCache)):
                cache: Any = caches.create_connection(alias)  # nobody else's, and no remote is made for it
                shared = cache.local if isinstance(cache, TieredCache) else config.get("LOCATION") or config.get("NAME", "")
                if shared not in seen:
                    seen.add(shared)
                    yield alias, cache.stats


def _after_fork_in_child() -> None:
    global lock  # noqa: PLW0603 - a thread of the parent may have held it
    lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
