"""Reading the remote tier for the local one: each read from before it is sent until its answer is kept or given up."""

from __future__ import annotations

import pickle
from time import monotonic as clock
from typing import TYPE_CHECKING, Any

from tieredcache.entries import FOREVER, MISSING, UNREADABLE, AbsentEntry, Entry, PickledEntry
from tieredcache.isolation import is_immutable

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence
    from typing import Self

    from tieredcache.readers import Answer
    from tieredcache.tier import LocalTier


def is_remote_error(kind: type[BaseException]) -> bool:
    """Whether an exception of a remote operation counts as the remote's: not the caller's mistake, not a cancellation.

    ``ValueError`` is how a cache says "no such key" (incr) and "no such key possible" (Memcached), and ``TypeError`` how
    Python says "not so".
    """
    return issubclass(kind, Exception) and not issubclass(kind, (ValueError, TypeError))


class Fill:
    """One read of the remote tier, from before it is sent until its answer is kept or given up.

    A context manager: however the read ends, no token is left behind. ``timeout``: seconds for which the answer may be
    served, counted from here; ``0``: it is not kept.
    """

    __slots__ = ("_key", "_started", "_tier", "_token", "share", "timeout")

    def __init__(self, tier: LocalTier, local_key: Hashable, timeout: float, *, share: bool) -> None:
        self._tier = tier
        self._key = local_key
        self.timeout = timeout
        self.share = share
        # Shared by all who read this key now. Who shares the token of an earlier reader is only more careful than needed.
        self._token = tier.tokens.setdefault(local_key, [None]) if timeout else None
        self._started = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None and is_remote_error(kind):
            self._tier.remote_errors.add()
        self.release()

    def release(self) -> None:
        """Leave no token behind."""
        tokens = self._tier.tokens
        if self._token is not None and tokens.get(self._key) is self._token:
            # In between another reader may have got a token, which is then lost: its answer is not kept, no more.
            tokens.pop(self._key, None)

    def keep(self, value: Any, life: float | None) -> Any:
        """Count what the remote tier answered and keep it if it may be kept; what to tell the caller.

        ``life``: seconds until the remote entry expires; ``None``: it does not, or the remote cannot tell.
        """
        tier, timeout = self._tier, self.timeout
        if value is UNREADABLE:
            tier.misses.add()
            tier.skipped.add()
            return MISSING
        if value is MISSING:
            tier.misses.add()
            timeout = min(timeout, tier.options.miss_timeout)
            if not timeout:
                self._drop_expired()
                return MISSING
        else:
            tier.remote_hits.add()
        timeout *= 1 - tier.options.jitter * tier.random()
        if life is not None and life < timeout:
            timeout = life
        expires = FOREVER if life is None else self._started + life
        if not (timeout > 0 and self._store(value, self._started + timeout, expires)):
            tier.skipped.add()
        return value

    def _store(self, value: Any, deadline: float, expires: float) -> bool:
        entry: Entry
        if value is MISSING:
            entry = AbsentEntry(None, self._started)
        elif self.share or is_immutable(value):
            entry = Entry(value, self._started, expires)
        else:
            try:
                pickled = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
            except Exception:  # noqa: BLE001 - whatever the value's own code raises: it is returned, not kept
                return False
            entry = PickledEntry(pickled, self._started, expires)
        dropped: list[Any] = [entry]  # let go when the lock has been released
        return bool(self._tier.within(lambda: self._publish(entry, deadline, dropped)))

    def _publish(self, entry: Entry, deadline: float, dropped: list[Any]) -> bool:
        tier, key, token = self._tier, self._key, self._token
        # A token that is used up is registered until its reader is done: whose answer came first is kept.
        if not token or tier.busy or tier.tokens.get(key) is not token:
            return False
        tier.put(key, entry, tier.options.max_entries, dropped)
        try:
            token.pop()
        except IndexError:
            entry.kill()
            tier.unlink(key, entry, dropped)
            return False
        entry.publish(deadline)
        return True

    def _drop_expired(self) -> None:
        entry = self._tier.index.get(self._key)
        if entry is not None and not entry.is_live(clock()):
            entry.kill()
            self._tier.drop(self._key, entry)


class Fills:
    """The reads of one ``get_many``: which keys to ask the remote for, and what to hand to the caller."""

    def __init__(self, tier: LocalTier) -> None:
        self._tier = tier
        self._fills: dict[Hashable, Fill] = {}
        self._plan: list[tuple[Any, Hashable, Any]] = []
        self._values: dict[Hashable, Any] = {}
        self.asked: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None and is_remote_error(kind):
            self._tier.remote_errors.add()
        for fill in self._fills.values():
            fill.release()

    def asks(self, local_key: Hashable) -> bool:
        """Whether it is to be asked for."""
        return local_key in self._fills

    @property
    def timeout(self) -> float:
        """The longest of the local timeouts, in seconds; ``0``: none of the answers will be kept."""
        return max(fill.timeout for fill in self._fills.values())

    def served(self, key: Any, local_key: Hashable, value: Any) -> None:
        """``key`` has been answered locally."""
        self._plan.append((key, local_key, value))

    def ask(self, key: Any, local_key: Hashable, timeout: float, *, share: bool) -> None:
        """``key`` has to be asked for: once, where two keys are one to the remote (``1`` and ``"1"``)."""
        if local_key not in self._fills:
            self._fills[local_key] = Fill(self._tier, local_key, timeout, share=share)
            self.asked.append(key)
        self._plan.append((key, local_key, UNREADABLE))

    def keep(self, answers: Sequence[Answer]) -> None:
        """Keep the answers for ``asked``."""
        for (local_key, fill), answer in zip(self._fills.items(), answers, strict=True):
            self._values[local_key] = fill.keep(*answer)

    def deliver(self, found: dict[Any, Any]) -> Iterator[Any]:
        """Put what was found into ``found``, in the order of the keys; yields the keys that must be read once more.

        Those are the second names of keys that have two: each must have an object of its own.
        """
        delivered = set()
        # Keys that are equal to Python and not to the remote (1 and True) take turns in one place of the result.
        placed: dict[Any, Hashable] = {}
        for key, local_key, answer in self._plan:
            value = answer
            if answer is UNREADABLE:
                value = self._values[local_key]
                if local_key in delivered and not (value is MISSING or self._fills[local_key].share or is_immutable(value)):
                    if placed.get(key) != local_key:
                        yield key
                        placed[key] = local_key
                    continue
                delivered.add(local_key)
            if value is not MISSING:
                found[key] = value
                placed[key] = local_key
