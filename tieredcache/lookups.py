"""Read-through lookup tables: one cache entry holds a table, each process indexes it once and looks rows up in memory.

A lookup asks the cache for the entry, which is a local hit of ``TieredCache`` or ``LRUCache``, and compares identities:
while it is the very object that the index was made of, the index is good. So deadlines, writes, ``fresh()`` and outages are
the cache's business, and hold here as they do there.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from tieredcache.loads import TableLoads
from tieredcache.sources import Source

if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterator, KeysView, ValuesView

Row = TypeVar("Row", bound=tuple[Any, ...])
Default = TypeVar("Default")


class LookupTable(TableLoads, Mapping[Hashable, Row], Generic[Row]):
    """A small table, read through a cache: a mapping from the values of the field ``key`` to rows, which are named tuples.

    ``cache_key``: the key of the entry that holds the table. ``source``: a queryset of mappings (``.values(...)``), which is
    evaluated anew for each load, or a callable, sync or async, that returns mappings. ``timeout``: seconds until the source
    is read again; ``None``: never; the default is that of the cache. ``alias``: of a ``TieredCache`` or ``LRUCache``.
    ``row``: the ``NamedTuple`` class of the rows: only its fields are read from the source; without it the rows
    have all the fields that the source has. ``cache_keys``: the keys under which the cache may have it.

    Rows are shared by all readers, and so are values in them that can be changed: do not change them. A lookup may read the
    cache, and the source. Raises whatever they raise; ``TypeError`` or ``ValueError`` where the source's rows make no table;
    ``ImproperlyConfigured`` where the alias keeps nothing in this process. While a source fails, the table that this process
    knows is served on, and the error is logged.
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
        loaded = Source(f"LookupTable {cache_key!r}", source, key, row)
        super().__init__(cache_key, loaded, key=key, timeout=timeout, alias=alias, row=row)

    def __getitem__(self, key: Hashable) -> Row:
        # As _rows(), without the call: it would add a fifth.
        peek, made, known, rows = self._state
        if peek(made) is not known:
            rows = self._read()
        row: Row = rows[key]
        return row

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

    @overload
    async def aget(self, key: Hashable) -> Row | None: ...
    @overload
    async def aget(self, key: Hashable, default: Default) -> Row | Default: ...

    async def aget(self, key: Hashable, default: Any = None) -> Any:
        """As ``get``; with a warm table it does not leave the event loop."""
        return (await self.asnapshot()).get(key, default)

    def snapshot(self) -> Mapping[Hashable, Row]:
        """The table as it is now, and as it stays for whoever holds it: one look at the cache for many lookups."""
        return MappingProxyType(self._rows())

    async def asnapshot(self) -> Mapping[Hashable, Row]:
        """As ``snapshot``."""
        peek, made, known, rows = self._state
        if peek(made) is not known:
            rows = await self._aread()
        return MappingProxyType(rows)

    def _rows(self) -> dict[Hashable, Row]:
        peek, made, known, rows = self._state
        return rows if peek(made) is known else self._read()
