"""Records a trace inside an application: what its requests do to one cache, in the form that ``--trace`` reads.

While a request is recorded, Django's handler has another backend for its context, which notes each call and leaves it to
the real one. Nothing of the real one changes, so other requests are not touched, and nothing is left afterwards.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import pickle
import socket
from collections import deque
from contextlib import contextmanager, nullcontext, suppress
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from random import random
from time import time as wall_clock
from typing import TYPE_CHECKING, Any, Final, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.exceptions import MiddlewareNotUsed
from django.utils.crypto import salted_hmac
from django.utils.decorators import sync_and_async_middleware

from tieredcache.backends import TieredCache
from tieredcache.checks.caches import backend_of
from tieredcache.config import Mistake, Number
from tieredcache.local import time_limits
from tieredcache.plan.events import Event, error_name, hasher, write_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PREFIX: Final = "TIEREDCACHE_TRACE_"
MOST_BYTES: Final = 50_000_000  # of a file, beyond which nothing is added
LONGEST: Final = 10_000  # letters of a key: a visitor may have chosen it, and csv reads no field of more than 131,072
TOGETHER: Final = 1_000  # events that are written before their request has ended
OPERATIONS: Final = {"get": "get", "set": "set", "add": "set", "delete": "delete", "touch": "touch", "incr": "incr"} | {
    "decr": "incr",
    "get_or_set": "get",
    **{f"{name}_many": name for name in ("get", "set", "delete")},
}
"""By method, whose awaitable twin has an "a" before its name."""
_MORE: Final = (Parameter("more", Parameter.VAR_POSITIONAL), Parameter("own", Parameter.VAR_KEYWORD))
_ABSENT: Final = object()
_HOST: Final = socket.gethostname()

logger: logging.Logger = logging.getLogger("tieredcache")


class TraceRecorder:
    """Appends what is done to the cache of ``alias`` to the CSV file at ``path``, which several processes may share.

    ``hash_keys``: put hashes in place of the keys. Where the file cannot be written, or has 50 MB, it logs that and stops.
    Raises ``ImproperlyConfigured`` for the alias of a tier's remote, which the tier would not know any more.
    """

    def __init__(self, path: str | os.PathLike[str], *, alias: str = "default", hash_keys: bool = False) -> None:
        self._path, self._alias, self._stopped, self._latest = Path(path), alias, False, 0.0
        for tiered, config in caches.settings.items():
            if config.get("LOCATION") == alias and issubclass(backend_of(tiered), TieredCache):
                raise Mistake("alias", f"is {alias!r}, the remote of a TieredCache", f"Record {tiered!r}.")
        # The same salt in all processes: they must hash a key alike.
        salt = salted_hmac("tieredcache.plan", "", algorithm="sha256").digest() if hash_keys else b""
        self._named: Callable[[str], str] = hasher(salt) if hash_keys else str

    @contextmanager
    def record(self) -> Iterator[None]:
        """Record what this thread or task does within the block through Django's ``cache`` or ``caches[alias]``.

        So do its tasks, and the threads that asgiref starts for them.
        """
        backend: Any = None
        with _harmless():  # one that cannot be made fails the requests that use it, and no other
            backend = None if self._stopped else caches[self._alias]
        if backend is None:
            yield
            return
        events: deque[Event] = deque()
        caches[self._alias] = recorded = cast("Any", _Recorded(backend, self, events))
        try:
            yield
        finally:
            vars(recorded)["_recorder"] = None  # a task may go on with it
            with _harmless():  # CACHES may be another by now
                if caches[self._alias] is recorded:
                    caches[self._alias] = backend
            self.write(events)

    def note(self, events: deque[Event], found: list[tuple[str, Any, Any]]) -> None:
        """Add operations on keys that were done at one time, each with its value: the size of this is noted."""
        # No time twice: keys that are read at one time count as one get_many.
        time = self._latest = max(wall_clock(), self._latest + 2e-6)  # the file has microseconds
        for operation, key, value in found:
            text, size = str(key).encode(errors="backslashreplace").decode()[:LONGEST], None
            if value is not _ABSENT:
                with _harmless():  # what a cache keeps by reference may have no pickle
                    size = len(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
            events.append(Event(time, _process(), operation, self._named(text), size))
        if len(events) >= TOGETHER:
            self.write(events)

    def write(self, events: deque[Event]) -> None:
        """Move these to the file."""
        moved: list[Event] = []
        with suppress(IndexError):  # another thread may add some meanwhile
            while True:
                moved.append(events.popleft())
        moved = [event for event in moved if event.process == _process()]  # a child has those of its parent, too
        if not moved or self._stopped:
            return
        try:
            with open(self._path, "ab", buffering=0, opener=_private) as file:
                size, text = file.tell(), io.StringIO(newline="")
                if size > MOST_BYTES:
                    raise OSError(0, f"it has {size / 1e6:.0f} MB")  # noqa: TRY301 - the same as a full disk
                write_rows(text, moved, head=not size)
                data = text.getvalue().encode()
                # In one call, so that the lines of no other process come between.
                if (file.write(data) or 0) < len(data):
                    file.truncate(size)  # a line that is cut off would spoil the file
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301 - as above
        except (OSError, ValueError) as error:
            if isinstance(error, time_limits()) or (isinstance(error, TimeoutError) and error.errno is None):
                raise
            self._stopped = True
            logger.warning("This process records no more into %s: %s", self._path, error_name(error))


def _process() -> str:
    return f"{_HOST} {os.getpid()}"


def _private(path: str, flags: int) -> int:
    # Keys may be as good as a password: those of sessions. And a pipe that nobody reads must not hold up a request.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o600)


@contextmanager
def _harmless() -> Iterator[None]:
    """Ignore an error, which is none of the request's; but raise a time limit of its caller."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (TimeoutError, *time_limits())):
            raise


