"""The circuit: which reads may be sent to a remote that fails.

A failed read counts only if no read has succeeded since it was sent: one slow value, one exhausted pool, one lost packet
is no outage. From the first failure that counts until the next success the server is *suspect*: a reader that has a stale
copy takes it while another one asks; all others ask, as they would without us. When failures that count have gone on for
``retry_after`` seconds the circuit is *open*: one reader at a time asks, after 50 ms first, then after twice as long each
time, up to ``retry_after``; the others are answered at once. The first success closes it.

One key tells little of the others. So until ``ENOUGH`` different keys have failed, one more reader at a time may ask: for a
key that has not failed, and at once. A value that no read can finish does not cut off the rest, and a server that is down
costs ``ENOUGH`` - 1 more waits.

Servers that fail one by one (a cluster's) have a circuit each; where the remote is one, its name is ``WHOLE``.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tieredcache.clock import clock
from tieredcache.local.entries import NEVER
from tieredcache.remote.failures import RemoteOutage, Swallowed, client_error, describe, outage_class

if TYPE_CHECKING:
    from collections.abc import Hashable

logger: logging.Logger = logging.getLogger("tieredcache")

WHOLE: Final = ""
"""The server of all keys, where the remote is one or does not tell."""

FIRST_PAUSE: Final = 0.05
"""Seconds between the first failure that counts and the first attempt."""

ENOUGH: Final = 3
"""Different keys that have to fail before reads of yet another key are held back."""

LONGEST_ATTEMPT: Final = 30.0
"""Seconds after which an attempt that has not reported how it went is not waited for: its client may have no time-out."""

QUIET: Final = 60.0
"""Seconds between two log lines about writes that fail; and after which a server that no read asks for is forgotten."""


@dataclass(slots=True)
class Failing:
    """A server whose reads fail. ``first`` and ``last``: when the failures in a row were noted, in monotonic seconds.

    ``asking``: the readers that have the turn, at most one for a key that has not failed (``True``) and one for any other
    key (``False``, from ``retry_at`` on): the key of each, and until when it is waited for.
    """

    first: float
    last: float
    pause: float
    retry_at: float
    open: bool = False
    asking: dict[bool, tuple[Hashable, float]] = field(default_factory=dict)
    keys: set[Hashable] = field(default_factory=set)
    kind: type[RemoteOutage] = RemoteOutage
    text: str = ""
    swallowed: bool = False

    def takes_turn(self, local_key: Hashable, now: float) -> bool:
        """Whether a reader of this key is one that asks now."""
        is_new = len(self.keys) < ENOUGH and local_key not in self.keys
        turn = local_key, now + LONGEST_ATTEMPT
        if not is_new and now < self.retry_at:
            return False
        if self.asking.setdefault(is_new, turn)[1] <= now:
            self.asking[is_new] = turn
        return self.asking.get(is_new) is turn  # no lock: of two threads, the one whose tuple is there has the turn

    def give_back(self, local_key: Hashable, now: float) -> None:
        """A reader of this key has ended without an answer."""
        for is_new, (key, _) in list(self.asking.items()):
            if key == local_key:
                self.asking.pop(is_new, None)
                self.retry_at = self.retry_at if is_new else now + self.pause


class Circuit:
    """The circuit of one remote. ``remote``: its alias. ``retry_after``: seconds, see above."""

    def __init__(self, remote: str, retry_after: float) -> None:
        self._remote = remote
        self._retry_after = retry_after
        self.failing: dict[Hashable, Failing] = {}  # by server; looked at before each read
        self._succeeded: dict[Hashable, float] = {}  # when a read of the server has succeeded last
        self._write_logged: float = NEVER

    def is_open(self, server: Hashable) -> bool:
        """Whether the server is known to be down."""
        return (state := self.failing.get(server)) is not None and state.open

    def admits(self, server: Hashable, local_key: Hashable, *, has_copy: bool) -> bool:
        """Whether this read may be sent. Then its sender reports ``succeeded``, ``failed`` or ``ended``."""
        state = self.failing.get(server)
        return state is None or not (state.open or has_copy) or state.takes_turn(local_key, clock())

    def failed(self, server: Hashable, local_key: Hashable, sent: float, error: BaseException) -> None:
        """A read that was sent at this monotonic time has failed."""
        now = clock()
        if self._succeeded.get(server, NEVER) > sent:
            self.ended(server, local_key)
            return
        state = self.failing.get(server)
        if state is None or (not state.open and sent - state.last > self._retry_after):  # so far apart, not in a row
            pause = min(FIRST_PAUSE, self._retry_after)
            state = self.failing[server] = Failing(now, now, pause, now + pause)
        state.last = now
        if len(state.keys) < ENOUGH:
            state.keys.add(local_key)
        if state.open:
            if state.asking.get(False, ("", 0))[0] == local_key:
                state.pause = min(state.pause * 2, self._retry_after)
        elif now - state.first >= self._retry_after:
            cause = client_error(error)
            state.kind, state.text = outage_class(type(cause)), describe(cause)
            state.swallowed = isinstance(error, Swallowed)
            state.retry_at, state.open = now + state.pause, True
            logger.warning("Outage of the remote cache %r: %s. One read at a time tries it.", self._remote, state.text)
        state.give_back(local_key, now)

    def ended(self, server: Hashable, local_key: Hashable) -> None:
        """A read has ended in a way that tells nothing of the server."""
        if (state := self.failing.get(server)) is not None:
            state.give_back(local_key, clock())

    def succeeded(self, server: Hashable) -> None:
        """A read has succeeded."""
        self._succeeded[server] = now = clock()
        if not self.failing:
            return
        for name, state in list(self.failing.items()):
            if name not in {server, WHOLE}:
                # After a failover nobody asks the server that had failed, because its keys are elsewhere.
                if now - state.last > max(QUIET, 2 * self._retry_after):
                    self.failing.pop(name, None)
            elif self.failing.pop(name, None) is not None and state.open:
                logger.warning("The remote cache %r answers again after %.1f s.", self._remote, now - state.first)

    def error(self, server: Hashable) -> RemoteOutage:
        """The error for a reader that is held back and finds no stale copy; an instance of the client's class, too."""
        now = clock()
        state = self.failing.get(server) or Failing(now, now, 0, now)
        text = f"The remote cache {self._remote!r} has been down for {now - state.first:.1f} s: {state.text}"
        return state.kind.__new__(state.kind, text)

    def swallows(self, server: Hashable) -> bool:
        """Whether the remote itself would call the failure a miss: then nobody is to see an error."""
        return (state := self.failing.get(server)) is not None and state.swallowed

    def write_ignored(self, error: BaseException) -> None:
        """A write has failed and its error is ignored: log that, once a minute."""
        now = clock()
        if now >= self._write_logged + QUIET:
            self._write_logged = now
            logger.warning("Writes to the remote cache %r fail, and are ignored: %s.", self._remote, describe(error))
