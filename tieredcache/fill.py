"""Reading the remote tier for the local one: each read from before it is sent until its answer is kept or given up."""

from __future__ import annotations

import pickle
from time import monotonic as clock
from typing import TYPE_CHECKING, Any

from tieredcache.entries import FOREVER, MISSING, UNKNOWN, UNREADABLE, AbsentEntry, Entry, PickledEntry
from tieredcache.errors import Swallowed
from tieredcache.failures import is_remote_error
from tieredcache.isolation import is_immutable
from tieredcache.outages import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import Self

    from tieredcache.outages import Failing, Outage
    from tieredcache.tier import LocalTier


class RemoteRead(Attempt):
    """One read of the remote tier, as the outage gate sees it: tried or not, answered or failed.

    A context manager, entered once more in the thread that reads, where that is another one: who waits for that thread next
    is to know at once how it went. ``admitted()`` says whether to try; what the remote answered goes into ``answer``;
    ``result()`` is that, or what stands in for it, or raises.
    """

    __slots__ = ("_noted", "_outage", "_seen", "_tier", "_token", "answer", "share", "timeout")

    def __init__(
        self,
        tier: LocalTier,
        local_key: Hashable,
        server: Callable[[], Hashable],
        timeout: float | None = None,
        *,
        share: bool = False,
    ) -> None:
        self._tier = tier
        self._outage: Outage | None = None
        self._seen = 0
        self._noted = False
        self.answer: Any = UNKNOWN
        self.local_key = local_key
        self.server = server
        self.probing: Failing | None = None
        # Here, and not in Fill where they belong: every miss would pay for one __init__ that calls another.
        self.timeout: float = timeout or 0
        self.share: bool = share
        # Shared by all who read this key now. Who shares the token of an earlier reader is only more careful than needed.
        # What is never kept needs none, unless the stale copy of another name for the key has sent this reader, by a token.
        tokened = timeout or (timeout is not None and tier.options.stale_while_revalidate)
        self._token = tier.tokens.setdefault(local_key, [None]) if tokened else None
        self.started: float = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        self.release()
        if error is None or self._noted:
            self.settle(tried=True)  # where it was answered in a way that tells nothing
            return False
        if not is_remote_error(error, self._tier.packages):
            # A cancellation is not the end: the thread that reads for a task goes on, and will tell.
            self._noted = isinstance(error, Exception)
            self.settle(tried=not self._noted)
            return False
        self._noted = True
        self._tier.remote_errors.add()
        return self.failed(error)

    def settle(self, *, tried: bool) -> None:
        """Let the next reader try, where this one was let through to try and has not reported how it went."""
        if self.probing is not None:
            self._tier.gate.abandoned(self, tried=tried)

    def failed(self, error: BaseException) -> bool:
        """Tell the gate that the remote has failed; whether something stands in for its answer."""
        self._tier.gate.failed(error, self)
        return self.do_without(ignore=isinstance(error, Swallowed))

    def admitted(self) -> bool:
        """Whether the remote may be tried; where not, what stands in for its answer is found."""
        gate = self._tier.gate
        self._seen = gate.changes
        if gate.outage is None:
            return True
        self._outage = gate.admit(self)
        if self._outage is not None:
            self.do_without(ignore=self._outage.swallowed)
        return self._outage is None

    def still_admitted(self) -> bool:
        """The same a while later, in another thread: an outage may have begun since."""
        return self._tier.gate.changes == self._seen or self.probing is not None or self.admitted()

    def result(self) -> Any:
        """The answer; raises ``RemoteOutage`` where the remote was not tried and nothing stands in for its answer."""
        if self.answer is UNKNOWN and self._outage is not None:
            raise self._tier.gate.error(self._outage)
        return self.answer

    def do_without(self, *, ignore: bool = False) -> bool:
        """Answer without the remote: by a stale copy, or a miss where errors are ignored. Whether there is either."""
        raise NotImplementedError

    def release(self) -> None:
        """Leave nothing behind."""


