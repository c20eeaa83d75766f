"""The local tier of a ``TieredCache``: what is served, what is kept, what is forgotten.

No old value comes back. A reader asks the remote; before it can keep the answer, somebody writes a newer value and forgets
the local copy. So each key has a mark (keys share 256 of them), and a reader notes it before it asks:

    keep                                    forget, after the remote write
    1  put the entry in, unserved           a  replace the mark
    2  is the mark the one noted?           b  kill the entry that is there
    3  publish the entry

If a comes before 2, nothing is published. If a comes after 2, so does b, and it finds the entry of step 1: a killed entry
has no value, so publishing it serves nothing. A reader that notes its mark after a asks after the write. Neither waits for
a lock to take effect, so ``forget`` may be called from anywhere, a destructor or a signal handler included. Two keys with
one mark cost a refill now and then, and nothing else.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Any, Final

from tieredcache.clock import clock
from tieredcache.local.entries import FOREVER, MISSING, UNKNOWN, Entry, Pickled, absent, packed, time_limits, unpickle
from tieredcache.local.eviction import ReadAgain
from tieredcache.local.sample import as_it_is
from tieredcache.local.sizes import TIER_ENTRY
from tieredcache.local.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from tieredcache.config.options import TieredOptions
    from tieredcache.local.entries import Trip

MARKS: Final = 256

logger: logging.Logger = logging.getLogger("tieredcache")


class Read:
    """A read of the remote: what it is for, and what was so when it began. ``timeout``: seconds; ``0``: it is not kept.

    ``copy``: of a hit that is compared, see ``sample``; set in tiers with a sample only.
    """

    __slots__ = ("copy", "key", "local_key", "mark", "started", "timeout", "version")

    key: Any
    version: Any
    local_key: Hashable
    timeout: float
    mark: object
    started: float
    copy: Entry | None


class LocalTier(Store[Entry]):
    """The copies that this process keeps of what one remote tier has answered."""

    not_hits: int
    entry_bytes = TIER_ENTRY

    def __init__(self, options: TieredOptions) -> None:
        self.options: TieredOptions = options
        self.misses: int = 0
        self.remote_hits: int = 0
        self.stale_served: int = 0
        self.expired: int = 0
        self.forgotten: int = 0
        self.skipped: int = 0
        self.remote_errors: int = 0
        self.prefetched: int = 0
        self.prefetch_used: int = 0
        # Where hits are compared, the hit path serves none.
        self._unpack_shared: Callable[[Any], Any] | None = as_it_is if options.staleness_sample else None
        self.compared: int = 0
        self.compared_stale: int = 0
        self.oldest_stale_seconds: float = 0
        super().__init__(options.max_entries, alone=False, max_bytes=options.max_bytes, policy=ReadAgain())

    def after_fork(self) -> None:
        super().after_fork()
        # Readers under way are threads of the parent: what they noted is nothing here.
        self.marks: list[object] = [object() for _ in range(MARKS)]
        self._undecodable: dict[Hashable, None] = {}  # keys that have been logged

    # --- what is served ---

    def serve(self, local_key: Hashable, accepts: Callable[[float], bool]) -> Any:
        """What the local tier answers: a value, ``MISSING``, or ``UNKNOWN``. ``accepts``: whether a read time will do."""
        try:
            entry = self.lru[local_key]
        except KeyError:
            return UNKNOWN
        answer = UNKNOWN
        if accepts(entry.read_at):
            now = clock()
            answer = entry.answer(now)
            if answer is not UNKNOWN:
                if entry.trip is not None:
                    self._prove(local_key, entry)
            elif hasattr(entry, "value"):
                self.expired += 1
                answer = self._while_revalidating(entry, now)
        if answer is UNKNOWN:
            self.not_hits += 1
        return answer

    def _prove(self, local_key: Hashable, entry: Entry) -> None:
        """Note the first read of an entry that was brought along, and let the hit path serve it from now on."""
        trip, entry.trip = entry.trip, None
        if trip is not None:  # another thread may have been first
            self.prefetch_used += 1
            entry.publish(entry.until)
            trip(local_key, entry)

    def derived(self, local_key: Hashable, build: Callable[[Any], Any], accepts: Callable[[float], bool]) -> Any:
        """What ``derive`` has made of the copy, or ``None``. A stale copy will do while others are served it."""
        try:
            entry = self.lru[local_key]
        except KeyError:
            return None
        built, now = entry.derived_by(build), clock()
        if built is not None and accepts(entry.read_at):
            if entry.until > now:
                return built
            if entry.refill_at > now:
                self.stale_served += 1
                return built
        self.not_hits += 1
        return None

    def derive(self, local_key: Hashable, build: Callable[[Any], Any], accepts: Callable[[float], bool]) -> Any:
        """What ``build`` makes of the copy that may be served, remembered beside it; ``None`` where there is none."""
        entry = self.index.get(local_key)
        if entry is None or not accepts(entry.read_at):
            return None
        now = clock()
        if (built := entry.derived_by(build)) is not None and max(entry.until, entry.refill_at) > now:
            return built
        source = getattr(entry, "value", None)
        value = entry.answer(now, FOREVER if entry.refill_at > now else 0)
        return None if value is UNKNOWN or value is MISSING else entry.derive(source, value, build)

    def _while_revalidating(self, entry: Entry, now: float) -> Any:
        """A stale answer while another reader refreshes; ``UNKNOWN`` sends this one, every ``RETRY_AFTER`` seconds.

        Never past the remote's own expiry, and never an absence.
        """
        stale = self.options.stale_while_revalidate
        if not (entry.until + stale > now and entry.expires > now) or entry.unpack is absent:
            return UNKNOWN
        if entry.refill_at <= now:
            entry.refill_at = min(now + self.options.retry_after, entry.until + stale, entry.expires)
            return UNKNOWN
        answer = entry.answer(now, stale)
        self.stale_served += answer is not UNKNOWN
        return answer

    def stand_in(self, local_key: Hashable, accepts: Callable[[float], bool]) -> Entry | None:
        """The copy that may be served in place of an answer that the remote cannot give.

        Past its deadline by up to ``STALE_IF_ERROR``, but never past the remote's own expiry.
        """
        entry, now = self.index.get(local_key), clock()
        if entry is None or entry.expires <= now or entry.until + self.options.stale_if_error <= now:
            return None
        return entry if accepts(entry.read_at) else None

    def without_remote(self, local_key: Hashable, accepts: Callable[[float], bool], *, ignore: bool) -> Any:
        """What the ``stand_in`` for an answer of the remote has; a miss where errors are ignored; or ``UNKNOWN``."""
        entry, now = self.stand_in(local_key, accepts), clock()
        if entry is not None:
            answer = entry.answer(now, self.options.stale_if_error)
            if answer is not UNKNOWN:
                try:  # noqa: SIM105 - suppress() takes three times as long
                    self.lru[local_key]  # promotes and counts it
                except KeyError:
                    pass  # evicted this moment
                if entry.until <= now:
                    self.stale_served += 1
                    until = min(now + self.options.retry_after, entry.until + self.options.stale_if_error, entry.expires)
                    entry.refill_at = max(entry.refill_at, until)
                return answer
        if ignore:
            self.misses += 1
            return MISSING
        return UNKNOWN

    # --- what is kept ---

    def begin(self, key: Any, version: Any, local_key: Hashable) -> Read:
        """Note the time and the mark, before the remote is asked."""
        read, options = Read(), self.options
        name = key if type(key) is str else str(key)
        read.key, read.version, read.local_key = key, version, local_key
        # Most keys have the default: a call less.
        read.timeout = options.timeout_for(name) if name.startswith(options.timed_prefixes) else options.local_timeout
        read.mark = self.marks[hash(local_key) % MARKS]
        read.started = clock()
        return read

    def keep(self, read: Read, value: Any, ttl: float | None, trip: Trip | None = None) -> Any:
        """Keep the remote's answer, if it may be kept, and return it.

        ``ttl``: seconds until the remote entry expires; ``None``: it does not, or the remote cannot tell. ``trip``: is
        called with the first read of an answer that nobody has asked for.
        """
        options, local_key, started = self.options, read.local_key, read.started
        if self._undecodable:
            self._undecodable.pop(local_key, None)
        timeout = min(read.timeout, options.miss_timeout) if value is MISSING else read.timeout
        if timeout:
            timeout *= 1 - options.jitter * random.random()  # noqa: S311 - jitter, not a secret
            if ttl is not None and ttl < timeout:
                timeout = ttl
        if read.timeout and self.early.plans:  # whatever the answer: that there is none ends a plan
            timeout = self.early.limit(local_key, started, ttl, timeout)
        entry = self._entry(read, value, ttl, trip) if timeout > 0 else None
        removed: list[Any] = [entry]  # let go when the lock has been released
        with self.lock:
            known = self.index.get(local_key)
            if known is not None and known.read_at > started:
                return value  # another reader has learned something newer
            if entry is None:
                if known is not None:  # older than what the caller is given now
                    removed.append(known.kill())
                    self.discard(local_key, known, removed)
                self.skipped += value is not MISSING
            elif not self.put(local_key, entry, options.max_entries, removed):
                self.skipped += 1
            elif self.marks[hash(local_key) % MARKS] is read.mark:
                entry.publish(started + timeout)
                self.prefetched += trip is not None
            else:
                removed.append(entry.kill())
                self.discard(local_key, entry, removed)
                self.skipped += 1
        return value

    def _entry(self, read: Read, value: Any, ttl: float | None, trip: Trip | None) -> Entry | None:
        expires = FOREVER if ttl is None else read.started + ttl
        size = 0
        try:
            shares = self.options.share_values is not False and self.options.shares(str(read.key))
            kept = None if value is MISSING else value if shares else packed(value)
            if self.max_bytes is not None and (size := self.weigh(read.local_key, kept)) < 0:
                return None
        except Exception as error:
            if isinstance(error, (TimeoutError, *time_limits())):
                raise
            return None  # whatever else the value's own code raises: the remote has answered, so it is returned and not kept
        unpack = absent if value is MISSING else unpickle if type(kept) is Pickled else self._unpack_shared
        entry = Entry(kept, unpack, read.started, expires, trip)
        if size:
            entry.size = size
        return entry

    def undecodable(self, read: Read, remote: str, error: BaseException | None) -> None:
        """Count an answer that does not decode, which is a miss, and log it: once, until the key decodes again."""
        self.skipped += 1
        self.misses += 1
        if error is None or read.local_key in self._undecodable:
            return
        if len(self._undecodable) >= self.options.max_entries:
            self._undecodable.clear()  # bounded: a key dropped here may be logged again
        self._undecodable[read.local_key] = None
        text = f"{type(error).__name__}: {error}"
        logger.warning("%r in the remote cache %r does not decode, and is a miss: %s.", read.key, remote, text)

    # --- what is forgotten ---

    def forget(self, local_key: Hashable) -> None:
        """Drop the local copy, and keep reads and computations under way from putting an older value back."""
        if self.inflight.under_way:  # before the mark: a new one means that the computations know of the write
            self.inflight.overtake([local_key])
        self.marks[hash(local_key) % MARKS] = object()
        entry = self.index.get(local_key)
        if entry is not None:
            removed = [entry.kill()]
            self.forgotten += 1
            with self.lock:
                self.discard(local_key, entry, removed)

    def mark(self, local_key: Hashable) -> object:
        """The mark of a key, see above."""
        return self.marks[hash(local_key) % MARKS]

    def forget_all(self) -> None:
        """Forget everything."""
        self.inflight.overtake(None)  # as above
        self.marks = [object() for _ in range(MARKS)]
        self.forgotten += len(self.index)
        removed: list[Any] = [entry.kill() for entry in self.index.copy().values()]
        with self.lock:
            self.empty(removed)
