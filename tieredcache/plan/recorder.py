"""Records a trace inside an application: what its requests do to one cache, in the form that ``--trace`` reads.

The backends that a recorded request uses get methods that note each call where the context has a recorder. They stay there:
another thread may be using them. What ``BaseCache`` implements, such as ``get_or_set``, is not replaced: what it calls is
recorded. What a recorded method calls is not.
"""

from __future__ import annotations

import io
import logging
import os
import pickle
import socket
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from functools import partial
from inspect import signature
from pathlib import Path
from random import random
from time import time as wall_clock
from types import MethodType
from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.cache import caches as django_caches
from django.core.cache.backends.base import BaseCache
from django.core.exceptions import MiddlewareNotUsed
from django.utils.crypto import salted_hmac
from django.utils.decorators import sync_and_async_middleware

from tieredcache import cache as shared_default
from tieredcache import caches as shared_caches
from tieredcache.config import Mistake, Number
from tieredcache.plan.events import Event, error_name, hasher, write_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PREFIX: Final = "TIEREDCACHE_TRACE_"
MOST_BYTES: Final = 50_000_000  # of a file, beyond which nothing is added
TOGETHER: Final = 1_000  # events that are written before their request has ended
OPERATIONS: Final = {"get": "get", "set": "set", "add": "set", "delete": "delete", "touch": "touch", "incr": "incr"} | {
    "decr": "incr",
    **{f"{name}_many": name for name in ("get", "set", "delete")},
}
"""By method, whose awaitable twin has an "a" before its name."""
_ABSENT: Final = object()
_HOST: Final = socket.gethostname()
_current: ContextVar[TraceRecorder | None] = ContextVar("tieredcache recorder", default=None)

logger: logging.Logger = logging.getLogger("tieredcache")


