"""``LookupTable``: rows by key, out of an index that the local tier keeps beside its copy of the entry.

A lookup asks the cache for that index, so deadlines, writes, ``fresh()``, outages and tenants are the cache's business.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Hashable, Mapping
from time import monotonic as clock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.signals import setting_changed

from tieredcache.backends import TieredCache
from tieredcache.freshness import accepts_once
from tieredcache.local.entries import NEVER, time_limits
from tieredcache.local.inflight import running_loop, wait
from tieredcache.lookups.load import HOLD, Known, Load, bind, put
from tieredcache.lookups.source import Source
from tieredcache.remote.failures import describe

if TYPE_CHECKING:
    from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView

    from tieredcache.backends import LRUCache
    from tieredcache.local.inflight import Computation
    from tieredcache.lookups.load import Rows

Row = TypeVar("Row", bound=tuple[Any, ...])
Default = TypeVar("Default")

logger: logging.Logger = logging.getLogger("tieredcache")


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
        self._turns = itertools.count(1)
        self._settings_changed(setting="CACHES")
        setting_changed.connect(self._settings_changed)

    def __getitem__(self, key: Hashable) -> Row:
        # As _rows(), without the call: it would add a fifth.
        rows = self._derived(self._cache_key, self._index)
        if rows is None:
            rows = self._load()
        return rows[key]

    @overload
    def get(self, key: Hashable) -> Row | None: ...
    @overload
    def get(self, key: Hashable, default: Default) -> Row | Default: ...

    def get(self, key: Hashable, default: Any = None) -> Any:
        """The row of ``key``, or ``default``; ``table[key]`` raises ``KeyError`` instead."""
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
        """The table as it is now, and as it stays for whoever holds it: one read of the cache for many lookups."""
        return MappingProxyType(self._rows())

    async def asnapshot(self) -> Mapping[Hashable, Row]:
        """As ``snapshot``; a load is done in Django's thread for sync code."""
        rows = self._derived(self._cache_key, self._index)
        if rows is None and (rows := self._found()) is None:
            rows = await self._aload()
        return MappingProxyType(rows)

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
            self._cache: TieredCache | LRUCache | None = None
            self._derived: Callable[[str, Any], dict[Hashable, Row] | None] = lambda *_: None
            self._known: dict[Hashable, Known] = {}
            self._reloads: dict[Hashable, Load] = {}  # the last to begin of each local key

    def _bound(self) -> TieredCache | LRUCache:
        cache = self._cache
        if cache is None:
            cache = self._cache = bind(self._alias, self._cache_key, self._source.name)
            self._hold = min(HOLD, cache.local_timeout(self._cache_key)) if isinstance(cache, TieredCache) else HOLD
            self._derived = cache.derived
        return cache

    def _rows(self) -> Rows:
        rows = self._derived(self._cache_key, self._index)
        return self._load() if rows is None else rows

    def _found(self) -> Rows | None:
        """The index of the local copy, or the rows that are held in place of one."""
        cache = self._bound()
        rows: Rows | None = cache.derived(self._cache_key, self._index)
        known = self._known.get(cache.local_key(self._cache_key)) if rows is None else None
        if known is None or known.held_until <= clock() or not accepts_once(known.asked_at):
            return rows
        return known.rows if known.mark == cache.mark(self._cache_key) else None

    def _load(self) -> Rows:
        """The rows, loaded by one caller of this process; those that come meanwhile wait for it."""
        if (rows := self._found()) is not None:
            return rows
        cache = self._bound()
        own = Load(cache.local_key(self._cache_key))
        return cache.inflight.share(own, lambda other: self._loaded(cache, own, other))

    async def _aload(self) -> Rows:
        cache = self._bound()
        own = Load(cache.local_key(self._cache_key))

        async def loaded(other: Computation | None) -> Rows:
            if other is not None and (rows := self._found()) is not None:
                return rows
            return await sync_to_async(self._loaded)(cache, own, other)

        return await cache.inflight.ashare(own, loaded)

    def _loaded(self, cache: TieredCache | LRUCache, own: Load, other: Computation | None) -> Rows:
        """What ``other``, which has been waited for, has loaded; else what this caller loads."""
        if (rows := self._found()) is not None:
            return rows
        if isinstance(other, Load) and other.error is not None and own.key not in self._known:
            raise other.error
        own.starts()
        try:
            return self._ask(cache, own)
        finally:
            cache.inflight.stored(own)

    def _ask(self, cache: TieredCache | LRUCache, own: Load) -> Rows:
        asked_at, known = clock(), self._known.get(own.key)
        try:
            entry = cache.get_or_set(self._cache_key, lambda: own.read(self._source), self._timeout)
            rows = self._indexed(cache, own, entry, asked_at)
            down = isinstance(cache, TieredCache) and cache.local.in_outage
            if rows is None:  # the entry of code that expects other fields: overwritten, but not each time, or both would be
                if known is not None and known.asked_at + HOLD > asked_at:
                    return known.rows
                entry = own.read(self._source)
            elif down or own.forgotten or not own.has_read or cache.derived(self._cache_key, self._index) is not None:
                return rows
            # What was read was not added either, perhaps because there is an entry that does not decode.
            return self._write(cache, own, entry, asked_at) if own.stores() else self._index(entry) or {}
        except Exception as error:
            if own.error is not error or known is None or running_loop() is not None or isinstance(error, time_limits()):
                raise
            if not known.failing:
                name, cause = self._source.name, describe(error)
                logger.warning("%s goes on with what it has, because its source fails: %s.", name, cause)
            self._learn(own, Known(known.rows, asked_at, clock() + self._hold, cache.mark(self._cache_key), failing=True))
            return known.rows

    def _write(self, cache: TieredCache | LRUCache, own: Load, entry: tuple[Any, ...], asked_at: float) -> Rows:
        cache.set(self._cache_key, entry, self._timeout)
        cache.get(self._cache_key)  # fills the local tier
        return self._indexed(cache, own, entry, asked_at) or {}

    def _indexed(self, cache: TieredCache | LRUCache, own: Load, entry: tuple[Any, ...], asked_at: float) -> Rows | None:
        """The index of the local copy; without one that of ``entry``, held for a moment: else each lookup would load it."""
        rows: Rows | None = cache.derive(self._cache_key, self._index)
        held_until = NEVER
        if rows is None:
            rows, held_until = self._index(entry), clock() + self._hold
        if rows is not None:
            self._learn(own, Known(rows, asked_at, held_until, cache.mark(self._cache_key), failing=False))
        return rows

    def _learn(self, own: Load, known: Known) -> None:
        """Remember ``known``, unless the key has been written since the load began."""
        if not own.forgotten:
            put(self._known, own.key, known)
            if own.forgotten:  # meanwhile
                self._known.pop(own.key, None)  # type: ignore[unreachable]  # mypy knows no other threads

    def _reload(self, called: int) -> None:
        """Reload, unless another thread or task has done so that began after the turn ``called``."""
        cache = self._bound()
        load = Load(cache.local_key(self._cache_key))
        own = Load((load.key, "reload"))  # it waits for other reloads, and not for loads
        cache.inflight.run(lambda: self._reload_in_turn(cache, own, load, called), load, own)

    def _reload_in_turn(self, cache: TieredCache | LRUCache, own: Load, load: Load, called: int) -> None:
        inflight = cache.inflight
        while not own.is_served(self._reloads, called) and (other := inflight.join(own, sync=True)) is not None:
            if not wait(other):
                inflight.overdue(own, other)
                break
            if isinstance(other, Load) and other.turn > called:
                if other.error is not None:
                    raise other.error
                break  # it has written; or it could not, and then nobody waits for another one
        if own.is_served(self._reloads, called):
            return
        inflight.join(load, sync=True)
        load.starts()
        own.turn, asked_at = next(self._turns), clock()
        put(self._reloads, own.key, own)
        entry = own.read(self._source)
        if own.is_served(self._reloads, own.turn):
            return
        if self._reloads.get(own.key, own) is own and load.stores():
            self._replace(cache, load, entry, asked_at)
            own.written = self._reloads.get(own.key, own) is own
        if not own.written:
            # One that could not wait has begun meanwhile, or the key was written: whoever looks it up next loads the table.
            cache.delete(self._cache_key)

    def _replace(self, cache: TieredCache | LRUCache, own: Load, entry: tuple[Any, ...], asked_at: float) -> None:
        old = cache.get(self._cache_key)
        try:
            self._write(cache, own, entry, asked_at)
        except (TypeError, ValueError):  # of what the remote's serializer has made of it
            cache.delete(self._cache_key)
            if old is not None:
                cache.set(self._cache_key, old, self._timeout)
            raise
