"""The local tier of a ``TieredCache``: entries, and the tokens that keep old values from being put back.

The race: a reader asks the remote tier and is given a value; before it can keep it, somebody writes a newer one and forgets
the local copy; then the reader keeps the old value. So a reader takes a token before it asks, ``forget`` revokes it, and
what was read is kept only with the token unrevoked.

``forget`` takes no lock: it is called after every write, and must take effect at once wherever it is called from, even from
a destructor that the garbage collector runs in the middle of a fill. These single steps make that sound:

    fill                                          forget, once the remote write has been done
    1  under the lock: is the token registered?   a  take the token out of the register
    2  put the entry in the store, unserved       b  revoke it (empty the list)
    3  use up the token (pop from the list)       c  kill the entry in the store
    4  publish the entry

If b comes before 3, 3 fails and nothing is published. If b comes after 3, so does c, and finds the entry of step 2: killed
for good, so 4 publishes nothing. A reader whose token a does not find took it afterwards and so reads what was written.
"""

from __future__ import annotations

import contextlib
import random
from contextvars import ContextVar
from time import monotonic as clock
from typing import TYPE_CHECKING, Any, TypeVar

from tieredcache.entries import UNKNOWN, AbsentEntry, Entry
from tieredcache.errors import describe
from tieredcache.freshness import accepts, follow
from tieredcache.outages import logger
from tieredcache.stats import Counter, Stats
from tieredcache.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from tieredcache.options import TieredOptions
    from tieredcache.outages import Gate
    from tieredcache.readers import Reader


Cache = TypeVar("Cache")
_demanding = False


def _switch(demanding: bool) -> None:
    """Whether anybody in this process demands freshness."""
    global _demanding  # noqa: PLW0603 - of the process
    _demanding = demanding


follow(_switch)


