"""The outage gate: while the remote is down, one reader tries it every ``RETRY_AFTER`` seconds, and nobody else waits.

An outage begins with a remote read that fails and ends with the next one that succeeds. In between the gate lets one reader
through at a time, the next one ``RETRY_AFTER`` seconds after that one has failed. All others are told at once.

Writes are always tried. Where they fail alone (a read-only replica, a server out of memory) and are swallowed, that is
logged too, once, until they have succeeded for a while; reads go on meanwhile.

Where a remote consists of servers that fail one by one (a cluster), all this goes for each of them: keys of the others are
read as ever, and the outage is over when none of them is out.
"""

from __future__ import annotations

import logging
import math
import threading
import weakref
from time import monotonic as clock
from typing import TYPE_CHECKING, Final

from tieredcache.errors import Swallowed, cause, describe, outage_class, without_frames
from tieredcache.forks import in_child
from tieredcache.locks import guard
from tieredcache.stats import Counter

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from tieredcache.errors import RemoteOutage

_gates: weakref.WeakSet[Gate] = weakref.WeakSet()
logger: logging.Logger = logging.getLogger("tieredcache")

GIVEN_UP: Final = 10
"""A reader let through that has not come back after so many times ``RETRY_AFTER`` is not waited for any longer: its client
may have no time-out, and the server be up again."""


QUIET: Final = 60
"""Seconds without a failed write until writes are said to succeed again."""

WHOLE: Final = ""
"""The server of all keys, where the remote is one or does not tell."""


class Outage:
    """One outage: when it began (monotonic seconds), why, and what it has cost. ``failing``: the servers that are out."""

    def __init__(self, error: BaseException) -> None:
        self.began: float = clock()
        # Whether the remote would have called it a miss: then nobody is to see an error.
        self.swallowed: bool = isinstance(error, Swallowed)
        self.error: BaseException = without_frames(cause(error))
        self.kind: type[RemoteOutage] = outage_class(type(self.error))
        self.failing: dict[Hashable, Failing] = {}
        self.failed: Counter = Counter()
        self.spared: Counter = Counter()


class Failing:
    """A server that could not be read: what it was asked for last, and when (monotonic seconds) it may be tried again."""

    __slots__ = ("local_key", "next_attempt", "server")

    def __init__(self, attempt: Attempt, next_attempt: float) -> None:
        self.met_by(attempt)
        self.next_attempt: float = next_attempt

    def met_by(self, attempt: Attempt) -> None:
        """Remember the last reader by what it read: it may hold a value."""
        self.local_key: Hashable = attempt.local_key
        self.server: Callable[[], Hashable] = attempt.server


class Attempt:
    """A reader at the gate. ``started``: its monotonic time. ``probing``: what it was let through to try, in an outage.

    ``server``: called only in an outage, because it takes a while.
    """

    __slots__ = ("local_key", "probing", "server", "started")

    local_key: Hashable
    server: Callable[[], Hashable]
    probing: Failing | None
    started: float


