"""Which keys to read along with one that is missed: those that were read together with it before.

A burst is what one request has read from the remote tier, in order; outside requests it ends with a pause. Each key
remembers the last bursts it was in. When it is missed again, the keys of these bursts whose local copies are gone, or are
about to expire, are read in the same round trip. Hits are not recorded: the hit path knows nothing of this module.

A copy that was brought along takes the slow path at its first read. That read proves that the copy was wanted, and puts its
key into the burst of that time. A copy that nobody reads is in no later burst, and so is not brought along for long.

Where keys are read together by chance there is nothing to learn, and nothing must be sent for nothing. So three levels bring
less and less: the keys of any burst of the missed key, those of two of its bursts, none. Of each level the latest trips are
judged by how many of their copies were read; the first one that is good enough is used, and now and then one that is not
is tried again, with a few keys.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter, deque
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import SyncToAsync
from django.core.signals import request_started

from tieredcache.clock import clock
from tieredcache.local.immutable import is_immutable
from tieredcache.local.sizes import size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable, Mapping

    from tieredcache.local.entries import Entry

BURSTS: Final = 6  # that a key remembers
LONGEST_BURST: Final = 400  # keys
PAUSE: Final = 0.1  # seconds without a remote read, after which a burst outside requests has ended
LONGEST_REQUEST: Final = 30  # seconds, after which a request's burst has ended: it may stream for hours
SOON: Final = 0.1  # the last share of its time in which a copy is about to expire
LARGEST_VALUE: Final = 16 * 1024  # bytes that are brought along at most, of one key
LARGEST_TRIP: Final = 256 * 1024  # and in all
WINDOW: Final = 60  # trips that a level is judged by
RECENT: Final = 3  # trips before them that are too recent: their copies may still be read
# A copy that is read saves two commands and a round trip, and one that is not costs one command. Below two in five, what is
# sent for nothing is a fifth of what is saved, and more.
USEFUL: Final = 0.4
NOTHING: Final = 2  # the level that brings nothing
TRY_EVERY: Final = 30  # misses, while a better level than the present one is not good enough
TRY: Final = 10  # keys
AFTER_FAILURE: Final = 10  # seconds for which nothing is brought along when a trip has failed


@dataclass(slots=True, eq=False)
class Burst:
    """The local keys that one request has read from the remote tier. ``since``: its beginning; else the latest read."""

    since: float
    of_request: bool
    keys: list[Hashable] = field(default_factory=list)


_current: Final[ContextVar[Burst | None]] = ContextVar("tieredcache burst", default=None)


def begin_burst(**_: Any) -> None:
    """Begin the burst of a request."""
    _current.set(Burst(clock(), of_request=True))


request_started.connect(begin_burst)


def current_burst(now: float) -> Burst:
    """The burst of this request; outside requests that of this thread, task or greenlet."""
    burst = _current.get()
    lasts = LONGEST_REQUEST if burst is not None and burst.of_request else PAUSE
    if burst is None or len(burst.keys) >= LONGEST_BURST or burst.since + lasts < now:
        # Under ASGI, Django 5.2 sends request_started from a task of its own, which cannot set the view's variables.
        of_request = SyncToAsync.thread_sensitive_context.get(None) is not None if burst is None else burst.of_request
        burst = Burst(now, of_request=of_request)
        _current.set(burst)
    if not burst.of_request:
        burst.since = now
    return burst


@dataclass(slots=True)
class Known:
    """What is known of a key: as it is passed to the cache, its value's bytes, its bursts, and the one that missed it."""

    key: Any
    size: int
    bursts: tuple[Burst, ...]
    missing: Burst | None = None


@dataclass(slots=True, eq=False)
class Trip:
    """What one read of the remote brings along: ``keys``, each with its local key; and how many of the copies were read."""

    prefetch: Prefetch
    keys: list[tuple[Any, Hashable]]
    used: int = 0

    def proved(self, local_key: Hashable, entry: Entry) -> None:
        """The copy that was brought along is read for the first time."""
        self.used += 1
        if known := self.prefetch.known.get(local_key):
            self.prefetch.note(known.key, local_key, entry, clock())


