"""Loading a lookup table: from the cache where it is kept, from its source where not, and the index of what was found.

What is kept is ``(FORMAT, signature, fields, rows)``, all of it tuples, so that any serializer carries it. The signature
tells what the reader expects: code with other fields leaves the entry alone, and keeps its own under another key.

Sync and async loads take the same steps. So those are generators, which yield what is to be done and are sent what came of
it; ``_done`` does it, and ``_adone`` awaits it.
"""

from __future__ import annotations

import itertools
import logging
import threading
import weakref
from collections.abc import Callable, Generator
from time import monotonic as clock
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from tieredcache.entries import NEVER, UNKNOWN
from tieredcache.errors import describe, without_frames
from tieredcache.flights import Flights, await_, in_event_loop, wait
from tieredcache.forks import in_child
from tieredcache.locks import guard
from tieredcache.sources import hashable, row_class

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tieredcache.flights import Flight
    from tieredcache.sources import Source

# What looks into this process's memory, the key to do it with, what it must return for the index to be good, and the index.
State: TypeAlias = tuple[Callable[[Any], Any], Any, Any, dict[Any, Any]]
# Each step is the name of a method and its arguments.
Steps: TypeAlias = Generator[tuple[Any, ...], Any, Any]

logger: logging.Logger = logging.getLogger("tieredcache")

FORMAT: Final = 1
RETRY_AFTER: Final = 1.0
"""Seconds until a source that has failed is tried again, while the old table is served; and for which at least a table is
served that the cache does not keep."""

_NOTHING_READ: Final[State] = (lambda _: None, None, object(), {})
_tables: weakref.WeakValueDictionary[int, TableLoads] = weakref.WeakValueDictionary()


