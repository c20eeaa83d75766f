"""The reader for a remote that is itself a tiered cache."""

from __future__ import annotations

from time import monotonic as clock
from typing import TYPE_CHECKING, Any

from tieredcache.entries import MISSING, NEVER, UNREADABLE
from tieredcache.errors import Swallowed
from tieredcache.readers.base import Reader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tieredcache.entries import Times
    from tieredcache.readers.base import Answer


class ChainReader(Reader):
    """Values live as long as in the tier below, which knows the remote's expiry already: nothing more is asked.

    What the tier below has not kept is not kept above either. Its outages are its own: see ``Gate``.
    """

    def home(self, remote: Any) -> str | None:
        home: str | None = remote.home
        return home

    def make_key(self, remote: Any, key: Any, version: Any) -> str:
        return str(remote.remote_key(key, version))

    def threaded(self, remote: Any) -> bool:
        return False

    def _existing(self, remote: Any, key: Any, version: Any, found: bool | None) -> bool:
        if not found and remote.is_out(key, version):
            raise Swallowed from ConnectionError("the remote of the tier below is down")
        return bool(found)

    def get(self, remote: Any, key: Any, version: Any, *, life: bool = True) -> Answer:
        before = _served(remote, key, version)
        return self._answer(remote, key, version, before, remote.get(key, MISSING, version))

    async def aget(self, remote: Any, key: Any, version: Any, *, life: bool = True) -> Answer:
        before = _served(remote, key, version)
        return self._answer(remote, key, version, before, await remote.aget(key, MISSING, version))

    def get_many(self, remote: Any, keys: Sequence[Any], version: Any, *, life: bool = True) -> list[Answer]:
        if len(set(keys)) < len(keys):
            return [self.get(remote, key, version) for key in keys]
        before = [_served(remote, key, version) for key in keys]
        return self._answers(remote, keys, version, before, remote.get_many(keys, version))

    async def aget_many(self, remote: Any, keys: Sequence[Any], version: Any, *, life: bool = True) -> list[Answer]:
        if len(set(keys)) < len(keys):
            return [await self.aget(remote, key, version) for key in keys]
        before = [_served(remote, key, version) for key in keys]
        return self._answers(remote, keys, version, before, await remote.aget_many(keys, version))

    def _answers(
        self, remote: Any, keys: Sequence[Any], version: Any, before: list[Times], found: dict[Any, Any]
    ) -> list[Answer]:
        return [
            self._answer(remote, key, version, times, found.get(key, MISSING))
            for key, times in zip(keys, before, strict=True)
        ]

    def _answer(self, remote: Any, key: Any, version: Any, before: Times, value: Any) -> Answer:
        # A copy that was served below before the read has answered it, and may have been replaced since by one that lives
        # longer: so the times are those of before. Absence is an answer too: what the tier below remembers of it must not be
        # remembered anew.
        read_at, deadline, expires = before
        if deadline == NEVER:
            later, deadline, expires = _served(remote, key, version)
            if read_at == NEVER:  # else what was past its deadline may have been served all the same
                read_at = later
        if value is MISSING and deadline == NEVER:
            # Learned just now, and not kept below; or nothing was learned, because the remote is down.
            return (UNREADABLE, Swallowed()) if remote.is_out(key, version) else (MISSING, None)
        return value, max(0.0, deadline - clock()), expires, read_at


def _served(remote: Any, key: Any, version: Any) -> Times:
    """The times of the copy below, with ``NEVER`` for its deadline where that is past."""
    times: Times = remote.local.times(key, version)
    return times if times.deadline > clock() else times._replace(deadline=NEVER)
