"""Loading a lookup table: from the cache where it is kept, from its source where not, and the index of what was found.

What is kept is ``(FORMAT, signature, fields, rows)``, all of it tuples, so that any serializer carries it. The signature
tells what the reader expects: code with other fields leaves the entry alone, and keeps its own under another key.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable
from time import monotonic as clock
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from tieredcache.entries import NEVER, UNKNOWN
from tieredcache.failures import describe
from tieredcache.sources import hashable, row_class

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tieredcache.sources import Source, Table

# The method that reads, the key it is called with, what it must return for the index to be good, and the index.
State: TypeAlias = tuple[Callable[[str], Any], str, Any, dict[Any, Any]]

logger = logging.getLogger("tieredcache")

FORMAT: Final = 1
RETRY_AFTER: Final = 1.0
"""Seconds until a source that has failed is tried again, while the old table is served."""

_NOTHING_READ: Final[State] = (lambda _: None, "", object(), {})
_tables: weakref.WeakValueDictionary[int, TableLoads] = weakref.WeakValueDictionary()


class SourceFailedError(Exception):
    """Carries an error of the source through the cache, to be told from the cache's own."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class TableLoads:
    """The half of ``LookupTable`` that loads. ``_state``: what the other half looks up rows in, while it is good."""

    def __init__(self, cache_key: str, source: Source, *, key: str, timeout: Any, alias: str, row: Any) -> None:
        self._source = source
        self._key = key
        # The second is for where the first has been taken by code that expects other fields.
        self._cache_keys = (cache_key, f"{cache_key}:{source.signature}")
        self._timeout = timeout
        self._alias = alias
        self._row = row
        self.unbind()
        self.after_fork()
        _tables[id(self)] = self

    def after_fork(self) -> None:
        """Make the table usable in a child process: a thread of the parent may have held its lock."""
        self._lock = threading.RLock()

    def unbind(self) -> None:
        """Look the alias up anew, and read the table again."""
        self._bound: Any = None
        self._state = _NOTHING_READ
        self._local_timeout = 0.0
        self._held_until = self._retry_at = NEVER

    def reload(self) -> None:
        """Read the source again and write it to the cache. Raises what either raises, and then the old table stays."""
        began, cache = clock(), self._cache()
        value = self._packed(self._source.load())
        cache_key, _ = self._find(cache)
        cache.set(cache_key, value, self._timeout)
        found = cache.get(cache_key)
        self._adopt(cache_key, found if self._fits(found) else value, began)

    async def areload(self) -> None:
        """As ``reload``."""
        began, cache = clock(), self._cache()
        value = self._packed(await self._source.aload())
        cache_key, _ = await self._afind(cache)
        await cache.aset(cache_key, value, self._timeout)
        found = await cache.aget(cache_key)
        self._adopt(cache_key, found if self._fits(found) else value, began)

    def _read(self) -> dict[Any, Any]:
        cache, value, failure = self._cache(), None, None
        while not self._fits(value):
            began = clock()
            cache_key, value = self._find(cache)
            if value is UNKNOWN:
                if began < max(self._held_until, self._retry_at):
                    return self._state[3]
                try:
                    value = cache.get_or_set(cache_key, self._load, self._timeout)
                except SourceFailedError as failed:
                    failure = failed.error
                if failure is not None:
                    return self._without(failure)
        return self._adopt(cache_key, value, began)

    async def _aread(self, cache: Any) -> dict[Any, Any]:
        value = failure = None
        while not self._fits(value):
            began = clock()
            cache_key, value = await self._afind(cache)
            if value is UNKNOWN:
                if began < max(self._held_until, self._retry_at):
                    return self._state[3]
                try:
                    value = await cache.aget_or_set(cache_key, self._aload, self._timeout)
                except SourceFailedError as failed:
                    failure = failed.error
                if failure is not None:
                    return self._without(failure)
        return self._adopt(cache_key, value, began)

    def _cache(self) -> Any:
        cache: Any = self._bound
        if cache is None:
            cache = caches[self._alias]
            if not hasattr(type(cache), "keep_shared"):
                raise ImproperlyConfigured(
                    f"{self._source.name}: alias is {self._alias!r}, a {type(cache).__name__}, where each lookup would read "
                    "the whole table. Name the alias of a TieredCache or an LRUCache."
                )
            for cache_key in self._cache_keys:
                self._local_timeout = cache.keep_shared(cache_key)
            self._bound = cache
        return cache

    def _find(self, cache: Any) -> tuple[str, Any]:
        """The key under which the table is to be kept, and what is there: ours, or ``UNKNOWN``."""
        first, second = self._cache_keys
        value = cache.get(first, UNKNOWN)
        if value is UNKNOWN or self._fits(value):
            return first, value
        value = cache.get(second, UNKNOWN)
        if not (value is UNKNOWN or self._fits(value)):
            cache.delete(second)  # nobody else's
            value = UNKNOWN
        return second, value

    async def _afind(self, cache: Any) -> tuple[str, Any]:
        first, second = self._cache_keys
        value = await cache.aget(first, UNKNOWN)
        if value is UNKNOWN or self._fits(value):
            return first, value
        value = await cache.aget(second, UNKNOWN)
        if not (value is UNKNOWN or self._fits(value)):
            await cache.adelete(second)
            value = UNKNOWN
        return second, value

    def _load(self) -> Any:
        self._check_retry()
        try:
            return self._packed(self._source.load())
        except Exception as error:
            raise self._failed(error) from error

    async def _aload(self) -> Any:
        self._check_retry()
        try:
            return self._packed(await self._source.aload())
        except Exception as error:
            raise self._failed(error) from error

    def _check_retry(self) -> None:
        """Those who have waited for a reader that failed do not all try too, where there is a table to serve."""
        if clock() < self._retry_at:
            raise SourceFailedError(RuntimeError("the source has failed a moment ago"))

    def _failed(self, error: Exception) -> SourceFailedError:
        if self._state is not _NOTHING_READ:
            if self._retry_at is NEVER:
                logger.warning(
                    "%s goes on with what it has, because its source fails: %s.", self._source.name, describe(error)
                )
            self._retry_at = clock() + RETRY_AFTER
        return SourceFailedError(error)

    def _without(self, error: Exception) -> dict[Any, Any]:
        """The table as it was, where the source has failed."""
        if self._state is _NOTHING_READ:
            raise error
        return self._state[3]

    def _packed(self, table: Table) -> tuple[Any, ...]:
        return FORMAT, self._source.signature, *table

    def _fits(self, value: Any) -> bool:
        return isinstance(value, (tuple, list)) and list(value[:2]) == [FORMAT, self._source.signature]

    def _adopt(self, cache_key: str, value: Any, began: float) -> dict[Any, Any]:
        """Index ``value``, once for each object that the cache returns."""
        cache = self._bound
        with self._lock:
            _, _, known, rows = self._state
            if known is not value:
                rows = self._indexed(*value[2:])
                self._state = (cache.get, cache_key, value, rows)
                self._retry_at = NEVER
        # What the cache does not keep, because the remote is down or full, is not loaded again for each lookup.
        self._held_until = NEVER if cache.is_kept(cache_key) else began + self._local_timeout
        return rows

    def _indexed(self, fields: Sequence[str], table: Iterable[Sequence[Any]]) -> dict[Any, Any]:
        if not fields:
            return {}
        kind: Any = self._row or row_class(tuple(fields))
        make = kind._make
        place = list(fields).index(self._key)
        # As the remote's serializer has returned them: JSON makes lists of tuples.
        return {hashable(values[place], self._source.name, self._key): make(values) for values in table}


def _after_fork_in_child() -> None:
    for table in list(_tables.values()):
        table.after_fork()


def _settings_changed(*, setting: str, **_: Any) -> None:
    if setting == "CACHES":
        for table in list(_tables.values()):
            table.unbind()


os.register_at_fork(after_in_child=_after_fork_in_child)
setting_changed.connect(_settings_changed)