class TableLoads:
    """The half of ``LookupTable`` that loads. ``_state``: what the other half looks up rows in, while it is good.

    ``cache_keys``: where the table is kept: under the first, or, where code that expects other fields has taken that, under
    the second.
    """

    def __init__(self, cache_key: str, source: Source, *, key: str, timeout: Any, alias: str, row: Any) -> None:
        self._source = source
        self._key = key
        self.cache_keys: tuple[str, str] = (cache_key, f"{cache_key}:{source.signature}")
        self._timeout = timeout
        self._alias = alias
        self._row = row
        self._turns = itertools.count(1)
        self._written = 0  # the last turn of a reload that has written
        self.unbind()
        self.after_fork()
        _tables[id(self)] = self

    def after_fork(self) -> None:
        """Make the table usable in a child process: a thread of the parent may have held its lock, or led a flight."""
        self._lock = guard(threading.RLock())
        self._flights = Flights()

    def unbind(self) -> None:
        """Look the alias up anew, and read the table again."""
        self._state = _NOTHING_READ
        self._held_until = self._retry_at = NEVER

    def reload(self) -> None:
        """Read the source again and write it to the cache. Raises what either raises, and then the old table stays."""
        self._done(self._reloading(self._cache()))

    async def areload(self) -> None:
        """As ``reload``."""
        await self._adone(self._reloading(self._cache()))

    def _read(self) -> dict[Any, Any]:
        rows: dict[Any, Any] = self._done(self._reading(self._cache(), blocking=in_event_loop()))
        return rows

    async def _aread(self) -> dict[Any, Any]:
        rows: dict[Any, Any] = await self._adone(self._reading(self._cache(), blocking=False))
        return rows

    def _done(self, steps: Steps) -> Any:
        cache = self._cache()
        actions: dict[str, Any] = {"load": self._source.load, "wait": wait}
        try:
            name, *arguments = next(steps)
            while True:
                try:
                    result = (actions.get(name) or getattr(cache, name))(*arguments)
                except BaseException as error:  # noqa: BLE001 - the steps' to handle, or not
                    name, *arguments = steps.throw(error)
                else:
                    name, *arguments = steps.send(result)
        except StopIteration as end:
            return end.value

    async def _adone(self, steps: Steps) -> Any:
        cache = self._cache()
        actions: dict[str, Any] = {"load": self._source.aload, "wait": await_}
        try:
            name, *arguments = next(steps)
            while True:
                try:
                    result = await (actions.get(name) or getattr(cache, f"a{name}"))(*arguments)
                except BaseException as error:  # noqa: BLE001 - as above
                    name, *arguments = steps.throw(error)
                else:
                    name, *arguments = steps.send(result)
        except StopIteration as end:
            return end.value

    def _cache(self) -> Any:
        cache: Any = caches[self._alias]  # of this thread or task
        if not hasattr(type(cache), "keep_shared"):
            raise ImproperlyConfigured(
                f"{self._source.name}: alias is {self._alias!r}, a {type(cache).__name__}, where each lookup would read "
                "the whole table. Name the alias of a TieredCache or an LRUCache."
            )
        for cache_key in self.cache_keys:
            cache.keep_shared(cache_key)
        return cache

    # --- the steps ---

    def _reading(self, cache: Any, *, blocking: bool) -> Steps:
        """The index: of what the cache has, or else of what the source has. ``blocking``: in an event loop, not awaited."""
        while True:
            cache_key, value = yield from self._finding()
            if value is not UNKNOWN:
                return self._adopt(cache, cache_key, value)
            if clock() < max(self._held_until, self._retry_at):
                return self._state[3]
            flight = self._flights.other(None)
            if flight is None:
                with self._flights.lead(None) as led:
                    if led is not None:
                        return (yield from self._loading(cache, led, blocking=blocking))
            elif not (yield "wait", flight):
                return (yield from self._loading(cache, None, blocking=blocking))  # to wait would be for ever
            elif flight.error is not None:
                if self._state is not _NOTHING_READ:
                    return self._state[3]
                raise without_frames(flight.error)

    def _loading(self, cache: Any, led: Flight | None, *, blocking: bool) -> Steps:
        rows = None
        for _ in range(2):
            # Once more: another flight may have landed between the look and the lead.
            cache_key, value = yield from self._finding()
            if value is not UNKNOWN:
                return self._adopt(cache, cache_key, value)
            began = clock()
            try:
                packed = self._packed((yield ("load",)))
            except Exception as error:
                # What must not be called from an event loop will fail there for ever: that is the caller's to know.
                if blocking or not self._goes_on(error):
                    if led is not None:
                        led.error = without_frames(error)
                    raise
                return self._state[3]
            added = yield "add", cache_key, packed, self._timeout
            value = yield "get", cache_key, UNKNOWN
            if value is UNKNOWN and not added:  # what is there does not decode, or nothing can be written
                yield "set", cache_key, packed, self._timeout
                value = yield "get", cache_key, UNKNOWN
            if self._fits(value):
                return self._adopt(cache, cache_key, value)
            rows = self._hold(packed, began)
            if not added:
                break
            # Else somebody has deleted it this moment, and means it.
        return rows

    def _reloading(self, cache: Any) -> Steps:
        turn, began = next(self._turns), clock()
        packed = self._packed((yield ("load",)))
        self._indexed(*packed[2:])
        cache_key, old = yield from self._finding()
        if turn < self._written:
            return  # one that has begun later has read the source later
        yield "set", cache_key, packed, self._timeout
        self._written = max(turn, self._written)
        value = yield "get", cache_key, UNKNOWN
        if not self._fits(value):
            self._hold(packed, began)
            return
        try:
            self._adopt(cache, cache_key, value)
        except (TypeError, ValueError):  # of what the serializer has made of it
            yield ("delete", cache_key) if old is UNKNOWN else ("set", cache_key, old, self._timeout)
            raise

    def _finding(self) -> Steps:
        """The key under which the table is to be kept, and what is there: ours, or ``UNKNOWN``."""
        first, second = self.cache_keys
        value = yield "get", first, UNKNOWN
        if value is UNKNOWN or self._fits(value):
            return first, value
        value = yield "get", second, UNKNOWN
        if value is UNKNOWN or self._fits(value):
            return second, value
        yield "delete", second  # nobody else's
        return second, UNKNOWN

    # --- what came of it ---

    def _goes_on(self, error: Exception) -> bool:
        """Whether there is a table to serve although the source has failed."""
        if self._state is _NOTHING_READ:
            return False
        if self._retry_at == NEVER:
            logger.warning("%s goes on with what it has, because its source fails: %s.", self._source.name, describe(error))
        self._retry_at = clock() + RETRY_AFTER
        return True

    def _packed(self, table: tuple[Any, ...]) -> tuple[Any, ...]:
        return FORMAT, self._source.signature, *table

    def _fits(self, value: Any) -> bool:
        return isinstance(value, (tuple, list)) and list(value[:2]) == [FORMAT, self._source.signature]

    def _adopt(self, cache: Any, cache_key: str, value: Any) -> dict[Any, Any]:
        """Index ``value``, once for each object that the cache returns."""
        with self._lock:
            _, _, known, rows = self._state
            if known is not value:
                rows = self._indexed(*value[2:])
                self._state = (*cache.peek(cache_key), value, rows)
            self._held_until = self._retry_at = NEVER
        return rows

    def _hold(self, packed: tuple[Any, ...], began: float) -> dict[Any, Any]:
        """Serve for a while what the cache does not keep, because the remote is down or full, say.

        As long as the cache would serve a copy, or a second where it would none: else each lookup would read the source.
        """
        rows = self._indexed(*packed[2:])
        cache: Any = caches[self._alias]
        seconds = max(RETRY_AFTER, cache.keep_shared(self.cache_keys[0]))
        if isinstance(self._timeout, (int, float)):
            seconds = min(seconds, self._timeout)
        with self._lock:
            self._state = (*_NOTHING_READ[:3], rows)
            self._held_until = began + seconds
        return rows

    def _indexed(self, fields: Sequence[str], table: Iterable[Sequence[Any]]) -> dict[Any, Any]:
        if not fields:
            return {}
        kind: Any = self._row or row_class(tuple(fields))
        make = kind._make
        place = list(fields).index(self._key)
        # As the remote's serializer has returned them: JSON makes lists of tuples, and may make one key of two.
        found = list(table)
        rows = {hashable(values[place], self._source.name, self._key): make(values) for values in found}
        if len(rows) < len(found):
            raise ValueError(f"{self._source.name}: the cache's serializer has made two rows alike in {self._key!r}")
        return rows


def _after_fork_in_child() -> None:
    for table in list(_tables.values()):
        table.after_fork()


def _settings_changed(*, setting: str, **_: Any) -> None:
    if setting == "CACHES":
        for table in list(_tables.values()):
            table.unbind()


in_child(_after_fork_in_child)
setting_changed.connect(_settings_changed)
