"""What a lookup table loads its rows through: a backend of its own, one load of it, and what it knows after that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured

from tieredcache.backends import LRUCache, TieredCache
from tieredcache.local.inflight import Computation

if TYPE_CHECKING:
    from collections.abc import Hashable

    from tieredcache.lookups.source import Source

Rows: TypeAlias = dict[Any, Any]

HOLD: Final = 1.0
"""Seconds for which rows are held that the cache does not keep; and until a source that has failed is tried again."""

MOST_KEYS: Final = 100
"""Local keys (of tenants, say) whose last rows a table has ready for the case that its source fails."""


class Load(Computation):
    """One load or reload of a table. ``turn``: of a reload, in the order in which they begin to read the source.

    ``written``: whether a reload is over and was the last; ``has_read``: the source; ``error``: what the source has raised.
    """

    __slots__ = ("error", "has_read", "turn", "written")

    def __init__(self, key: Hashable) -> None:
        super().__init__(key)
        self.error: Exception | None = None
        self.has_read: bool = False
        self.turn: int = 0
        self.written: bool = False

    def read(self, source: Source) -> tuple[Any, ...]:
        """The entry for what the source has now."""
        self.has_read = True
        try:
            return source.load()
        except Exception as error:
            self.error = error
            raise

    def is_served(self, reloads: dict[Hashable, Load], turn: int) -> bool:
        """Whether one of these, the last of each key, has begun after ``turn`` and has written."""
        last = reloads.get(self.key)
        return last is not None and last.written and last.turn > turn


class Known(NamedTuple):
    """The rows that a table has loaded last for one local key, and when it began to.

    Until ``held_until`` they are served although the cache does not keep them. ``mark``: of the key; when it is another one,
    the key has been written since. ``failing``: they are served because the source fails.
    """

    rows: Rows
    asked_at: float
    held_until: float
    mark: object
    failing: bool


def put(kept: dict[Hashable, Any], local_key: Hashable, value: Any) -> None:
    """Keep ``value``, and only the last ``MOST_KEYS``."""
    kept.pop(local_key, None)
    kept[local_key] = value
    for oldest in list(kept)[:-MOST_KEYS]:
        kept.pop(oldest, None)


def bind(alias: str, cache_key: str, name: str) -> TieredCache | LRUCache:
    """A backend of the table's own, because Django's ``caches[alias]`` costs four hits; ``name``: of the table."""
    cache = caches.create_connection(alias)
    if isinstance(cache, LRUCache) or (isinstance(cache, TieredCache) and cache.local_timeout(cache_key)):
        return cache
    kind = f"a {type(cache).__name__}"
    problem = f"{kind} whose local timeout for this key is 0" if isinstance(cache, TieredCache) else kind
    raise ImproperlyConfigured(
        f"{name}: alias is {alias!r}, {problem}, where each lookup would read the whole table. "
        "Name the alias of a TieredCache or an LRUCache that keeps this key."
    )
