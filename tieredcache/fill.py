"""Reading the remote tier for the local one: each read from before it is sent until its answer is kept or given up."""

from __future__ import annotations

import pickle
from time import monotonic as clock
from typing import TYPE_CHECKING, Any

from tieredcache.entries import FOREVER, MISSING, UNKNOWN, UNREADABLE, AbsentEntry, Entry, PickledEntry
from tieredcache.failures import Swallowed, is_remote_error
from tieredcache.isolation import is_immutable

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence
    from typing import Self

    from tieredcache.outages import Outage
    from tieredcache.readers import Answer
    from tieredcache.tier import LocalTier


class RemoteRead:
    """One read of the remote tier, as the outage gate sees it: tried or not, answered or failed.

    A context manager, entered once more in the thread that reads, where that is another one: who waits for that thread next
    is to know at once how it went. ``admitted()`` says whether to try; what the remote answered goes into ``answer``;
    ``result()`` is that, or what stands in for it, or raises.
    """

    __slots__ = ("_noted", "_outage", "_probed", "_started", "_tier", "answer")

    def __init__(self, tier: LocalTier) -> None:
        self._tier = tier
        self._outage: Outage | None = None
        self._probed: Outage | None = None
        self._noted = False
        self.answer: Any = UNKNOWN
        self._started = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        self.release()
        if error is None or self._noted:
            return False
        self._noted = True
        gate = self._tier.gate
        if not is_remote_error(error):
            gate.abandoned(error, self._probed)
            return False
        self._tier.remote_errors.add()
        gate.failed(error, self._started, self._probed)
        return self.do_without(ignore=isinstance(error, Swallowed))

    def admitted(self) -> bool:
        """Whether the remote may be tried; where not, what stands in for its answer is found."""
        admitted, outage = self._tier.gate.admit()
        if admitted or outage is None:
            self._probed = outage
            return True
        self._outage = outage
        self.do_without(ignore=outage.swallowed)
        return False

    def still_admitted(self) -> bool:
        """The same a while later, in another thread: an outage may have begun since."""
        return self._tier.gate.outage is self._probed or self.admitted()

    def result(self) -> Any:
        """The answer; raises ``RemoteOutage`` where the remote was not tried and nothing stands in for its answer."""
        if self.answer is UNKNOWN and self._outage is not None:
            raise self._tier.gate.error(self._outage)
        return self.answer

    def do_without(self, *, ignore: bool = False) -> bool:
        """Find what stands in for the answer: a stale copy, or a miss where errors are ignored. Whether there is any."""
        raise NotImplementedError

    def release(self) -> None:
        """Leave nothing behind."""


class Look(RemoteRead):
    """One read of whether a key exists."""

    __slots__ = ("_key",)

    def __init__(self, tier: LocalTier, local_key: Hashable) -> None:
        super().__init__(tier)
        self._key = local_key

    def tell(self, known: Any) -> None:
        """The remote's answer."""
        self._tier.gate.succeeded()
        self.answer = known

    def do_without(self, *, ignore: bool = False) -> bool:
        stale = self._tier.stale(self._key)
        if stale is not UNKNOWN:
            self.answer = stale is not MISSING
        elif ignore or self._tier.options.ignore_errors:
            self.answer = False
        return self.answer is not UNKNOWN


class Fill(RemoteRead):
    """One read of the remote tier, from before it is sent until its answer is kept or given up.

    However the read ends, no token is left behind. ``timeout``: seconds for which the answer may be served, counted from
    here; ``0``: it is not kept.
    """

    __slots__ = ("_key", "_token", "share", "timeout")

    def __init__(self, tier: LocalTier, local_key: Hashable, timeout: float, *, share: bool) -> None:
        self._key = local_key
        self.timeout = timeout
        self.share = share
        # Shared by all who read this key now. Who shares the token of an earlier reader is only more careful than needed.
        self._token = tier.tokens.setdefault(local_key, [None]) if timeout else None
        super().__init__(tier)

    def release(self) -> None:
        tokens = self._tier.tokens
        if self._token is not None and tokens.get(self._key) is self._token:
            # In between another reader may have got a token, which is then lost: its answer is not kept, no more.
            tokens.pop(self._key, None)

    def do_without(self, *, ignore: bool = False) -> bool:
        self.answer = self._tier.stale(self._key)
        if self.answer is UNKNOWN and (ignore or self._tier.options.ignore_errors):
            self._tier.misses.add()
            self.answer = MISSING
        return self.answer is not UNKNOWN

    def keep(self, value: Any, life: Any, expires: float | None = None) -> None:
        """Count what the remote tier answered and keep it if it may be kept.

        ``life``: seconds until the remote entry expires; ``None``: it does not, or the remote cannot tell. With
        ``UNREADABLE``: the error of the decoder, or ``None`` for one that the remote has swallowed. ``expires``: the
        monotonic time at which it does, where that is another: where the remote is a tier, whose copies live shorter.
        """
        tier, self.answer = self._tier, MISSING
        if value is UNREADABLE:
            tier.misses.add()
            tier.skipped.add()
            if life is not None:
                tier.gate.succeeded()
                tier.tell_undecodable(self._key, life)
            return
        tier.gate.succeeded()
        if tier.undecodable:
            tier.undecodable.pop(self._key, None)
        timeout = self.timeout
        if value is MISSING:
            tier.misses.add()
            timeout = min(timeout, tier.options.miss_timeout)
            if not timeout:
                self._drop_expired()
                return
        else:
            tier.remote_hits.add()
            self.answer = value
        timeout *= 1 - tier.options.jitter * tier.random()
        if life is not None and life < timeout:
            timeout = life
        if expires is None:
            expires = FOREVER if life is None else self._started + life
        if not (timeout > 0 and self._store(value, self._started + timeout, expires)):
            tier.skipped.add()

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


class Fills(RemoteRead):
    """The reads of one ``get_many``: which keys to ask the remote for, and what to hand to the caller."""

    def __init__(self, tier: LocalTier) -> None:
        super().__init__(tier)
        self._fills: dict[Hashable, Fill] = {}
        self._plan: list[tuple[Any, Hashable, Any]] = []
        self.asked: list[Any] = []

    def release(self) -> None:
        for fill in self._fills.values():
            fill.release()

    def do_without(self, *, ignore: bool = False) -> bool:
        answered = [fill.do_without(ignore=ignore) for fill in self._fills.values()]
        if all(answered):
            self.answer = True
        return self.answer is not UNKNOWN

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
        for fill, answer in zip(self._fills.values(), answers, strict=True):
            fill.keep(*answer)
        self.answer = True

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
                value = self._fills[local_key].answer
                if local_key in delivered and not (value is MISSING or self._fills[local_key].share or is_immutable(value)):
                    if placed.get(key) != local_key:
                        yield key
                        placed[key] = local_key
                    continue
                delivered.add(local_key)
            if value is not MISSING:
                found[key] = value
                placed[key] = local_key
