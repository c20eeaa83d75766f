"""``LookupTable``: rows by key, out of an index that the local tier keeps beside its copy of the entry.

A lookup asks the cache for that index, so deadlines, writes, ``fresh()``, outages and tenants are the cache's business.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar, overload

from asgiref.sync import sync_to_async
from django.core.cache import caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from tieredcache.backends import LRUCache, TieredCache
from tieredcache.clock import clock
from tieredcache.freshness import accepts_once
from tieredcache.local import PATIENCE, Computation, running_loop, time_limits
from tieredcache.lookups.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView

Row = TypeVar("Row", bound=tuple[Any, ...])
Default = TypeVar("Default")
Rows: TypeAlias = dict[Any, Any]
Cache: TypeAlias = TieredCache | LRUCache

HOLD: Final = 1.0
"""Seconds for which rows are served that the cache does not keep, and until a source that has failed is tried again."""

MOST_KEYS: Final = 100
"""Local keys (one for each tenant, say) whose last rows a table has ready for the case that its source fails."""

logger: logging.Logger = logging.getLogger("tieredcache")


@dataclass(slots=True)
class Known:
    """The rows that a table loaded last for one local key. Times are seconds of the monotonic clock.

    Until ``held_until`` they are served although the cache does not keep them, unless the ``mark`` of the key is another
    one: then it has been written since. ``failing``: the source has failed since.
    """

    rows: Rows
    asked_at: float
    held_until: float
    mark: object
    failing: bool = False


class LookupTable(Mapping[Hashable, Row], Generic[Row]):
    """A small table, read through a cache: a mapping from the values of the field ``key`` to rows, which are named tuples.

    ``cache_key``: the key of the entry that holds the table. ``source``: a queryset of mappings (``.values(...)``), which is
    evaluated for each load, or a callable, sync or async, that returns mappings. ``timeout``: seconds until the source is
    read again; ``None``: never; the default is that of the cache. ``alias``: of a ``TieredCache`` or ``LRUCache``. ``row``:
    the ``NamedTuple`` class of the rows: only its fields are read from the source; without it the rows have all the fields
    that the source has.

    Rows are shared by all readers, and so are values in them that can be changed: do not change them. A lookup may read the
    cache, and the source. Raises whatever they raise; ``TypeError`` or ``ValueError`` where the source's rows make no table;
    ``ImproperlyConfigured`` where the alias keeps nothing in this process. While a source fails, the rows that this process
    knows are served on, and the error is logged.
    """

    @overload
    def __init__(
        self, cache_key: str, source: Any, *, key: str, timeout: Any = ..., alias: str = ..., row: type[Row]
    ) -> None: ...
    @overload
    def __init__(
        self: LookupTable[Any], cache_key: str, source: Any, *, key: str, timeout: Any = ..., alias: str = ...
    ) -> None: ...
    def __init__(
        self,
        cache_key: str,
        source: Any,
        *,
        key: str,
        timeout: Any = DEFAULT_TIMEOUT,
        alias: str = "default",
        row: type[Row] | None = None,
    ) -> None:
        self._source = Source(f"LookupTable {cache_key!r}", source, key, row)
        self._index = self._source.index  # one object: the cache compares it
        self._cache_key, self._timeout, self._alias = cache_key, timeout, alias
        self._turns = itertools.count(1)  # one for each call of reload(), and one for each reading of the source by it
        self._settings_changed(setting="CACHES")
        setting_changed.connect(self._settings_changed)

    def __getitem__(self, key: Hashable) -> Row:
        rows = self._derived(self._cache_key, self._index)  # as _rows(), without the call: it would add a fifth
        return (self._rows() if rows is None else rows)[key]

    @overload
    def get(self, key: Hashable) -> Row | None: ...
    @overload
    def get(self, key: Hashable, default: Row | Default) -> Row | Default: ...
    def get(self, key: Hashable, default: Any = None) -> Any:
        """As a dict's. ``Mapping`` takes a ``KeyError`` of the source for a key that is not there; so it does for ``in``."""
        return self._rows().get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in self._rows()

    def __len__(self) -> int:
        return len(self._rows())

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._rows())

    def keys(self) -> KeysView[Hashable]:
        """As a dict's, of the table as it is now; so are the next two."""
        return self._rows().keys()

    def values(self) -> ValuesView[Row]:
        """The rows."""
        return self._rows().values()

    def items(self) -> ItemsView[Hashable, Row]:
        """Keys and rows."""
        return self._rows().items()

    def __repr__(self) -> str:
        return f"<{self._source.name}>"

    def snapshot(self) -> Mapping[Hashable, Row]:
        """The table as it is now, and as it stays for the code that holds it: one read of the cache for many lookups."""
        return MappingProxyType(self._rows())

    async def asnapshot(self) -> Mapping[Hashable, Row]:
        """As ``snapshot``; a load is done in Django's thread for sync code."""
        rows = self._derived(self._cache_key, self._index)
        return MappingProxyType(await sync_to_async(self._rows)() if rows is None else rows)

    @overload
    async def aget(self, key: Hashable) -> Row | None: ...
    @overload
    async def aget(self, key: Hashable, default: Default) -> Row | Default: ...

    async def aget(self, key: Hashable, default: Any = None) -> Any:
        """As ``get``; with a warm table it does not leave the event loop."""
        return (await self.asnapshot()).get(key, default)

    def reload(self) -> None:
        """Read the source again and write it to the cache. Raises what either raises, and then the old table stays.

        One thread or task at a time does so; the others that wait meanwhile are served by one reload that begins after that.
        """
        self._reload(next(self._turns))

    async def areload(self) -> None:
        """As ``reload``."""
        await sync_to_async(self._reload)(next(self._turns))

    # --- loading ---

    def _settings_changed(self, *, setting: str, **_: Any) -> None:
        if setting == "CACHES":
            self._cache: Cache | None = None
            self._derived: Callable[[str, Any], dict[Hashable, Row] | None] = lambda *_: None
            self._known: dict[Hashable, Known] = {}
            self._reloading = threading.RLock()
            self._reloaded: dict[Hashable, int] = {}  # the local key of the last reload, and its turn

    def _bound(self) -> Cache:
        """A backend of the table's own, because Django's ``caches[alias]`` costs four hits."""
        if self._cache is None:
            cache = caches.create_connection(self._alias)
            if not isinstance(cache, (TieredCache, LRUCache)) or not cache.local_timeout(self._cache_key):
                raise ImproperlyConfigured(
                    f"{self._source.name}: alias is {self._alias!r}, a {type(cache).__name__}, where the local timeout of "
                    "this key is 0, so each lookup would read the whole table. Name the alias of a TieredCache or an "
                    "LRUCache that keeps this key."
                )
            self._hold = min(HOLD, cache.local_timeout(self._cache_key))
            self._cache, self._derived = cache, cache.derived
        return self._cache

    def _rows(self) -> Rows:
        """The rows; where they have to be loaded, one caller of this process does that, and the others wait for it."""
        rows = self._derived(self._cache_key, self._index)
        if rows is None:
            cache = self._bound()
            own = Computation(cache.local_key(self._cache_key), cache.refresh_early)
            rows = cache.inflight.share(own, lambda: self._load(cache, own))
            if own.key in cache.early.due and running_loop() is None:  # in which no source may be read
                cache.get_or_set(self._cache_key, self._source.load, self._timeout)
        return rows

    def _load(self, cache: Cache, own: Computation) -> Rows:
        """The rows of the entry; where there is none, those of the source; where that fails, the last ones."""
        rows: Rows | None = cache.derived(self._cache_key, self._index)
        if rows is not None:  # another caller has loaded it meanwhile
            return rows
        asked_at, mark, known = clock(), cache.mark(self._cache_key), self._known.get(own.key)
        if known and known.held_until > asked_at and known.mark == mark and accepts_once(known.asked_at):
            return known.rows
        own.starts()
        entry = cache.get(self._cache_key)
        if entry is not None and (rows := self._indexed(cache, own, entry, asked_at)) is not None:
            return rows
        try:
            loaded = self._source.load()
        except Exception as error:
            if known is None or running_loop() is not None or isinstance(error, time_limits()):
                raise
            if not known.failing:
                logger.warning("%s goes on with what it has, because its source fails: %r.", self._source.name, error)
            known.failing, known.mark, known.held_until = True, mark, clock() + self._hold
            return known.rows
        # An entry that is there has been written by code that expects other fields.
        return self._store(cache, own, loaded, asked_at, cache.get_or_set if entry is None else cache.set)

    def _store(self, cache: Cache, own: Computation, loaded: Any, asked_at: float, store: Callable[..., Any]) -> Rows:
        """Put what the source had into the cache, unless the key has been written since, and return its rows."""
        if own.beta:
            cache.early.took(own)
        if own.stores():
            store(self._cache_key, loaded, self._timeout)
        cache.inflight.stored(own)
        cache.get(self._cache_key)  # fills the local tier
        return self._indexed(cache, own, loaded, asked_at) or {}

    def _indexed(self, cache: Cache, own: Computation, entry: Any, asked_at: float) -> Rows | None:
        """The index of the local copy; without one that of ``entry``, held for a moment: else each lookup would load it."""
        rows: Rows | None = cache.derive(self._cache_key, self._index)
        held_until = 0.0
        if rows is None:
            rows, held_until = self._index(entry), clock() + self._hold
        if rows is not None:
            self._known[own.key] = Known(rows, asked_at, held_until, cache.mark(self._cache_key))
            for oldest in list(self._known)[:-MOST_KEYS]:
                self._known.pop(oldest, None)
            if own.forgotten:  # the key has been written since the load began
                self._known.pop(own.key, None)
        return rows

    def _reload(self, called: int) -> None:
        """Reload, unless a reload has done so that began after the turn ``called``."""
        cache = self._bound()
        own = Computation(cache.local_key(self._cache_key), cache.refresh_early)
        # Not for longer than that: the other one may need what the waiting code holds, such as this thread's event loop.
        lock = self._reloading
        if not (locked := lock.acquire(timeout=PATIENCE)):
            self._reloading = threading.RLock()  # a thread that a fork has left in the parent may hold the other one
        try:
            if self._reloaded.get(own.key, 0) < called:
                cache.inflight.run(lambda: self._reload_now(cache, own), own)
        finally:
            if locked:
                lock.release()

    def _reload_now(self, cache: Cache, own: Computation) -> None:
        cache.inflight.join(own, sync=True)  # it waits for no other; lookups that have no rows wait for it
        own.starts()
        turn, asked_at = next(self._turns), clock()
        self._store(cache, own, self._source.load(), asked_at, cache.set)
        if not own.forgotten:
            self._reloaded = {own.key: turn}
        elif self._reloaded.get(own.key, 0) < turn:
            # Rows that were read earlier may have been written meanwhile: the next lookup loads the table.
            self._known.pop(own.key, None)
            cache.delete(self._cache_key)
