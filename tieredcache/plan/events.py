"""The traffic of a cache as events: which process did what to which key, and when. No values, only their sizes."""

from __future__ import annotations

import csv
import hashlib
import math
import re
import secrets
from collections import Counter, defaultdict
from functools import lru_cache
from pathlib import Path
from sys import intern
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tieredcache.config import EXCLUDED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

HEADER: Final = ["time", "process", "operation", "key", "bytes"]
OPERATIONS: Final = ("get", "miss", "set", "delete", "touch", "incr")
"""``get`` found a value, ``miss`` did not."""
READS: Final = frozenset({"get", "miss"})
WRITES: Final = frozenset({"set", "delete", "incr"})
"""After these, a copy that was read before is stale."""
MOST_PARTS: Final = 12
"""Longer prefixes that one is reported as."""
BUILT_IN: Final = tuple(sorted({row.prefix for row in EXCLUDED}, key=len, reverse=True))
# A key may be any bytes: what is no UTF-8 comes out of the file as it went in.
_TEXT: Final = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}


class PlanError(Exception):
    """What keeps the plan from being made, with the remedy; it quotes no value, URL or password."""


def error_name(error: BaseException) -> str:
    """What ``error`` is, without its text, which may quote a URL with a password; the system's reason where there is one."""
    cause: BaseException | None = error
    reason, seen = "", set[int]()  # django-redis raises an error from the one that it has caused itself: a circle
    while cause is not None and not reason and id(cause) not in seen:
        seen.add(id(cause))
        reason = (isinstance(cause, OSError) and cause.strerror) or ""
        cause = cause.__cause__ or cause.__context__
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__


class Event(NamedTuple):
    """``time``: seconds. ``bytes``: of the value; ``None``: not known."""

    time: float
    process: str
    operation: str
    key: str
    bytes: int | None = None


def read_trace(paths: list[str]) -> list[Event]:
    """The events in CSV files, in the order of their times; raises ``PlanError``, with the line, where one is not valid."""
    return sorted((event for path in paths for event in _read(path)), key=lambda event: event.time)


def _read(path: str) -> Iterator[Event]:
    try:
        with Path(path).open(**_TEXT) as file:  # type: ignore[call-overload]
            rows = csv.reader(file)
            if next(rows, None) != HEADER:
                raise PlanError(f"{path} does not begin with the line {','.join(HEADER)}.")
            for row in rows:
                if row == HEADER:
                    continue  # it was put together from several files, or two processes have begun it
                try:
                    time, process, operation, key, size = row
                    seconds = float(time)
                    if operation not in OPERATIONS or not math.isfinite(seconds):
                        raise ValueError  # noqa: TRY301 - as float() does
                    # Each text is stored once, however often it occurs.
                    yield Event(seconds, intern(process), intern(operation), intern(key), int(size) if size else None)
                except ValueError:
                    remedy = f"Each has {', '.join(HEADER)}; an operation is one of {', '.join(OPERATIONS)}."
                    raise PlanError(f"{path}, line {rows.line_num}, is not an event. {remedy}") from None
    except (OSError, csv.Error) as error:
        raise PlanError(f"{path} could not be read: {getattr(error, 'strerror', None) or error}.") from None


def write_trace(path: str, events: list[Event]) -> None:
    """Write ``events`` to a CSV file."""
    try:
        with Path(path).open("w", **_TEXT) as file:  # type: ignore[call-overload]
            write_rows(file, events)
    except OSError as error:
        raise PlanError(f"{path} could not be written: {error.strerror}.") from None


def write_rows(file: Any, events: Iterable[Event], *, head: bool = True) -> None:
    """The lines of ``events``, with the line that names the columns or without it."""
    rows = csv.writer(file)
    rows.writerows([HEADER] if head else [])
    rows.writerows((f"{event[0]:.6f}", *event[1:]) for event in events)  # None is written as nothing


def hasher(salt: bytes = b"") -> Callable[[str], str]:
    """What hashes a key, with a salt that nobody keeps where none is given.

    Each part of it by itself, so that keys with a common prefix still have one; prefixes that packages have are left.
    """
    salt = salt or secrets.token_bytes(16)

    def part(found: re.Match[str]) -> str:
        return hashlib.blake2b(found[0].encode(errors="surrogateescape"), key=salt, digest_size=6).hexdigest()

    @lru_cache(maxsize=100_000)  # of a process that records for long
    def hashed(key: str) -> str:
        prefix = _built_in(key)
        return prefix + re.sub(r"[^:./|\[]+", part, key.removeprefix(prefix))

    return hashed


def prefixes(keys: set[str]) -> dict[str, str]:
    """The prefix by which each key is reported: up to its first separator, or its second, where that makes few prefixes."""
    first, second = ({key: _prefix(key, parts) for key in keys} for parts in (1, 2))
    longer: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for key, prefix in first.items():
        longer[prefix][second[key]] += 1
    few = {
        prefix
        for prefix, found in longer.items()
        if len(found) <= MOST_PARTS and found.total() >= 2 * len(found) and prefix not in found
    }
    return {key: (second if prefix in few else first)[key] for key, prefix in first.items()}


def _prefix(key: str, parts: int) -> str:
    found = re.match(rf"(?:[^:./|\[]*[:./|\[]){{1,{parts}}}", key) or re.match(r"\D+", key)
    return _built_in(key) or (found[0] if found else key)


def _built_in(key: str) -> str:
    """The prefix of a package that ``key`` begins with, or ``""``."""
    return next((prefix for prefix in BUILT_IN if key.startswith(prefix)), "")
