"""When a value is computed early: before it expires, so that not every process finds it missing at the same moment.

Vattani, Chierichetti, Lowenstein, *Optimal Probabilistic Cache Stampede Prevention* (VLDB 2015): each process decides by
chance, and needs to know nothing of the others. There each read draws. Here a process sees the remote entry once per local
timeout, so it draws once for each value: it is due at ``expiry - duration * beta * Exp(1)``. A local copy ends then, if not
before; if the process then finds the same value, which it knows by its expiry, it computes a new one. A process that has
never computed the value does not know the duration, and draws nothing. See ``docs/stampedes.md``.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tieredcache.clock import clock
from tieredcache.local.entries import FOREVER, MISSING, NEVER, time_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from tieredcache.local.inflight import Computation

SLACK: Final = 0.1
"""Seconds by which two reads may disagree on when an entry expires: its TTL was somewhat longer when they were sent."""

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

    ``capacity``: keys to remember. ``alone``: no other process computes these values, so a late draw gains nothing: it is at
    least one duration, times beta. Then plans are in ``due`` before their time, too.
    """

    def __init__(self, capacity: int, due: dict[Hashable, Plan], *, alone: bool) -> None:
        self._capacity, self._alone = capacity, alone
        self.plans: dict[Hashable, Plan] = {}
        self.due: dict[Hashable, Plan] = due
        self.refreshed: int = 0

    def took(self, own: Computation) -> None:
        """Note how long a computation took that has returned."""
        plan = self.plans.setdefault(own.key, Plan())
        plan.duration, plan.beta, plan.failing = clock() - own.began, own.beta, False
        if own.old is not MISSING:
            self.refreshed += 1
            self.due.pop(own.key, None)  # until the next read of the remote finds the same value
        if len(self.plans) > self._capacity:
            for oldest in list(self.plans)[: -self._capacity]:
                self.plans.pop(oldest, None)
                self.due.pop(oldest, None)

    def limit(self, local_key: Hashable, now: float, ttl: float | None, timeout: float) -> float:
        """The local timeout of a copy that was read ``now`` and expires in ``ttl`` seconds: ``timeout``, or less."""
        plan = self.plans.get(local_key)
        if plan is not None and ttl is not None and 0 < ttl < FOREVER:
            if abs(now + ttl - plan.expires) > plan.duration + SLACK:  # another value
                drawn = max(random.expovariate(1), float(self._alone))
                plan.expires, plan.due_at = now + ttl, now + ttl - plan.duration * plan.beta * drawn
            if plan.due_at <= now or self._alone:
                self.due[local_key] = plan
                return timeout
            timeout = min(timeout, plan.due_at - now)
        self.due.pop(local_key, None)
        return timeout

    def is_due(self, local_key: Hashable) -> bool:
        """Whether the value that was found last is to be computed now."""
        plan = self.due.get(local_key)
        return plan is not None and plan.due_at <= clock()

    def write(self, local_key: Hashable, found: Any, replace: Callable[..., Any], add: Callable[..., Any]) -> Any:
        """What stores an early value, when the remote has been read again; ``None``: it was written or deleted meanwhile."""
        if self.is_due(local_key):
            return replace
        plan = self.plans.get(local_key)
        return add if found is MISSING and plan is not None and plan.expires <= clock() else None

    def failed(self, own: Computation, error: Exception) -> bool:
        """Whether the old value will do; then it is logged, once, and tried again after half of the time that is left."""
        if own.old is MISSING or isinstance(error, (TimeoutError, *time_limits())):
            return False
        self.due.pop(own.key, None)
        if plan := self.plans.get(own.key):
            plan.due_at = (clock() + plan.expires) / 2
            if self._alone:
                self.due[own.key] = plan
            if not plan.failing:
                logger.warning("%r cannot be computed before it expires; the old value is served on: %r.", own.key, error)
            plan.failing = True
        return True