class _Recorded:
    """A backend that notes what is done with its keys; all else is the real one's."""

    def __init__(self, backend: BaseCache, recorder: TraceRecorder, events: deque[Event]) -> None:
        vars(self).update(_backend=backend, _recorder=recorder, _events=events)

    def __contains__(self, key: Any) -> bool:
        return key in self._backend

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._backend, name, value)  # a prefix, say

    def __delattr__(self, name: str) -> None:
        delattr(self._backend, name)

    def __getattr__(self, name: str) -> Any:
        if name == "_backend" or name.startswith("__"):  # of a copy that is being made
            raise AttributeError(name)
        method = getattr(self._backend, name)
        plain = name if name in OPERATIONS else name.removeprefix("a")
        if plain not in OPERATIONS or self._recorder is None:
            return method
        call = self._noting(plain, method, awaitable=name != plain)
        return markcoroutinefunction(call) if iscoroutinefunction(method) else call

    def _noting(self, name: str, method: Callable[..., Any], *, awaitable: bool) -> Callable[..., Any]:
        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            given: dict[str, Any] = {}
            with suppress(TypeError):  # a mistake, or something of the backend's own
                given = _INTERFACE[name].bind(*args, **kwargs).arguments
            if not given:
                return method(*args, **kwargs)
            default: Any = given.get("default")
            called: list[bool] = []

            def make() -> Any:
                called.append(True)
                return default()

            # The others are passed on as they came: a backend may take by keyword only what Django's take by position, too.
            if name == "get" or (name == "get_or_set" and callable(default)):  # of a constant, a miss is not known
                args, kwargs = _with("default", 1, _ABSENT if name == "get" else make, args, kwargs)
            elif "keys" in given:
                given["keys"] = list(given["keys"])  # it may be an iterator
                args, kwargs = _with("keys", 0, given["keys"], args, kwargs)

            def noted(answer: Any) -> Any:
                with _harmless():
                    if given.get("version") in (None, self._backend.version):  # another version is another cache
                        self._note(name, given, answer, missed=bool(called))
                return default if answer is _ABSENT else answer

            async def awaited(coroutine: Any) -> Any:
                return noted(await coroutine)

            answer = method(*args, **kwargs)
            return awaited(answer) if awaitable else noted(answer)

        return call

    def _note(self, name: str, given: dict[str, Any], answer: Any, *, missed: bool) -> None:
        what, *_ = given.values()  # the key, the keys, or the values by their keys
        if name == "get_or_set":  # as Django's own does
            for each in [("miss", what, _ABSENT), ("set", what, answer)] * missed:
                self._noted([each])
            found = [("get", what, answer)]
        elif name == "get":
            found = [("miss" if answer is _ABSENT else "get", what, answer)]
        elif name == "get_many":
            answers = answer or {}  # some backends ignore an outage, and answer None
            found = [("get" if key in answers else "miss", key, answers.get(key, _ABSENT)) for key in what]
        elif name == "set_many":
            found = [("set", key, value) for key, value in what.items()]
        elif not answer and (name == "add" or given.get("own", {}).get("nx")):
            return  # it was refused
        else:
            keys = what if name == "delete_many" else [what]
            found = [(OPERATIONS[name], key, given.get("value", _ABSENT)) for key in keys]
        self._noted(found)

    def _noted(self, found: list[tuple[str, Any, Any]]) -> None:
        if (recorder := self._recorder) is not None:
            recorder.note(self._events, found)


def _with(
    name: str, place: int, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with this one in the place of what was passed for it."""
    if place < len(args):
        return (*args[:place], value, *args[place + 1 :]), kwargs
    return args, kwargs | {name: value}


def _interface(name: str) -> Signature:
    """The parameters of Django's method, and more that a backend may have: not of ``get``, which may answer otherwise."""
    _, *parameters = signature(getattr(BaseCache, name)).parameters.values()
    return Signature([*parameters, *(() if name == "get" else _MORE)])


# Made here: a test may replace a method of BaseCache later.
_INTERFACE: Final = {name: _interface(name) for name in OPERATIONS}


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
