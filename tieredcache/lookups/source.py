"""What a lookup table is loaded from: a queryset or a callable, and the checks that its rows make a table."""

from __future__ import annotations

import functools
import inspect
from collections import namedtuple
from collections.abc import Mapping
from hashlib import sha256
from types import CodeType
from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import async_to_sync
from django.db.models import QuerySet
from django.db.models.query import ValuesIterable

if TYPE_CHECKING:
    from collections.abc import Callable

FORMAT: Final = 1
"""The first item of every entry; another one means that the rest is arranged in another way."""


class Source:
    """Loads a table and indexes it. ``name``: of the table, for messages. ``key``: the field that rows are looked up by.

    An entry is ``(FORMAT, signature, fields, rows)``, all of it tuples, so that any serializer carries it. ``signature``:
    the same for sources whose rows have the same fields. Raises ``TypeError`` or ``ValueError`` for what cannot be a source.
    """

    def __init__(self, name: str, source: Any, key: str, row: Any) -> None:
        self.name = name
        self._source, self._key, self._row = source, key, row
        self._fields: tuple[str, ...] | None = getattr(row, "_fields", None)
        if row is not None and self._fields is None:
            raise TypeError(f"{name}: row is {row!r}, not a NamedTuple class")
        if isinstance(source, QuerySet):
            if not issubclass(source._iterable_class, ValuesIterable):  # noqa: SLF001 - there is no public way to ask
                raise TypeError(f'{name}: the queryset does not return mappings. Name the fields: .values("{key}", ...)')
            query: Any = source.query
            self._fields = self._fields or (*query.extra_select, *query.values_select, *query.annotation_select)
        elif not callable(source):
            raise TypeError(f"{name}: the source is {source!r}, neither a queryset nor a callable that returns mappings")
        known = self._checked(self._fields) if self._fields else fingerprint(source)
        self.signature: str = sha256(f"{key}:{known}".encode()).hexdigest()[:16]

    def load(self) -> tuple[Any, ...]:
        """The entry for the rows that the source has now; raises what it raises, with a note that names the table."""
        try:
            found = self._source.all() if isinstance(self._source, QuerySet) else self._source()
            if inspect.isawaitable(found) or (hasattr(found, "__aiter__") and not isinstance(found, QuerySet)):
                found = async_to_sync(_collect)(found)
            return FORMAT, self.signature, *self._table(found)
        except StopIteration as error:  # asyncio cannot pass it on: a caller that waited for it would wait without an end
            raise RuntimeError(f"{self.name}: its source raised StopIteration") from error
        except Exception as error:
            error.add_note(f"While reading the source of {self.name}.")
            raise

    def index(self, entry: Any) -> dict[Any, Any] | None:
        """The rows of an entry by their keys; ``None`` for an entry that code with other fields has written."""
        if not isinstance(entry, (tuple, list)) or list(entry[:2]) != [FORMAT, self.signature]:
            return None
        fields = tuple(entry[2])  # JSON makes lists of tuples
        make, place = (self._row or row_class(fields))._make, fields.index(self._key) if fields else 0
        return {values[place]: make(values) for values in entry[3]}

    def _table(self, found: Any) -> tuple[Any, Any]:
        fields = self._fields
        rows: dict[Any, tuple[Any, ...]] = {}
        for number, row in enumerate(found):
            if not isinstance(row, Mapping):
                raise TypeError(f"row {number} is a {type(row).__name__}, not a mapping: {row!r}")
            fields = fields or self._checked(tuple(row))
            if not row.keys() >= set(fields) or (self._fields is None and len(row) > len(fields)):
                raise ValueError(f"row {number} does not have the fields {', '.join(fields)}: {row!r}")
            key = row[self._key]
            if key in rows:
                raise ValueError(f"two rows whose {self._key!r} is {key!r}")
            rows[key] = tuple([row[field] for field in fields])
        return fields or (), tuple(rows.values())

    def _checked(self, fields: tuple[str, ...]) -> tuple[str, ...]:
        if self._key not in fields:
            raise ValueError(
                f"{self.name}: key is {self._key!r}, which is not one of its fields: {', '.join(map(str, fields))}"
            )
        row_class(fields)  # raises ValueError where a name cannot be that of a field
        return fields


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
    """The names and constants in the code of a callable that names no fields, but not the lines it is on.

    The same in every process that runs the same code; other ones when a deploy has changed it.
    """
    function = inspect.unwrap(getattr(source, "func", source))  # of a partial
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return _text(code) if code else getattr(function, "__qualname__", type(function).__qualname__)


def _text(constant: Any) -> str:
    if isinstance(constant, CodeType):
        return f"{constant.co_names} {[_text(inner) for inner in constant.co_consts]}"
    # The order of a set differs from process to process.
    return str(sorted(map(repr, constant))) if isinstance(constant, frozenset) else repr(constant)
