"""What a lookup table is loaded from: a queryset or a callable, and the checks that its rows make a table."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
from collections import namedtuple
from collections.abc import Mapping
from types import CodeType
from typing import TYPE_CHECKING, Any, TypeAlias

from asgiref.sync import async_to_sync, sync_to_async
from django.db.models import QuerySet
from django.db.models.query import ValuesIterable

from tieredcache.flights import in_event_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Iterable

# The names of the fields, and the values of each row in their order.
Table: TypeAlias = tuple[tuple[str, ...], tuple[tuple[Any, ...], ...]]


class Source:
    """Loads the rows of the table ``name``. ``signature``: the same for sources whose rows have the same fields.

    Raises ``TypeError`` or ``ValueError`` for what cannot be a source.
    """

    def __init__(self, name: str, source: Any, key: str, row: Any) -> None:
        self.name = name
        self._source = source
        self._key = key
        self._fields: tuple[str, ...] | None = None
        if row is not None:
            self._fields = getattr(row, "_fields", None)
            if not (inspect.isclass(row) and self._fields and tuple in row.__mro__):
                raise TypeError(f"{name}: row is {row!r}, not a NamedTuple class")
        if isinstance(source, QuerySet):
            if not issubclass(source._iterable_class, ValuesIterable):  # noqa: SLF001 - there is no public way to ask
                raise TypeError(f'{name}: the queryset does not return mappings. Name the fields: .values("{key}", ...)')
            self._fields = self._fields or _fields_of(source)
        elif not callable(source):
            raise TypeError(f"{name}: the source is {source!r}, neither a queryset nor a callable that returns mappings")
        if self._fields is not None:
            self._check_fields(self._fields)
        known = fingerprint(source) if self._fields is None else repr(self._fields)
        self.signature: str = hashlib.sha256(f"{key}:{known}".encode()).hexdigest()[:16]

    def load(self) -> Table:
        """The table as the source has it now."""
        try:
            found = self._read()
            if not _is_async(found):
                return self._table(found)
            if in_event_loop():
                getattr(found, "close", lambda: None)()  # a coroutine that nobody awaits warns
                raise RuntimeError(f"{self.name}: its source is async, and so is the caller: await aget() or areload()")  # noqa: TRY301
            return self._table(async_to_sync(_awaited)(found))
        except Exception as error:
            self._note(error)
            raise

    async def aload(self) -> Table:
        """As ``load``, by the source's own async means where it has any."""
        try:
            found = self._source() if inspect.iscoroutinefunction(self._source) else await sync_to_async(self._read)()
            return self._table(await _awaited(found) if _is_async(found) else found)
        except Exception as error:
            self._note(error)
            raise

    def _read(self) -> Any:
        # A queryset that a callable returns is evaluated here too, in the thread that may.
        try:
            found = self._source.all() if isinstance(self._source, QuerySet) else self._source()
            return found if _is_async(found) else list(found)
        except StopIteration as error:  # which means something else to whoever runs this, or nothing at all
            raise RuntimeError(f"{self.name}: its source raised StopIteration") from error

    def _note(self, error: Exception) -> None:
        note = f"While reading the source of {self.name}."
        if note not in getattr(error, "__notes__", []):
            with contextlib.suppress(Exception):  # of an exception that takes no notes
                error.add_note(note)

    def _table(self, found: Iterable[Any]) -> Table:
        fields = self._fields
        rows = []
        keys = set()
        for number, row in enumerate(found):
            if not isinstance(row, Mapping):
                raise TypeError(f"{self.name}: row {number} of its source is a {type(row).__name__}, not a mapping: {row!r}")
            if fields is None:
                fields = tuple(row)
                self._check_fields(fields)
            missing = [field for field in fields if field not in row]
            if missing:
                raise ValueError(f"{self.name}: row {number} of its source has no {missing[0]!r}: {row!r}")
            if self._fields is None and len(row) > len(fields):
                raise ValueError(f"{self.name}: row {number} of its source has other fields than the first: {row!r}")
            key = hashable(row[self._key], self.name, self._key)
            if key in keys:
                raise ValueError(f"{self.name}: its source has two rows whose {self._key!r} is {key!r}")
            keys.add(key)
            rows.append(tuple(row[field] for field in fields))
        return fields or (), tuple(rows)

    def _check_fields(self, fields: tuple[Any, ...]) -> None:
        if self._key not in fields:
            raise ValueError(
                f"{self.name}: key is {self._key!r}, which is not one of its fields: {', '.join(map(str, fields))}"
            )
        try:
            row_class(fields)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{self.name}: its fields {fields!r} cannot be those of a named tuple: {error}. Give them other names."
            ) from error


def hashable(key: Any, name: str, field: str) -> Any:
    """``key``, where it can be one of a mapping; raises ``TypeError`` where not."""
    try:
        hash(key)
    except TypeError:
        problem = f"{name}: {field!r} is a {type(key).__name__} in one row, which cannot be looked up: {key!r}"
        raise TypeError(problem) from None
    return key


def _fields_of(queryset: Any) -> tuple[str, ...]:
    query = queryset.query
    return (*query.extra_select, *query.values_select, *query.annotation_select)


def _is_async(found: Any) -> bool:
    return inspect.isawaitable(found) or (hasattr(found, "__aiter__") and not isinstance(found, QuerySet))


async def _awaited(found: Awaitable[Any] | AsyncIterable[Any]) -> Any:
    if inspect.isawaitable(found):
        found = await found
    if hasattr(found, "__aiter__"):
        return [row async for row in found]
    return found


@functools.lru_cache(maxsize=256)
def row_class(fields: tuple[str, ...]) -> Any:
    """The named tuple for these fields. Its instances can be pickled, though no module has the class."""
    row: Any = namedtuple("Row", fields)  # type: ignore[misc]
    return type("Row", (row,), {"__slots__": (), "__reduce__": lambda self: (_row, (fields, tuple(self)))})


def _row(fields: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    return row_class(fields)(*values)


def fingerprint(source: Callable[..., Any]) -> str:
    """A digest of the code of a callable that names no fields: its names and constants, but not where it stands.

    The same in every process that runs the same code; another when a deploy has changed it.
    """
    while isinstance(source, functools.partial):
        source = source.func
    function = inspect.unwrap(getattr(source, "__func__", source))
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return _said(code) if code else getattr(function, "__qualname__", type(function).__qualname__)


def _said(constant: Any) -> str:
    if isinstance(constant, CodeType):
        return f"{constant.co_names} {[_said(inner) for inner in constant.co_consts]}"
    if isinstance(constant, frozenset):  # in an order that differs from process to process
        return str(sorted(map(repr, constant)))
    return repr(constant)
