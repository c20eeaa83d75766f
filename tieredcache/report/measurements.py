"""What a local hit and a remote read take, measured on the spot, without a trace in what the process or the remote keeps."""

from __future__ import annotations

import contextvars
import copy
import secrets
import statistics
import timeit
from dataclasses import dataclass
from time import perf_counter as clock
from typing import TYPE_CHECKING, Any, Final

from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from tieredcache.backends.lru import SharedStore
from tieredcache.entries import FOREVER, Entry
from tieredcache.errors import cause, describe
from tieredcache.options import given
from tieredcache.readers.pipelined import PipelinedReader
from tieredcache.registry import on_trial

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.core.cache.backends.base import BaseCache

    from tieredcache.backends import LRUCache
    from tieredcache.readers import Reader

PREFIX: Final = "tieredcache-command:"
"""The prefix of the key that is written to the remote for the time of the measurement."""

EXPIRY: Final = 30
"""Seconds after which that key expires, where a process that was killed could not remove it."""

REMOTE_READS: Final = 200
LOCAL_RUNS: Final = 50
READS_PER_RUN: Final = 200  # a local hit takes about as long as looking at the clock
SECONDS: Final = 0.5
"""The longest that either measurement goes on, but for the read that is under way then."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The median of so many ``reads``, in seconds."""

    median_seconds: float
    reads: int


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of reading and writing a remote.

    ``reachable``: whether it could be read. ``error``: what failed, the error's class and text. ``remaining_life``: how it
    tells what is left of an entry's life: "with the value", "in a second call", "not told" or "refused"; ``None``: not found
    out. ``remote_read``: what a read took.
    """

    reachable: bool
    error: str | None
    remaining_life: str | None = None
    remote_read: Measured | None = None


def try_remote(remote: BaseCache, reader: Reader) -> Trial:
    """Read ``remote`` as a tier does, past all tiers and gates, and write and remove one key that nobody else can have.

    Waits as long as the client does. Raises ``ImproperlyConfigured`` where the remote finds fault with its settings.
    """
    token = secrets.token_hex(16)
    key = PREFIX + token
    reachable = False
    try:
        reader.get(remote, key, None)  # opens the connection too, which is not to be measured
        reachable = True
        return _with_key(remote, reader, key, token)
    except ImproperlyConfigured:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the client raises is what has to be told
        text = describe(cause(error))
        return Trial(reachable, f"a key could not be written, read and removed: {text}" if reachable else text)


def _with_key(remote: BaseCache, reader: Reader, key: str, token: str) -> Trial:
    answers: list[Any] = []

    def read() -> float:
        began = clock()
        answer = reader.get(remote, key, None)
        took = clock() - began
        if not answers and answer[0] == token:  # a replica may be a few reads late
            answers.append(answer[1])
        return took

    added: Any = None  # not known
    try:
        # Not set(): where a KEY_FUNCTION makes one key of many, this one may be somebody's.
        added = remote.add(key, token, timeout=EXPIRY)
        measured = _measure(read, REMOTE_READS)
    finally:
        # A client that tries twice may find its own key, and say False.
        left = None if added is False and not answers else _remove(remote, key)
    if left is not None:
        return Trial(reachable=True, error=left)
    if not answers:
        return Trial(reachable=True, error="what had been written to it could not be read back")
    return Trial(reachable=True, error=None, remaining_life=_how_told(reader, answers[0]), remote_read=measured)


def _remove(remote: BaseCache, key: str) -> str | None:
    try:
        remote.delete(key)
    except Exception as error:  # noqa: BLE001 - must not take the place of what is under way, which may be Ctrl-C
        return f"{key!r} could not be removed, and expires within {EXPIRY} s: {describe(cause(error))}"
    return None


def _how_told(reader: Reader, life: float | None) -> str:
    if life is None:
        return "not told"
    if not life:
        return "refused"
    return "with the value" if isinstance(reader, PipelinedReader) else "in a second call"


def measure_tiered_hit(alias: str) -> Measured:
    """What a hit of ``alias`` takes on a short ``str``, in a local tier made for it: nobody's entries or counters change."""
    backend = import_string(caches.settings[alias]["BACKEND"])
    location, params = given(alias)
    # A dict of its own: a tier that the process has is known by the identity of its OPTIONS.
    params["OPTIONS"] = {**params.get("OPTIONS", {})}
    with on_trial():
        cache = backend(location, params)
    entry = Entry(PREFIX, clock())
    dropped: list[Any] = []
    with cache._tier.locked:
        cache._tier.put(cache.local_key(PREFIX), entry, 1, dropped)
    entry.publish(FOREVER)
    return _measure_hits(cache)


def measure_lru_hit(cache: LRUCache) -> Measured:
    """The same for an ``LRUCache``, in a store made for it."""
    twin = copy.copy(cache)
    twin._store = SharedStore(cache._store.home)
    if twin._plain:
        twin._lru = twin._store.lru
    twin.set(PREFIX, PREFIX, None)
    return _measure_hits(twin)


def _measure_hits(cache: BaseCache) -> Measured:
    timer = timeit.Timer("get(key)", timer=clock, globals={"get": cache.get, "key": PREFIX})
    # In a context where nobody demands freshness: nothing would be a hit there.
    context = contextvars.Context()
    measured = _measure(lambda: context.run(timer.timeit, READS_PER_RUN) / READS_PER_RUN, LOCAL_RUNS)
    return Measured(measured.median_seconds, measured.reads * READS_PER_RUN)


def _measure(run: Callable[[], float], at_most: int) -> Measured:
    took: list[float] = []
    end = clock() + SECONDS
    while len(took) < at_most and (not took or clock() < end):
        took.append(run())
    return Measured(statistics.median(took), len(took))
