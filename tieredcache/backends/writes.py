"""The writes of ``TieredCache``: each is the remote's, and forgets the local copy when it is over.

After the remote write, not before: a reader in between would fill the old value again. And whether it succeeded or not: what
raised, or was cancelled, may have been done anyway.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from tieredcache.backends.keys import RemoteKeys
from tieredcache.config.registry import siblings
from tieredcache.freshness import note_write, writes_are_noted
from tieredcache.local.inflight import STORING, await_, wait
from tieredcache.remote.failures import describe, is_remote_error
from tieredcache.remote.reader import remote_async

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tieredcache.local.inflight import Step

    _Keys: TypeAlias = Iterable[Any] | None

Result = TypeVar("Result")

# Keywords of the remotes' own writes that leave the key as it is. Any other may name another key (django-redis' prefix).
_SAME_KEY: Final = {"timeout", "version", "nx", "xx", "client", "ignore_key_check"}
# What is returned where nothing was there to change: then nothing was written.
_NOTHING_DONE: Final = {"add", "touch"}


class RemoteWrites(RemoteKeys):
    """Passes writes to the remote, and then forgets the local copies of all tiers of this process over that remote."""

    def _write(
        self, name: str, keys: _Keys, instead: Result | ValueError, *args: Any, moved_to: Any = None, **extra: Any
    ) -> Result:
        """Call the remote's method ``name``, and forget ``keys`` (``None``: everything), in the version ``moved_to`` too.

        ``instead``: what is returned where the remote fails and ``REMOTE_ERRORS`` is ``"ignore"``; an exception is raised.
        """
        remote, local_keys = self._reached(), self._local_keys(keys, extra, moved_to)
        try:
            self._begin_write(local_keys)
            result: Result = getattr(remote, name)(*args, **extra)
            self._end_write(keys, local_keys, changed=not (result is False and name in _NOTHING_DONE))
        except BaseException as error:  # noqa: BLE001 - or a time limit that a signal handler has raised, in _end_write too
            self._end_write(keys, local_keys)
            return self._ignored(error, instead)
        return result

    async def _awrite(
        self, name: str, keys: _Keys, instead: Result | ValueError, *args: Any, moved_to: Any = None, **extra: Any
    ) -> Result:
        """As ``_write``."""
        remote, local_keys = self._reached(), self._local_keys(keys, extra, moved_to)
        try:
            if storing := self._announce(local_keys, sync=False):
                await await_(*storing, seconds=STORING)
            result: Result = await remote_async(remote, name)(*args, **extra)
            self._end_write(keys, local_keys, changed=not (result is False and name in _NOTHING_DONE))
        except BaseException as error:  # noqa: BLE001 - as above
            self._end_write(keys, local_keys)
            return self._ignored(error, instead)
        return result

    def _local_keys(self, keys: _Keys, extra: dict[str, Any], moved_to: Any) -> list[Any] | None:
        # Made before the write: a key that cannot be made must raise before anything is written.
        if keys is None or not _SAME_KEY.issuperset(extra):
            return None
        versions = [extra.get("version")] if moved_to is None else [extra.get("version"), moved_to]
        return [self.local_key(key, version) for key in keys for version in versions]

    def _begin_write(self, local_keys: list[Any] | None = None) -> None:
        """Let no value be stored under these keys (``None``: any) later on whose computation has begun by now."""
        if storing := self._announce(local_keys, sync=True):
            wait(*storing, seconds=STORING)

    def _announce(self, local_keys: list[Any] | None, *, sync: bool) -> list[Step]:
        """Tell all tiers that these keys are about to be written; returns what is being stored now, to be waited for."""
        steps: list[Step] = []
        for tier in siblings(self._tier):
            tier.inflight.writing.append(local_keys)
            if tier.inflight.under_way:
                steps += tier.inflight.overtake(local_keys, sync=sync)
        return steps

    def _end_write(self, keys: _Keys, local_keys: list[Any] | None, *, changed: bool = True) -> None:
        """Forget these keys in all tiers; may be repeated. ``changed``: unless the remote has said that nothing was."""
        for tier in siblings(self._tier):
            with suppress(ValueError):
                tier.inflight.writing.remove(local_keys)
            if local_keys is None or keys is None:
                tier.forget_all()
            else:
                for local_key in local_keys:
                    tier.forget(local_key)
            if changed and writes_are_noted():
                options = tier.options
                bound = options.longest_timeout
                if local_keys is not None:
                    bound = max((options.timeout_for(str(key)) for key in keys or ()), default=0)
                note_write(bound + options.stale_while_revalidate if bound else 0)

    def _ignored(self, error: BaseException, instead: Result | ValueError) -> Result:
        tier = self._tier
        self._reader()
        if is_remote_error(error, tier.packages):
            tier.remote_errors += 1
            if tier.options.remote_errors == "ignore":
                tier.circuit.write_ignored(error)
                if isinstance(instead, ValueError):
                    raise type(instead)(f"{instead}: {describe(error)}") from error
                return instead
        raise error

    # ``extra``: keywords of the remote's own, such as django-redis' nx.

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None, **extra: Any) -> Any:
        """Set ``key``. ``timeout``: seconds; ``None``: it does not expire. Returns and raises what the remote does."""
        return self._write("set", [key], None, key, value, version=version, **self._timeout(timeout), **extra)

    async def aset(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None, **extra: Any) -> Any:
        """As ``set``."""
        return await self._awrite("set", [key], None, key, value, version=version, **self._timeout(timeout), **extra)

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None, **extra: Any) -> bool:
        """Set ``key`` for ``timeout`` seconds, as ``set`` does, unless it exists; whether it was set."""
        return self._write("add", [key], False, key, value, version=version, **self._timeout(timeout), **extra)

    async def aadd(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None, **extra: Any) -> bool:
        """As ``add``."""
        return await self._awrite("add", [key], False, key, value, version=version, **self._timeout(timeout), **extra)

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None, **extra: Any) -> bool:
        """Give ``key`` another timeout, in seconds; whether it exists."""
        return self._write("touch", [key], False, key, version=version, **self._timeout(timeout), **extra)

    async def atouch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None, **extra: Any) -> bool:
        """As ``touch``."""
        return await self._awrite("touch", [key], False, key, version=version, **self._timeout(timeout), **extra)

    def delete(self, key: Any, version: Any = None, **extra: Any) -> bool:
        """Delete ``key``; whether it existed."""
        return self._write("delete", [key], False, key, version=version, **extra)

    async def adelete(self, key: Any, version: Any = None, **extra: Any) -> bool:
        """As ``delete``."""
        return await self._awrite("delete", [key], False, key, version=version, **extra)

    def incr(self, key: Any, delta: int = 1, version: Any = None, **extra: Any) -> int:
        """Add ``delta`` to ``key`` and return the sum; raises ``ValueError`` where there is no such key."""
        return self._write("incr", [key], _unchanged(key), key, delta, version=version, **extra)

    async def aincr(self, key: Any, delta: int = 1, version: Any = None, **extra: Any) -> int:
        """As ``incr``."""
        return await self._awrite("incr", [key], _unchanged(key), key, delta, version=version, **extra)

    def set_many(self, data: dict[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: Any = None, **extra: Any) -> Any:
        """Set many keys for ``timeout`` seconds; the list of those that could not be set, where the remote tells."""
        return self._write("set_many", list(data), list(data), data, version=version, **self._timeout(timeout), **extra)

    async def aset_many(
        self, data: dict[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: Any = None, **extra: Any
    ) -> Any:
        """As ``set_many``."""
        failed = list(data)
        return await self._awrite("set_many", failed, failed, data, version=version, **self._timeout(timeout), **extra)

    def delete_many(self, keys: Iterable[Any], version: Any = None, **extra: Any) -> Any:
        """Delete many keys."""
        keys = list(keys)
        return self._write("delete_many", keys, None, keys, version=version, **extra)

    async def adelete_many(self, keys: Iterable[Any], version: Any = None, **extra: Any) -> Any:
        """As ``delete_many``."""
        keys = list(keys)
        return await self._awrite("delete_many", keys, None, keys, version=version, **extra)

    def incr_version(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """Move the value to the version ``delta`` further on, and return that; raises ``ValueError`` without a value."""
        keys, versions = self._moved(key, delta, version)
        return self._write("incr_version", keys, _unchanged(key), key, delta, **versions)

    async def aincr_version(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """As ``incr_version``."""
        keys, versions = self._moved(key, delta, version)
        return await self._awrite("incr_version", keys, _unchanged(key), key, delta, **versions)

    def _moved(self, key: Any, delta: int, version: Any) -> tuple[list[Any] | None, dict[str, Any]]:
        # A key that is no string is forgotten with all others: django-redis finds the other version of one in its own way.
        version = self.remote.version if version is None else version
        return [key] if type(key) is str else None, {"version": version, "moved_to": version + delta}

    def clear(self) -> Any:
        """Clear both tiers."""
        return self._write("clear", None, None)

    async def aclear(self) -> Any:
        """As ``clear``."""
        return await self._awrite("clear", None, None)

    def close(self, **kwargs: Any) -> None:
        """Nothing: the remote is an alias of its own, and Django closes it."""

    async def aclose(self, **kwargs: Any) -> None:
        """As ``close``."""


def _unchanged(key: Any) -> ValueError:
    return ValueError(f"Key {key!r} not changed")