class LocalTier(Store[Entry]):
    """The copies that this process keeps of what one remote tier answered."""

    def __init__(self, options: TieredOptions, siblings: list[LocalTier], remote: str, gate: Gate) -> None:
        self.options = options
        self.gate = gate
        self.remote_alias = remote
        self.siblings = siblings  # the tiers of this process over the same remote, this one among them
        siblings.append(self)
        self.reader: Reader | None = None  # known with the first remote instance, as are home, prefix and packages
        self.home: str | None = None
        self.prefix = ""
        self._classes: dict[type, type] = {}
        self.packages: frozenset[str] = frozenset()
        # The remote of the running code: its thread, Django's store of such things, and the backend.
        self.remote: ContextVar[tuple[int, Any, Any]] = ContextVar("tieredcache_remote", default=(0, None, None))
        self.shared: set[Hashable] = set()  # keys of which every reader is given the same object, besides SHARE_VALUES
        self.remote_hits: Counter = Counter()
        self.misses: Counter = Counter()
        self.forgotten: Counter = Counter()
        self.expired: Counter = Counter()
        self.remote_errors: Counter = Counter()
        self.skipped: Counter = Counter()
        self.stale_served: Counter = Counter()
        super().__init__()

    def after_fork(self) -> None:
        super().after_fork()
        # The readers that hold tokens are threads of the parent.
        self.tokens: dict[Hashable, list[None]] = {}
        self.undecodable: dict[Hashable, None] = {}  # keys that have been told of
        # Of its own, and seeded anew in each child: processes with the same jitter would refill together.
        self.random: Callable[[], float] = random.Random().random  # noqa: S311 - jitter, not a secret

    def class_of(self, kind: type[Cache], make: Callable[[type[Cache], Any], type[Cache]]) -> type[Cache]:
        """The class of this tier's own for backends of the class ``kind``, by ``make(kind, self.lru)`` the first time."""
        made = self._classes.get(kind)
        return made or self._classes.setdefault(kind, make(kind, self.lru))

    def serve(self, local_key: Hashable, entry: Entry | None) -> Any:
        """What the local tier answers: a value, ``MISSING``, or ``UNKNOWN``.

        ``entry``: the one that the hit path has found and not served; ``None``: it has not looked.
        """
        if entry is None:
            try:
                entry = self.lru[local_key]
            except KeyError:
                return UNKNOWN
        if _demanding and not accepts(entry.read_at):  # nearly never: looking first spares a copied hit a tenth
            self.duds.add()
            return UNKNOWN
        now = clock()
        answer = entry.answer(now)
        if answer is UNKNOWN:
            if hasattr(entry, "value"):
                self.expired.add()
                if self.options.stale_while_revalidate:
                    answer = self._stale(local_key, entry, now)
            if answer is UNKNOWN:
                self.duds.add()
        return answer

    def _stale(self, local_key: Hashable, entry: Entry, now: float) -> Any:
        """What an entry past its deadline still answers while another reader refills it; ``UNKNOWN`` for that reader.

        Never past the remote's own expiry, and never an absence.
        """
        stale = self.options.stale_while_revalidate
        if not (entry.served_until + stale > now and entry.expires > now) or type(entry) is AbsentEntry:
            return UNKNOWN
        # Who registers a token reads; its Fill finds it, and takes it away when the read is over, however it ends.
        token = [None]
        if self.tokens.setdefault(local_key, token) is token:
            return UNKNOWN
        answer = entry.answer(now - stale)
        if answer is not UNKNOWN:
            self.stale_served.add()
        return answer

    def stale(self, local_key: Hashable) -> Any:
        """What a copy still answers when the remote read has failed, or is not tried; ``UNKNOWN`` without one.

        Never past the remote's own expiry, and nothing older than the running code demands.
        """
        entry, now = self.index.get(local_key), clock()
        if entry is None or entry.expires <= now or not accepts(entry.read_at):
            return UNKNOWN
        answer = entry.answer(now - self.options.stale_if_error)
        if answer is not UNKNOWN:
            with contextlib.suppress(KeyError):  # evicted this moment
                self.lru[local_key]  # promotes and counts it
            if entry.served_until <= now:
                self.stale_served.add()
        return answer

    def tell_undecodable(self, local_key: Hashable, error: BaseException) -> None:
        """Log that what the remote holds for this key does not decode: once, until it does."""
        if local_key in self.undecodable:
            return
        if len(self.undecodable) >= self.options.max_entries:
            self.undecodable.clear()  # bounded; who comes again is told of again
        self.undecodable[local_key] = None
        name = local_key[0] if isinstance(local_key, tuple) else local_key
        logger.warning(
            "%r in the remote cache %r does not decode, and is a miss: %s.", name, self.remote_alias, describe(error)
        )

    def has(self, local_key: Hashable) -> bool | None:
        """Whether the key exists, as far as the local tier knows; ``None`` where it does not."""
        entry = self.index.get(local_key)
        if entry is None or not entry.is_live(clock()):
            return None
        if not accepts(entry.read_at):
            return None
        try:
            self.lru[local_key]  # promotes and counts it
        except KeyError:
            return None
        return type(entry) is not AbsentEntry

    def forget(self, local_key: Hashable) -> None:
        """Drop the local copy, and keep reads under way from filling. Takes effect at once, waits for nothing."""
        token = self.tokens.pop(local_key, None)
        if token is not None:
            token.clear()
        entry = self.index.get(local_key)
        if entry is not None:
            entry.kill()
            self.forgotten.add()
            self.drop(local_key, entry)

    def drop(self, local_key: Hashable, entry: Entry) -> None:
        """Give back the room of an entry that is not served any more."""
        dropped: list[Any] = []
        self.within(self.unlink, local_key, entry, dropped)

    def clear(self) -> None:
        """Forget everything. Takes effect at once."""
        tokens, self.tokens = self.tokens, {}
        for token in tokens.copy().values():
            token.clear()
        for entry in self.index.copy().values():
            entry.kill()
            self.forgotten.add()
        dropped: list[Any] = []
        self.within(self.empty, dropped)

    def stats(self) -> Stats:
        return Stats(
            hits=self.hits,
            misses=self.misses.value(),
            remote_hits=self.remote_hits.value(),
            stale_served=self.stale_served.value(),
            forgotten=self.forgotten.value(),
            evictions=self.evictions.value(),
            expired=self.expired.value(),
            remote_errors=self.remote_errors.value(),
            skipped=self.skipped.value(),
            entries=len(self),
            max_entries=self.options.max_entries,
        )