class Gate:
    """Who may try the remote. ``remote``: its alias. ``retry_after``: seconds between attempts in an outage.

    ``leads_on``: the remote is a tier itself, and has a gate of its own; this one stays open.
    """

    def __init__(self, remote: str, retry_after: float, *, leads_on: bool) -> None:
        self._remote = remote
        self._retry_after = retry_after
        self._leads_on = leads_on
        self.after_fork()
        _gates.add(self)

    def after_fork(self) -> None:
        """Open it in a child process: those who tried the remote are threads of the parent."""
        # Reentrant for destructors that the garbage collector runs here, and that use the cache.
        self._lock = guard(threading.RLock())
        self._last_end = -math.inf
        self.outage: Outage | None = None
        self.changes: int = 0  # of what is failing
        self._writes: Outage | None = None  # writes that fail while reads succeed, and are swallowed: only this logs them
        self._last_write = 0.0

    def covers(self, server: Callable[[], Hashable]) -> bool:
        """Whether ``server()`` is out."""
        outage = self.outage
        return outage is not None and _failing(outage, server) is not None

    def admit(self, attempt: Attempt) -> Outage | None:
        """Let a reader try the remote, or not: then the outage is returned.

        Of those who are let through to a server that is out there is one at a time. Who is let through tells how it went:
        ``succeeded``, ``failed`` or ``abandoned``.
        """
        outage = self.outage
        failing = None if outage is None else _failing(outage, attempt.server)
        if outage is None or failing is None:
            return None
        now = clock()
        if now >= failing.next_attempt:
            with self._lock:
                if self.outage is not outage:
                    return None  # over
                if now >= failing.next_attempt:
                    attempt.probing = failing
                    failing.next_attempt = now + GIVEN_UP * self._retry_after
                    return None
        outage.spared.add()
        return outage

    def failed(self, error: BaseException, attempt: Attempt) -> None:
        """A read has failed."""
        if self._leads_on or (attempt.probing is None and attempt.started < self._last_end):
            return  # it began before the outage ended, and tells nothing new
        server = attempt.server()
        new = None if self.outage else Outage(error)  # made outside the lock: it calls the error's own code
        with self._lock:
            outage = self.outage or new or Outage(error)
            begins = self.outage is None
            again = clock() + self._retry_after
            failing = outage.failing.setdefault(server, Failing(attempt, again))
            failing.met_by(attempt)
            if attempt.probing is not None:
                # Not for those who began before the outage: somebody else may be trying the server now.
                attempt.probing.next_attempt = failing.next_attempt = again
            self.outage = outage
            self.changes += 1
        attempt.probing = None
        outage.failed.add()
        told = self._writes is not None and clock() <= self._last_write + self._retry_after
        if begins and not told:
            logger.warning(
                "Outage of the remote cache %r: %s. One read tries it every %g s, the others do without it.",
                self._remote,
                describe(outage.error),
                self._retry_after,
            )

    def succeeded(self, attempt: Attempt) -> None:
        """A read has succeeded."""
        outage = self.outage
        if outage is None or (attempt.probing is None and attempt.started < outage.began):
            return  # there is none, or what it saw was before it
        here = attempt.server()
        # After a failover the keys of one that failed are on another server: the first is no longer waited for.
        over = {name for name, failing in outage.failing.copy().items() if failing.server() != name}
        with self._lock:
            attempt.probing = None
            for name, failing in list(outage.failing.items()):
                if name in {WHOLE, here} or name in over or failing.local_key == attempt.local_key:
                    del outage.failing[name]
                    self.changes += 1
            if outage.failing or self.outage is not outage:
                return
            self.outage = self._writes = None
            self._last_end = clock()
        self._tell_end(outage)

    def abandoned(self, attempt: Attempt, *, tried: bool) -> None:
        """A reader that was let through gave up. ``tried``: it may have waited for the server, as one that is cancelled has.

        Else the next may try at once: it was the caller's mistake, or the value's, or nothing was sent.
        """
        failing, attempt.probing = attempt.probing, None
        if failing is not None:
            failing.next_attempt = clock() + (self._retry_after if tried else 0)

    def write_swallowed(self, error: BaseException) -> None:
        """A write has failed, and nobody else will tell."""
        self._last_write = clock()
        known = self.outage or self._writes
        if self._leads_on:
            return
        if known is None:
            new = Outage(error)
            with self._lock:
                begins = self._writes is None
                known = self._writes = self._writes or new
            if begins:
                logger.warning("Writes to the remote cache %r fail, and are ignored: %s.", self._remote, describe(error))
        known.failed.add()

    def write_succeeded(self) -> None:
        """A write has succeeded: the end of a time in which they failed, if none has for a while.

        One that succeeds between others that fail (a delete, on a server that is out of memory) is no end.
        """
        outage = self._writes
        if outage is None or clock() < self._last_write + QUIET:
            return
        with self._lock:
            if self._writes is not outage:
                return
            self._writes = None
        self._tell_end(outage)

    def _tell_end(self, outage: Outage) -> None:
        logger.warning(
            "The remote cache %r answers again after %.1f s: %d operations failed, %d reads did without it.",
            self._remote,
            clock() - outage.began,
            outage.failed.value(),
            outage.spared.value(),
        )

    def error(self, outage: Outage) -> RemoteOutage:
        """The error for a reader that is not let through and finds no stale copy."""
        lasted = clock() - outage.began
        text = f"The remote cache {self._remote!r} has been down for {lasted:.1f} s: {describe(outage.error)}"
        error: RemoteOutage = outage.kind.__new__(outage.kind, text)
        error.__dict__.update(vars(outage.error))
        error.__cause__ = outage.error
        return error


def _failing(outage: Outage, server: Callable[[], Hashable]) -> Failing | None:
    return outage.failing.get(WHOLE) or outage.failing.get(server())


def _after_fork_in_child() -> None:
    for gate in list(_gates):
        gate.after_fork()


in_child(_after_fork_in_child)