class Look(RemoteRead):
    """One read of whether a key exists."""

    __slots__ = ()

    def tell(self, known: Any) -> None:
        """The remote's answer."""
        self._tier.gate.succeeded(self)
        self.answer = known

    def do_without(self, *, ignore: bool = False) -> bool:
        stale = self._tier.stale(self.local_key)
        if stale is not UNKNOWN:
            self.answer = stale is not MISSING
        elif ignore or self._tier.options.ignore_errors:
            self.answer: Any = False
        return self.answer is not UNKNOWN


class Fill(RemoteRead):
    """One read of the remote tier, from before it is sent until its answer is kept or given up.

    However the read ends, no token is left behind. ``timeout``: seconds for which the answer may be served, counted from
    here; ``0``: it is not kept.
    """

    __slots__ = ()

    def release(self) -> None:
        tokens = self._tier.tokens
        if self._token is not None and tokens.get(self.local_key) is self._token:
            # In between another reader may have got a token, which is then lost: its answer is not kept, no more.
            tokens.pop(self.local_key, None)

    def do_without(self, *, ignore: bool = False) -> bool:
        self.answer = self._tier.stale(self.local_key)
        if self.answer is UNKNOWN and (ignore or self._tier.options.ignore_errors):
            self._tier.misses.add()
            self.answer = MISSING
        return self.answer is not UNKNOWN

    def keep(self, value: Any, life: Any, expires: float | None = None, read_at: float = FOREVER) -> None:
        """Count what the remote tier answered and keep it if it may be kept.

        ``life``: seconds until the remote entry expires; ``None``: it does not, or the remote cannot tell. With
        ``UNREADABLE``: the error of the decoder, or ``None`` for one that the remote has swallowed. ``expires``: the
        monotonic time at which it does, where that is another: where the remote is a tier, whose copies live shorter.
        ``read_at``: the monotonic time at which that tier read it, if it did so earlier.
        """
        tier, self.answer = self._tier, MISSING
        if value is UNREADABLE:
            tier.skipped.add()
            if isinstance(life, Swallowed):
                self.do_without(ignore=True)
                return
            tier.misses.add()
            if life is not None:
                self.settle(tried=False)  # the value's fault
                tier.tell_undecodable(self.local_key, life)
            return
        tier.gate.succeeded(self)
        if tier.undecodable:
            tier.undecodable.pop(self.local_key, None)
        timeout = self.timeout
        if value is MISSING:
            tier.misses.add()
            timeout = min(timeout, tier.options.miss_timeout)
            if not timeout:
                self._drop_older()
                return
        else:
            tier.remote_hits.add()
            self.answer: Any = value
        timeout *= 1 - tier.options.jitter * tier.random()
        if life is not None and life < timeout:
            timeout = life
        if expires is None:
            expires = FOREVER if life is None else self.started + life
        read_at = min(self.started, read_at)
        if not self._store(value, timeout, expires, read_at):
            tier.skipped.add()

    def _store(self, value: Any, timeout: float, expires: float, read_at: float) -> bool:
        if timeout <= 0:
            self._drop_older()
            return False
        entry: Entry
        if value is MISSING:
            entry = AbsentEntry(None, read_at)
        elif self.share or is_immutable(value):
            entry = Entry(value, read_at, expires)
        else:
            try:
                pickled = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
            except Exception:  # noqa: BLE001 - whatever the value's own code raises: it is returned, not kept
                self._drop_older()
                return False
            entry = PickledEntry(pickled, read_at, expires)
        dropped: list[Any] = [entry]  # let go when the lock has been released
        return bool(self._tier.within(self._publish, entry, self.started + timeout, dropped))

    def _publish(self, entry: Entry, deadline: float, dropped: list[Any]) -> bool:
        tier, key, token = self._tier, self.local_key, self._token
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

    def _drop_older(self) -> None:
        """What was read before this answer, which cannot be kept: served again, it would take its readers back.

        Not for an answer that another reader's has come before: that one is kept.
        """
        entry = self._tier.index.get(self.local_key)
        if entry is not None and entry.read_at < self.started:
            entry.kill()
            self._tier.drop(self.local_key, entry)
