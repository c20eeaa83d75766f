"""The reader for a remote that is itself a tiered cache."""

from __future__ import annotations

from time import monotonic as clock
from typing import TYPE_CHECKING, Any

from tieredcache.entries import MISSING, NEVER
from tieredcache.readers.base import Reader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tieredcache.readers.base import Answer


class ChainReader(Reader):
    """Values live as long as in the tier below, which knows the remote's expiry already: nothing more is asked.

    What the tier below has not kept is not kept above either.
    """

    def home(self, remote: Any) -> str | None:
        home: str | None = remote.home
        return home

    def make_key(self, remote: Any, key: Any, version: Any) -> str:
        return str(remote.remote_key(key, version))

    def get(self, remote: Any, key: Any, version: Any, *, life: bool = True) -> Answer:
        before = _ahead(remote, key, version)
        return self._answer(remote, key, version, before, remote.get(key, MISSING, version))

    async def aget(self, remote: Any, key: Any, version: Any, *, life: bool = True) -> Answer:
        before = _ahead(remote, key, version)
        return self._answer(remote, key, version, before, await remote.aget(key, MISSING, version))

    def get_many(self, remote: Any, keys: Sequence[Any], version: Any, *, life: bool = True) -> list[Answer]:
        if len(set(keys)) < len(keys):
            return [self.get(remote, key, version) for key in keys]
        before = [_ahead(remote, key, version) for key in keys]
        return self._answers(remote, keys, version, before, remote.get_many(keys, version))

    async def aget_many(self, remote: Any, keys: Sequence[Any], version: Any, *, life: bool = True) -> list[Answer]:
        if len(set(keys)) < len(keys):
            return [await self.aget(remote, key, version) for key in keys]
        before = [_ahead(remote, key, version) for key in keys]
        return self._answers(remote, keys, version, before, await remote.aget_many(keys, version))

    def _answers(
        self, remote: Any, keys: Sequence[Any], version: Any, before: list[float], found: dict[Any, Any]
    ) -> list[Answer]:
        return [
            self._answer(remote, key, version, deadline, found.get(key, MISSING))
            for key, deadline in zip(keys, before, strict=True)
        ]

    def _answer(self, remote: Any, key: Any, version: Any, before: float, value: Any) -> Answer:
        # What was below before the read has answered it, and may have been replaced since by what lives longer. Absence is
        # an answer too: what the tier below remembers of it must not be remembered anew.
        deadline = _ahead(remote, key, version) if before is NEVER else before
        if value is MISSING and deadline is NEVER:
            return MISSING, None  # learned just now, and not kept below
        return value, max(0.0, deadline - clock())


def _ahead(remote: Any, key: Any, version: Any) -> float:
    """The deadline of the copy below, or ``NEVER`` where it is past or there is none."""
    deadline: float = remote.local.deadline(key, version)
    return deadline if deadline > clock() else NEVER