class Prefetch:
    """What one tier has learned. ``limit``: keys that a trip brings along; ``capacity``: entries of the tier.

    It remembers four times as many keys as the tier has entries, those of several bursts counted in each, and no values.
    """

    def __init__(self, limit: int, capacity: int) -> None:
        self._limit = min(limit, capacity // 4 + 1)  # not everything else that is in the tier is to make room
        self._capacity = 4 * capacity
        self.known: dict[Hashable, Known] = {}
        self._bursts: dict[Burst, int] = {}  # with the number of keys that this tier has put into it, the oldest first
        self._size = 0  # the sum of these
        self._learning: dict[str, int] = {}  # the thread that learns
        self._trips: tuple[deque[Trip], ...] = (deque(maxlen=WINDOW + RECENT), deque(maxlen=WINDOW + RECENT))
        self._level = 0
        self._untried = 0
        self._busy = False
        self._paused_until = 0.0

    def note(self, key: Any, local_key: Hashable, entry: Entry, now: float) -> None:
        """Put a key that is read ``now`` into the present burst. ``entry``: its local copy."""
        # No lock: a time limit that strikes before the try would leave it locked. This is left to the thread it has struck.
        thread = threading.get_ident()
        if self._learning.setdefault("thread", thread) != thread or self._busy:
            return  # another thread is learning, or this one, whose destructor reads: it is learned the next time
        try:
            self._busy = True
            value, burst, known = entry.value, current_burst(now), self.known.get(local_key)
            size = LARGEST_VALUE + 1  # of an object that readers share, which is not known
            if issubclass(type(value), (str, bytes)):  # a pickle, too, as nearly always
                size = len(value)
            elif (type(value) not in {tuple, frozenset} or len(value) <= LARGEST_VALUE // 8) and is_immutable(value):
                size = size_of(value, LARGEST_VALUE)
            if known is not None and known.bursts[-1] is burst:
                known.missing = None
                return
            # In this order, which forgets all of it with the burst, wherever a time limit strikes.
            self._bursts[burst] = self._bursts.get(burst, 0) + 1
            self._size += 1
            burst.keys.append(local_key)
            self.known[local_key] = Known(key, size, (*(known.bursts if known else ())[1 - BURSTS :], burst))
            self._forget_oldest()
        except AttributeError:  # the copy was forgotten this moment, and has no value any more
            pass
        finally:
            self._busy = False
            self._learning.clear()

    def missing(self, local_key: Hashable) -> None:
        """The remote has no such key: do not bring it along again in this burst. A server may have lost all of them."""
        if known := self.known.get(local_key):
            known.missing = current_burst(clock())

    def _forget_oldest(self) -> None:  # a function, as in store.py
        while self._size > self._capacity and len(self._bursts) > 1:
            burst = next(iter(self._bursts))
            for local_key in burst.keys:
                if (known := self.known.get(local_key)) and burst in known.bursts:
                    known.bursts = tuple([other for other in known.bursts if other is not burst])
                    if not known.bursts:
                        del self.known[local_key]
            self._size -= self._bursts[burst]
            del self._bursts[burst]

    def trip(
        self, asked: Collection[Hashable], index: Mapping[Hashable, Entry], accepts: Callable[[float], bool]
    ) -> Trip | None:
        """What to bring along with the local keys ``asked``, which are missed, for the sake of the first; ``None``: nothing.

        ``index``: the entries of the tier. ``accepts``: whether a copy that was read at this time will do.
        """
        known, now = self.known.get(next(iter(asked))), clock()
        if known is None or now < self._paused_until or not accepts(now):  # a demand that no copy will meet in a moment
            return None
        level, limit = self._level, self._limit
        if level:
            self._untried += 1
            if self._untried % TRY_EVERY == 0:  # the better levels in turn
                level, limit = (self._untried // TRY_EVERY) % level, min(limit, TRY)
        if level == NOTHING:
            return None
        trip, room, burst = Trip(self, []), LARGEST_TRIP, current_burst(now)
        for place, candidate in enumerate(_company(known, level, burst, asked)):
            # Where a whole page will do, one key of it has been written, say: so will the other bursts.
            if len(trip.keys) == limit or (place >= LONGEST_BURST and not trip.keys):
                break
            entry = index.get(candidate)  # most have a copy that will do
            if entry and entry.until - now > SOON * (entry.until - entry.read_at) and accepts(entry.read_at):
                continue
            about = self.known.get(candidate)
            if about is None or about.missing is burst or about.size > min(LARGEST_VALUE, room):
                continue
            trip.keys.append((about.key, candidate))
            room -= about.size
        if not trip.keys:
            return None
        self._trips[level].append(trip)
        self._level = next((better for better, trips in enumerate(self._trips) if _good([*trips][:-RECENT])), NOTHING)
        return trip

    def pause(self) -> None:
        """Bring nothing along for a while: a trip that did has failed, perhaps because of what it was to bring."""
        self._paused_until = clock() + AFTER_FAILURE


def _company(known: Known, level: int, present: Burst, asked: Iterable[Hashable]) -> Iterable[Hashable]:
    """The keys of the bursts before this one, those of the latest burst first; of level 1, those of two bursts."""
    seen = {*asked}  # or had before
    past = itertools.chain.from_iterable([burst.keys for burst in reversed(known.bursts) if burst is not present])
    found = [local_key for local_key, count in Counter(past).items() if count > level] if level else past
    # One by one, because few may be taken.
    return filter(lambda key: not (key in seen or seen.add(key)), found)  # type: ignore[func-returns-value]


def _good(trips: list[Trip]) -> bool:
    if len(trips) < WINDOW / 2:
        return True  # too few to tell
    return sum(trip.used for trip in trips) >= USEFUL * sum(len(trip.keys) for trip in trips)
