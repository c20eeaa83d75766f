"""When a value is computed early: before it expires, so that not every process finds it missing at the same moment.

Each process decides by chance (``docs/prefetch.md``). It draws once for each value, which it knows by its expiry: a new one
is due at ``expiry - duration * beta * Exp(1)``. A local copy ends then, if not before; if the process still finds the old
value, it computes. A process that has never computed the value does not know the duration, and draws nothing.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from tieredcache.clock import clock
from tieredcache.local.entries import FOREVER, MISSING, NEVER, is_callers, time_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from tieredcache.local.inflight import Computation

SLACK: Final = 0.1  # seconds by which two reads of one entry may disagree on when it expires: each is some time on its way

logger: logging.Logger = logging.getLogger("tieredcache")


@dataclass(slots=True)
class Plan:
    """What is known of one key: the value that expires at ``expires`` is due at ``due_at``. Times are seconds."""

    duration: float = 0
    beta: float = 0
    expires: float = NEVER
    due_at: float = FOREVER
    failing: bool = False


class Early:
    """The plans of one store, by local key, and those that are ``due``. ``refreshed``: values that were computed early.

    ``alone``: no other process computes these values, so a draw counts as 1 at least; and ``due`` holds all plans.
    """

    def __init__(self, capacity: int, *, alone: bool) -> None:
        self._capacity, self._alone = capacity, alone
        self.due: dict[Hashable, Plan] = {}
        self.plans: dict[Hashable, Plan] = {}
        self.refreshed: int = 0

    def took(self, own: Computation) -> None:
        """Note how long a computation took that has returned, where it was one that may be early."""
        if not own.beta:
            return
        plan = self.plans.setdefault(own.key, Plan())
        plan.duration, plan.beta, plan.failing = clock() - own.began, own.beta, False
        self.refreshed += own.old is not MISSING
        if self._alone:
            self.due[own.key] = plan
        else:
            self.due.pop(own.key, None)  # until the next read of the remote finds the same value
        for oldest in list(islice(self.plans, max(0, len(self.plans) - self._capacity))):  # not all: there may be a million
            self.plans.pop(oldest, None)
            self.due.pop(oldest, None)

    def limit(self, local_key: Hashable, now: float, ttl: float | None, timeout: float) -> float:
        """The local timeout of a copy that was read ``now`` and expires in ``ttl`` seconds: ``timeout``, or less."""
        plan = self.plans.get(local_key)
        if plan is None:
            return timeout
        if ttl is None or not 0 < ttl < FOREVER:
            plan.due_at = FOREVER
        elif abs(now + ttl - plan.expires) > plan.duration + SLACK:  # another value
            drawn = max(random.expovariate(1), float(self._alone))
            plan.expires, plan.due_at = now + ttl, now + ttl - plan.duration * plan.beta * drawn
        if plan.due_at <= now:
            self.due[local_key] = plan
        elif not self._alone:
            self.due.pop(local_key, None)
            timeout = min(timeout, plan.due_at - now)
        return timeout

    def is_due(self, local_key: Hashable) -> bool:
        """Whether the value that was found last is to be computed now."""
        plan = self.due.get(local_key)
        return plan is not None and plan.due_at <= clock()

    def done(self, local_key: Hashable) -> None:
        """It is replaced: once, though the new value may expire at the same moment, such as midnight, and look like it."""
        if plan := self.plans.get(local_key):
            plan.due_at = FOREVER

    def method(self, local_key: Hashable, found: Any, replace: Callable[..., Any], add: Callable[..., Any]) -> Any:
        """Which of the two stores an early value, now that a read has ``found`` this; ``None``: written meanwhile."""
        if self.is_due(local_key):
            self.done(local_key)
            return replace
        plan = self.plans.get(local_key)
        return add if found is MISSING and plan is not None and plan.expires <= clock() else None

    def failed(self, own: Computation, error: Exception) -> bool:
        """Whether the old value will do; then it is logged, once, and tried again after half of the time that is left."""
        if own.old is MISSING:
            return False
        if plan := self.plans.get(own.key):
            plan.due_at = (clock() + plan.expires) / 2
        # In a task, a bare TimeoutError is the callable's own: the limits of asyncio reach it as a cancellation.
        if isinstance(error, time_limits()) or (own.loop is None and is_callers(error)):
            return False
        if plan:
            if not plan.failing:
                logger.warning("%r cannot be computed before it expires; the old value is served on: %r.", own.key, error)
            plan.failing = True
        return True