class TraceRecorder:
    """Appends what is done to the cache of ``alias`` to the CSV file at ``path``, which several processes may share.

    ``hash_keys``: put hashes in place of the keys. Where the file cannot be written, or has 50 MB, it logs that and stops.
    """

    def __init__(self, path: str | os.PathLike[str], *, alias: str = "default", hash_keys: bool = False) -> None:
        self._path, self._alias, self._stopped, self._latest = Path(path), alias, False, 0.0
        # The same salt in all processes: they must hash a key alike.
        salt = salted_hmac("tieredcache.plan", "", algorithm="sha256").digest() if hash_keys else b""
        self._named: Callable[[str], str] = hasher(salt) if hash_keys else str
        self._events: list[Event] = []

    @contextmanager
    def record(self) -> Iterator[None]:
        """Record what this thread or task does within the block, with the threads and tasks that have its context."""
        if self._stopped or _current.get():
            yield
            return
        for backend in {django_caches[self._alias], shared_caches[self._alias]}:
            if "_recorded" not in vars(backend):
                _replace_methods(backend)
        with _set(self):
            try:
                yield
            finally:
                self._write()

    def time(self) -> float:
        """The time, and none twice: keys that are read at one time count as one ``get_many``."""
        self._latest = max(wall_clock(), self._latest + 1e-6)
        return self._latest

    def note(self, time: float, name: str, given: dict[str, Any], answer: Any) -> None:
        """Note a call of the method ``name`` that has returned, with the sizes of values, not the values."""
        what, process = next(iter(given.values())), f"{_HOST} {os.getpid()}"
        if name == "get_many":
            pairs = [(key, answer.get(key, _ABSENT)) for key in what]
        elif name == "set_many":
            pairs = list(what.items())
        elif not answer and (name == "add" or given.get("nx")):
            pairs = []  # it was refused
        else:
            value = answer if name == "get" else given.get("value", _ABSENT)
            pairs = [(key, value) for key in (what if name == "delete_many" else [what])]
        for key, value in pairs:
            size, operation = None, OPERATIONS[name]
            if value is _ABSENT:
                operation = "miss" if operation == "get" else operation
            else:
                with suppress(Exception):  # what a cache keeps by reference may have no pickle
                    size = len(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
            self._events.append(Event(time, process, operation, self._named(str(key)), size))
        if len(self._events) >= TOGETHER:
            self._write()

    def _write(self) -> None:
        events, self._events = self._events, []
        if not events or self._stopped:
            return
        try:
            with self._path.open("ab", buffering=0) as file:
                size, text = file.tell(), io.StringIO(newline="")
                if size > MOST_BYTES:
                    raise OSError(0, f"it has {size / 1e6:.0f} MB")  # noqa: TRY301 - the same as a full disk
                write_rows(text, events, head=not size)
                # In one call, so that the lines of no other process come between.
                file.write(text.getvalue().encode(errors="surrogateescape"))
        except Exception as error:  # noqa: BLE001 - a trace must not make a request fail
            self._stopped = True
            logger.warning("This process records no more into %s: %s", self._path, error_name(error))


@contextmanager
def _set(recorder: TraceRecorder | None) -> Iterator[None]:
    token = _current.set(recorder)
    try:
        yield
    finally:
        _current.reset(token)


def _replace_methods(backend: BaseCache) -> None:
    for name in OPERATIONS:
        for each in (name, f"a{name}"):
            inherited = getattr(BaseCache, each)
            if getattr(type(backend), each, inherited) is not inherited:
                # A method, no mere function: Django compares the functions of methods.
                setattr(backend, each, MethodType(_noting(name, inherited, getattr(backend, each)), backend))
    vars(backend)["_recorded"] = True
    shared_default.unbind()  # it may have the methods that were replaced


def _noting(name: str, inherited: Any, method: Callable[..., Any]) -> Callable[..., Any]:
    """``method``, with a note of each call where the context has a recorder."""
    names = tuple(signature(inherited).parameters)[1:]

    def call(backend: BaseCache, *args: Any, **kwargs: Any) -> Any:
        recorder = _current.get()
        if recorder is None:
            return method(*args, **kwargs)
        given = dict(zip(names, args, strict=False)) | kwargs
        given, default, time = {names[0]: given[names[0]]} | given, given.get("default"), recorder.time()
        if name == "get":
            given["default"] = _ABSENT  # tells a miss
        elif "keys" in given:
            given["keys"] = list(given["keys"])  # it may be an iterator

        def noted(answer: Any) -> Any:
            with suppress(Exception):  # what a backend answers in an outage may be nothing that is known
                if given.get("version") in {None, backend.version}:  # another version is another cache
                    recorder.note(time, name, given, answer)
            return default if answer is _ABSENT else answer

        async def awaited(coroutine: Any) -> Any:
            with _set(None):
                answer = await coroutine
            return noted(answer)

        args = (*(given[each] for each in names[: len(args)]), *args[len(names) :])
        made = partial(method, *args, **{each: given[each] for each in given if each not in names[: len(args)]})
        if iscoroutinefunction(method):
            return awaited(made())
        with _set(None):
            answer = made()
        return noted(answer)

    return call


def _setting(name: str, default: Any, kind: Any, remedy: str) -> Any:
    value = getattr(settings, PREFIX + name, default)
    if not isinstance(value, kind):
        raise Mistake(PREFIX + name, f"is {value!r}", f"Set it to {remedy}.")
    return value


@sync_and_async_middleware
def trace_middleware(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Record requests; not used where ``TIEREDCACHE_TRACE_FILE`` is not set.

    ``TIEREDCACHE_TRACE_FILE``: the path of the file. ``TIEREDCACHE_TRACE_SHARE``: the share of the requests that is recorded
    (default 1). ``TIEREDCACHE_TRACE_HASH_KEYS``: as ``hash_keys`` (default ``False``). A mistake in one raises
    ``ImproperlyConfigured``.
    """
    path = _setting("FILE", None, (str, os.PathLike, type(None)), "the path of a file")
    if not path:
        raise MiddlewareNotUsed
    share = Number("a share of the requests", high=1)(getattr(settings, f"{PREFIX}SHARE", 1), f"{PREFIX}SHARE")
    recorder = TraceRecorder(path, hash_keys=_setting("HASH_KEYS", False, bool, "True or False"))

    def recorded() -> Any:
        return recorder.record() if random() < share else nullcontext()  # noqa: S311 - no secret

    async def amiddleware(request: Any) -> Any:
        with recorded():
            return await get_response(request)

    def middleware(request: Any) -> Any:
        with recorded():
            return get_response(request)

    return amiddleware if iscoroutinefunction(get_response) else middleware
