"""What all monitoring systems are told: the table of figures, and what this process has counted.

A monitoring system takes a counter that goes down for that of a process that was started anew, and adds all of it once more.
So no counter that is told here goes down, as ``hits`` may for a moment: a look-up is counted before it is known to be a hit.
And what had been read here before a fork is told by the parent alone.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from django.core.cache import caches
from django.utils.module_loading import import_string

from tieredcache.backends import LRUCache, TieredCache
from tieredcache.forks import in_child
from tieredcache.locks import guard

if TYPE_CHECKING:
    from collections.abc import Iterator

Counts: TypeAlias = "dict[str, int]"


@dataclass(frozen=True, slots=True)
class Figure:
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
    Figure("entries", "tieredcache.entry.count", "{entry}", "Local copies held now.", counter=False),
    Figure("max_entries", "tieredcache.entry.limit", "{entry}", "The capacity.", counter=False),
)
_FIELDS: Final = [(figure.field, figure.counter) for figure in FIGURES]


class Source:
    """What one alias has counted in this process. Its instance is nobody else's, and no remote is made for it."""

    def __init__(self, alias: str, cache: TieredCache | LRUCache) -> None:
        self.alias = alias
        self._stats = cache.stats
        self._inherited: Counts = {}
        self._told: Counts = {}

    def after_fork(self) -> None:
        """Begin at nothing in a child process."""
        stats = self._stats()
        self._inherited = {field: getattr(stats, field) for field, counter in _FIELDS if counter}
        self._told = {}

    def read(self) -> Counts:
        """The figures by their fields; a counter is never less than it was before."""
        stats, told, inherited = self._stats(), self._told, self._inherited
        self._told = {
            field: max(told.get(field, 0), getattr(stats, field) - inherited.get(field, 0))
            if counter
            else getattr(stats, field)
            for field, counter in _FIELDS
        }
        return self._told


_lock = guard(threading.RLock())
_sources: list[Source] = []
_settings: object = None  # what they belong to: another when CACHES is overridden


def read() -> dict[str, Counts]:
    """By alias, what this process has counted. Aliases that share a local tier are told once, by the first of them."""
    global _sources, _settings
    with _lock:
        if _settings is not caches.settings:
            _sources, _settings = list(_find()), caches.settings
        return {source.alias: source.read() for source in _sources}


def _find() -> Iterator[Source]:
    seen = set()
    for alias, config in caches.settings.items():
        # A mistake in an alias that nobody may ever use is Django's, or the backend's, to tell: not that of a scrape.
        with contextlib.suppress(Exception):
            backend: Any = import_string(config["BACKEND"])
            if not issubclass(backend, (TieredCache, LRUCache)):
                continue
            cache: Any = caches.create_connection(alias)
            counted_by = cache._tier if isinstance(cache, TieredCache) else cache._store  # noqa: SLF001 - nobody else asks
            if id(counted_by) not in seen:
                seen.add(id(counted_by))
                yield Source(alias, cache)


def _after_fork_in_child() -> None:
    global _lock  # noqa: PLW0603 - a thread of the parent may have held it
    _lock = guard(threading.RLock())
    for source in _sources:
        source.after_fork()


in_child(_after_fork_in_child)
