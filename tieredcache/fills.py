"""The reads of one ``get_many``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieredcache.entries import MISSING, UNKNOWN
from tieredcache.errors import Swallowed
from tieredcache.fill import RemoteRead
from tieredcache.isolation import is_immutable
from tieredcache.outages import WHOLE

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from tieredcache.fill import Fill
    from tieredcache.outages import Outage
    from tieredcache.readers import Answer
    from tieredcache.tier import LocalTier


class Fills(RemoteRead):
    """The reads of one ``get_many``: which keys to ask the remote for, and what to hand to the caller."""

    def __init__(self, tier: LocalTier) -> None:
        super().__init__(tier, None, lambda: WHOLE)
        self._fills: dict[Hashable, tuple[Any, Fill]] = {}
        self._order: list[tuple[Any, Hashable, Any]] = []
        self._asking: list[Fill] = []
        self.asked: list[Any] = []

    def release(self) -> None:
        for _, fill in self._fills.values():
            fill.release()

    def failed(self, error: BaseException) -> bool:
        if not self._asking:  # it was not the remote's read that failed, but the making of a key
            self.settle(tried=False)
            return False
        servers: dict[Hashable, Fill] = {}
        for fill in self._asking:
            servers.setdefault(fill.server(), fill)  # the first was let through for the others
        if len(servers) > 1:
            self.settle(tried=False)
            self.answer: Any = True  # each key by itself then: that shows which of the servers it was
            return True
        for fill in servers.values():
            self._tier.gate.failed(error, fill)
        return self.do_without(ignore=isinstance(error, Swallowed))

    def settle(self, *, tried: bool) -> None:
        for _, fill in self._fills.values():
            fill.settle(tried=tried)

    def do_without(self, *, ignore: bool = False) -> bool:
        found = [fill.do_without(ignore=ignore) for fill in self._asking]
        if all(found):
            self.answer = True
        return self.answer is not UNKNOWN

    def admitted(self) -> bool:
        gate = self._tier.gate
        self._seen = gate.changes
        pairs = list(self._fills.values())
        if gate.outage is not None:
            self._outage = None
            servers = [fill.server() for _, fill in pairs]  # once: they may change at any time
            refused: dict[Hashable, Outage | None] = {}  # those of one server go together
            for (_, fill), server in zip(pairs, servers, strict=True):
                if server not in refused:
                    refused[server] = gate.admit(fill)
                    self._outage = self._outage or refused[server]
            ignore = self._outage is not None and self._outage.swallowed
            found = [
                fill.do_without(ignore=ignore)
                for (_, fill), server in zip(pairs, servers, strict=True)
                if refused[server] is not None
            ]
            if not all(found):
                self.settle(tried=False)
                self._ask_for([])
                return False
            pairs = [pair for pair, server in zip(pairs, servers, strict=True) if refused[server] is None]
        self._ask_for(pairs)
        if not pairs:
            self.answer = True
        return bool(pairs)

    def still_admitted(self) -> bool:
        probing = any(fill.probing for fill in self._asking)
        return self._tier.gate.changes == self._seen or probing or self.admitted()

    def _ask_for(self, pairs: list[tuple[Any, Fill]]) -> None:
        self.asked = [key for key, _ in pairs]
        self._asking = [fill for _, fill in pairs]

    def asks(self, local_key: Hashable) -> bool:
        """Whether it is to be asked for."""
        return local_key in self._fills

    @property
    def longest_timeout(self) -> float:
        """The longest of the local timeouts, in seconds; ``0``: none of the answers will be kept."""
        return max(fill.timeout for fill in self._asking)

    def served(self, key: Any, local_key: Hashable, value: Any) -> None:
        """``key`` has been answered locally."""
        self._order.append((key, local_key, value))

    def ask(self, key: Any, local_key: Hashable, fill: Fill | None) -> None:
        """``key`` has to be asked for: once, where two keys are one to the remote (``1`` and ``"1"``)."""
        if fill is not None:
            self._fills[local_key] = (key, fill)
        self._order.append((key, local_key, UNKNOWN))

    def keep(self, answers: Sequence[Answer]) -> None:
        """Keep the answers for ``asked``."""
        for fill, answer in zip(self._asking, answers, strict=True):
            fill.keep(*answer)
        self.answer = True

    def deliver(self, found: dict[Any, Any]) -> Iterator[Any]:
        """Put what was found into ``found``, in the order of the keys; yields the keys that must be read once more.

        Those are the second names of keys that have two: each must have an object of its own; and all of them, where one of
        several servers has failed.
        """
        delivered = set()
        # Keys that are equal to Python and not to the remote (1 and True) take turns in one place of the result.
        placed: dict[Any, Hashable] = {}
        for key, local_key, answer in self._order:
            value = answer
            if answer is UNKNOWN:
                fill = self._fills[local_key][1]
                value = fill.answer
                again = local_key in delivered and not (value is MISSING or fill.share or is_immutable(value))
                if again or value is UNKNOWN:
                    if placed.get(key) != local_key:
                        yield key
                        placed[key] = local_key
                    continue
                delivered.add(local_key)
            if value is not MISSING:
                found[key] = value
                placed[key] = local_key
