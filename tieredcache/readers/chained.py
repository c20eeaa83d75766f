"""The reader for a remote that is itself a tiered cache."""

from __future__ import annotations

from time import monotonic as clock
from typing import TYPE_CHECKING, Any

from tieredcache.entries import MISSING
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
        return self._answer(remote, key, version, remote.get(key, MISSING, version))

    async def aget(self, remote: Any, key: Any, version: Any, *, life: bool = True) -> Answer:
        return self._answer(remote, key, version, await remote.aget(key, MISSING, version))

    def get_many(self, remote: Any, keys: Sequence[Any], version: Any, *, life: bool = True) -> list[Answer]:
        found = remote.get_many(keys, version)
        return [self._answer(remote, key, version, found.get(key, MISSING)) for key in keys]

    async def aget_many(self, remote: Any, keys: Sequence[Any], version: Any, *, life: bool = True) -> list[Answer]:
        found = await remote.aget_many(keys, version)
        return [self._answer(remote, key, version, found.get(key, MISSING)) for key in keys]

    def _answer(self, remote: Any, key: Any, version: Any, value: Any) -> Answer:
        deadline = remote.local.deadline(key, version)
        return value, None if value is MISSING else max(0.0, deadline - clock())
