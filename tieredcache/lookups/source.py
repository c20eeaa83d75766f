"""What a lookup table is loaded from: a queryset or a callable, and the checks that its rows make a table."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
from collections import namedtuple
from collections.abc import Mapping
from types import CodeType
from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import async_to_sync
from django.db.models import QuerySet
from django.db.models.query import ValuesIterable

from tieredcache.local.inflight import running_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FORMAT: Final = 1
"""The first item of every entry; another one means that the rest is arranged in another way."""


class Source:
    """Loads a table and indexes it. ``name``: of the table, for messages. ``key``: the field that rows are looked up by.

    An entry is ``(FORMAT, signature, fields, rows)``, all of it tuples, so that any serializer carries it. ``signature``:
    the same for sources whose rows have the same fields. Raises ``TypeError`` or ``ValueError`` for what cannot be a source.
    """

    def __init__(self, name: str, source: Any, key: str, row: Any) -> None:
        self.name = name
        self._source = source
        self._key = key
        self._row = row
        self._fields: tuple[str, ...] | None = None
        if row is not None:
            self._fields = getattr(row, "_fields", None)
            if not (inspect.isclass(row) and self._fields and tuple in row.__mro__):
                raise TypeError(f"{name}: row is {row!r}, not a NamedTuple class")
        if isinstance(source, QuerySet):
            if not issubclass(source._iterable_class, ValuesIterable):  # noqa: SLF001 - there is no public way to ask
                raise TypeError(f'{name}: the queryset does not return mappings. Name the fields: .values("{key}", ...)')
            query: Any = source.query
            self._fields = self._fields or (*query.extra_select, *query.values_select, *query.annotation_select)
        elif not callable(source):
            raise TypeError(f"{name}: the source is {source!r}, neither a queryset nor a callable that returns mappings")
        if self._fields is not None:
            self._check_fields(self._fields)
        known = fingerprint(source) if self._fields is None else repr(self._fields)
        self.signature: str = hashlib.sha256(f"{key}:{known}".encode()).hexdigest()[:16]

    def load(self) -> tuple[Any, ...]:
        """The entry for the rows that the source has now; raises what it raises, with a note that names the table."""
        try:
            found = self._source.all() if isinstance(self._source, QuerySet) else self._source()
            return FORMAT, self.signature, *self._table(self._awaited(found))
        except StopIteration as error:  # it would end the generator or coroutine that has called this
            raise RuntimeError(f"{self.name}: its source raised StopIteration") from error
        except Exception as error:
            note = f"While reading the source of {self.name}."
            if note not in getattr(error, "__notes__", []):
                with contextlib.suppress(Exception):  # an exception may take no notes
                    error.add_note(note)
            raise

    def index(self, entry: Any) -> dict[Any, Any] | None:
        """The rows of an entry by their keys; ``None`` for an entry that code with other fields has written."""
        if not isinstance(entry, (tuple, list)) or list(entry[:2]) != [FORMAT, self.signature]:
            return None
        # As the remote's serializer has returned them: JSON makes lists of tuples, and may make one key of two.
        fields, table = tuple(entry[2]), list(entry[3])
        make = (self._row or row_class(fields))._make
        place = fields.index(self._key) if fields else 0
        rows = {self._hashable(values[place]): make(values) for values in table}
        if len(rows) < len(table):
            raise ValueError(f"{self.name}: the cache's serializer has made two rows alike in {self._key!r}")
        return rows

    def _awaited(self, found: Any) -> Any:
        if isinstance(found, QuerySet) or not (inspect.isawaitable(found) or hasattr(found, "__aiter__")):
            return found
        if running_loop():
            getattr(found, "close", lambda: None)()  # a coroutine that is not awaited warns
            raise RuntimeError(f"{self.name}: its source is async, and so is the caller: await aget() or areload()")
        return async_to_sync(_collect)(found)

    def _table(self, found: Iterable[Any]) -> tuple[Any, Any]:
        fields = self._fields
        rows: dict[Any, tuple[Any, ...]] = {}
        for number, row in enumerate(found):
            where = f"{self.name}: row {number} of its source"
            if not isinstance(row, Mapping):
                raise TypeError(f"{where} is a {type(row).__name__}, not a mapping: {row!r}")
            if fields is None:
                fields = tuple(row)
                self._check_fields(fields)
            missing = [field for field in fields if field not in row]
            if missing:
                raise ValueError(f"{where} has no {missing[0]!r}: {row!r}")
            if self._fields is None and len(row) > len(fields):
                raise ValueError(f"{where} has other fields than the first: {row!r}")
            key = self._hashable(row[self._key])
            if key in rows:
                raise ValueError(f"{self.name}: its source has two rows whose {self._key!r} is {key!r}")
            rows[key] = tuple(row[field] for field in fields)
        return fields or (), tuple(rows.values())

    def _check_fields(self, fields: tuple[Any, ...]) -> None:
        if self._key not in fields:
            known = ", ".join(map(str, fields))
            raise ValueError(f"{self.name}: key is {self._key!r}, which is not one of its fields: {known}")
        try:
            row_class(fields)
        except (TypeError, ValueError) as error:
            problem = f"{self.name}: its fields {fields!r} cannot be those of a named tuple: {error}. Give them other names."
            raise ValueError(problem) from error

    def _hashable(self, key: Any) -> Any:
        try:
            hash(key)
        except TypeError:
            problem = f"{self._key!r} is a {type(key).__name__} in one row, which cannot be looked up: {key!r}"
            raise TypeError(f"{self.name}: {problem}") from None
        return key


async def _collect(found: Any) -> Any:
    if inspect.isawaitable(found):
        found = await found
    return [row async for row in found] if hasattr(found, "__aiter__") else found


@functools.lru_cache(maxsize=256)
def row_class(fields: tuple[str, ...]) -> Any:
    """The named tuple for these fields. Its instances can be pickled, though no module has the class."""
    row: Any = namedtuple("Row", fields)  # type: ignore[misc]
    return type("Row", (row,), {"__slots__": (), "__reduce__": lambda self: (_row, (fields, tuple(self)))})


def _row(fields: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    return row_class(fields)(*values)


def fingerprint(source: Callable[..., Any]) -> str:
    """A digest of the code of a callable that names no fields: its names and constants, but not the lines it is on.

    The same in every process that runs the same code; another one when a deploy has changed it.
    """
    while isinstance(source, functools.partial):
        source = source.func
    function = inspect.unwrap(getattr(source, "__func__", source))
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return _text(code) if code else getattr(function, "__qualname__", type(function).__qualname__)


def _text(constant: Any) -> str:
    if isinstance(constant, CodeType):
        return f"{constant.co_names} {[_text(inner) for inner in constant.co_consts]}"
    # The order of a set differs from process to process.
    return str(sorted(map(repr, constant))) if isinstance(constant, frozenset) else repr(constant)
