"""The outage gate: while the remote is down, one reader tries it every ``RETRY_AFTER`` seconds, and nobody else waits.

An outage begins with a remote read that fails and ends with the next one that succeeds. In between the gate lets one reader
through at a time, the next one ``RETRY_AFTER`` seconds after that one has failed. All others are told at once.

Writes are always tried. Where they fail alone (a read-only replica, a server out of memory) and are swallowed, that is
logged as an outage too, which the next write that succeeds ends; reads go on meanwhile.
"""

from __future__ import annotations

import logging
import threading
from time import monotonic as clock
from typing import Any, Final

from tieredcache.failures import Swallowed, cause, without_frames
from tieredcache.stats import Counter

logger = logging.getLogger("tieredcache")

GIVEN_UP: Final = 10
"""A reader let through that has not come back after so many times ``RETRY_AFTER`` is not waited for any longer: its client
may have no time-out, and the server be up again."""


class RemoteOutage(Exception):  # noqa: N818 - what it is, in the word of the docs
    """A read that was not tried, because the remote has failed a moment ago; ``__cause__`` is how it failed.

    It is an instance of the class of that error, too, so that who catches the client's errors catches this.
    """

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteOutage, self.args


class Outage:
    """One outage: when it began (monotonic seconds), why, what it has cost, and when the remote may be tried again."""

    def __init__(self, error: BaseException, *, of_reads: bool) -> None:
        self.began = clock()
        # Whether the remote would have called it a miss: then nobody is to see an error.
        self.swallowed = isinstance(error, Swallowed)
        self.error = without_frames(cause(error))
        self.of_reads = of_reads
        self.next_attempt = 0.0
        self.failed = Counter()
        self.spared = Counter()


class Gate:
    """Who may try the remote. ``remote``: its alias. ``retry_after``: seconds between attempts in an outage.

    ``leads_on``: the remote is a tier itself, and has a gate of its own; this one stays open.
    """

    def __init__(self, remote: str, retry_after: float, *, leads_on: bool) -> None:
        self._remote = remote
        self._retry_after = retry_after
        self._leads_on = leads_on
        # Reentrant for destructors that the garbage collector runs here, and that use the cache.
        self._lock = threading.RLock()
        self._last_end = -1.0
        self.outage: Outage | None = None

    def admit(self) -> tuple[bool, Outage | None]:
        """Whether a reader may try the remote, and the outage; of those let through in an outage there is one at a time.

        Who is let through tells how it went: ``succeeded``, ``failed`` or ``abandoned``.
        """
        outage = self.outage
        if outage is None or not outage.of_reads:
            return True, None
        now = clock()
        if now >= outage.next_attempt:
            with self._lock:
                if self.outage is not outage:
                    return True, None  # over
                if now >= outage.next_attempt:
                    outage.next_attempt = now + GIVEN_UP * self._retry_after
                    return True, outage
        outage.spared.add()
        return False, outage

    def failed(self, error: BaseException, started: float, probed: Outage | None) -> None:
        """A read begun at the monotonic time ``started`` has failed; ``probed``: the outage that it was let through in."""
        if self._leads_on or started < self._last_end:
            return  # what it met is over: others have succeeded since
        if self._note(error, of_reads=True, probed=probed):
            logger.warning(
                "Outage of the remote cache %r: %s. One read tries it every %g s, the others do without it.",
                self._remote,
                describe(cause(error)),
                self._retry_after,
            )

    def succeeded(self) -> None:
        """A read has succeeded."""
        if self.outage is not None and self.outage.of_reads:
            self._end()

    def abandoned(self, error: BaseException, probed: Outage | None) -> None:
        """A read was given up, or never sent: a cancellation, or the caller's mistake."""
        if probed is not None:
            probed.next_attempt = clock() + (0 if isinstance(error, Exception) else self._retry_after)

    def write_swallowed(self, error: BaseException) -> None:
        """A write has failed, and nobody else will tell."""
        if not self._leads_on and self._note(error, of_reads=False, probed=None):
            logger.warning("Writes to the remote cache %r fail, and are ignored: %s.", self._remote, describe(error))

    def write_succeeded(self) -> None:
        """A write has succeeded."""
        if self.outage is not None and not self.outage.of_reads:
            self._end()

    def _note(self, error: BaseException, *, of_reads: bool, probed: Outage | None) -> bool:
        """Note a failure; whether an outage begins with it."""
        with self._lock:
            outage = self.outage
            begins = outage is None
            if outage is None:
                outage = self.outage = Outage(error, of_reads=of_reads)
            if of_reads and (probed is outage or begins or not outage.of_reads):
                # Not for those who began before the outage: somebody else may be trying the remote now.
                outage.next_attempt = clock() + self._retry_after
                outage.of_reads = True
        outage.failed.add()
        return begins

    def _end(self) -> None:
        with self._lock:
            outage, self.outage = self.outage, None
            self._last_end = clock()
        if outage is not None:
            logger.warning(
                "The remote cache %r answers again after %.1f s: %d operations failed, %d reads did without it.",
                self._remote,
                self._last_end - outage.began,
                outage.failed.value(),
                outage.spared.value(),
            )

    def error(self, outage: Outage) -> RemoteOutage:
        """The error for a reader that is not let through and finds no stale copy."""
        kind = _outage_class(type(outage.error))
        lasted = clock() - outage.began
        error: RemoteOutage = kind.__new__(
            kind, f"The remote cache {self._remote!r} has been down for {lasted:.1f} s: {describe(outage.error)}"
        )
        error.__dict__.update(outage.error.__dict__)
        error.__cause__ = outage.error
        return error


def _outage_class(kind: type[BaseException]) -> type[RemoteOutage]:
    try:
        return type("RemoteOutage", (RemoteOutage, kind), {"__module__": __name__})
    except TypeError:  # a class that does not go together with another
        return RemoteOutage


def describe(error: BaseException) -> str:
    """The kind of ``error`` and what it says, in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
