"""The writes of ``TieredCache``: each is the remote's, and forgets the local copy when it is over.

After the remote write, not before: a reader in between would fill the old value again. And whether it succeeded or not: what
raised, or was cancelled, may have been done all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from tieredcache.backends.get_or_set import OncePerProcess
from tieredcache.errors import describe
from tieredcache.failures import is_remote_error
from tieredcache.freshness import note_write
from tieredcache.readers.base import remote_async

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping
    from typing import Self

    from django.core.cache.backends.base import BaseCache

    from tieredcache.flights import Flights
    from tieredcache.tier import LocalTier

# Keywords of the remotes' own writes that leave the key as it is. Any other may name another key (django-redis' prefix).
_SAME_KEY: Final = {"nx", "xx", "client", "ignore_key_check"}


class Write:
    """A remote write under way. ``local_keys``: what to forget when it is over; ``None``: everything.

    Where the remote's errors are ignored, it swallows them, and the caller gets what is returned after the block.
    """

    __slots__ = ("_local_keys", "_tier", "error")

    def __init__(self, tier: LocalTier, local_keys: list[Hashable] | None) -> None:
        self._tier = tier
        self._local_keys = local_keys
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        note_write()
        for tier in self._tier.siblings:
            if self._local_keys is None:
                tier.clear()
                continue
            for local_key in self._local_keys:
                tier.forget(local_key)
        gate = self._tier.gate
        if error is None:
            gate.write_succeeded()
            return False
        if not is_remote_error(error, self._tier.packages):
            return False
        self._tier.remote_errors.add()
        if self._tier.options.ignore_errors:
            self.error = error
            gate.write_swallowed(error)
        return self._tier.options.ignore_errors

    def refused(self, key: Any) -> ValueError:
        """The error of a counter that could not be changed, where the remote's own is ignored."""
        refusal = ValueError(
            f"Key {key!r} not changed: {describe(self.error)}" if self.error else f"Key {key!r} not changed"
        )
        refusal.__cause__ = self.error
        return refusal


class RemoteWrites(OncePerProcess):
    """The half of ``TieredCache`` that writes."""

    _tier: LocalTier
    _default_timeout: Any

    @property
    def remote(self) -> BaseCache:
        """The remote backend of this thread or task."""
        raise NotImplementedError

    def _remote(self) -> BaseCache:
        raise NotImplementedError

    @property
    def _flights(self) -> Flights:
        return self._tier.siblings[0].flights  # of all aliases that lead to this remote

    def _write(self, keys: Iterable[Any], version: Any, extra: Mapping[str, Any] | None = None) -> Write:
        if extra and not extra.keys() <= _SAME_KEY:
            return Write(self._tier, None)
        # Made before the write: a key that cannot be made must raise before anything is written.
        return Write(self._tier, [self.local_key(key, version) for key in keys])

    def _write_version(self, key: Any, delta: int, version: Any) -> tuple[Write, Any]:
        if version is None:
            version = self._remote().version
        if type(key) is not str:  # the remote may find the other key in its own way, as django-redis does from a made one
            return Write(self._tier, None), version
        return Write(self._tier, [self.local_key(key, version), self.local_key(key, version + delta)]), version

    def _timeout(self, timeout: Any) -> dict[str, Any]:
        """The timeout to pass on; none where the remote's default applies (its cluster client's set_many takes none)."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self._default_timeout
        return {} if timeout is DEFAULT_TIMEOUT else {"timeout": timeout}

    def _async(self, name: str) -> Any:
        return remote_async(self.remote, name)

    # ``extra``: keywords of the remote's own, such as django-redis' nx.

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None, **extra: Any) -> Any:
        """Set ``key``. ``timeout``: seconds; ``None``: for ever. Returns and raises what the remote does, as all below."""
        with self._write([key], version, extra):
            return self._remote().set(key, value, version=version, **self._timeout(timeout), **extra)
        return None

    async def aset(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None, **extra: Any) -> Any:
        """As ``set``."""
        with self._write([key], version, extra):
            return await self._async("set")(key, value, version=version, **self._timeout(timeout), **extra)
        return None

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None, **extra: Any) -> bool:
        """Set ``key`` for ``timeout`` seconds, as ``set`` does, unless it exists; whether it was set."""
        with self._write([key], version, extra):
            return self._remote().add(key, value, version=version, **self._timeout(timeout), **extra)
        return False

    async def aadd(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None, **extra: Any) -> bool:
        """As ``add``."""
        with self._write([key], version, extra):
            added: bool = await self._async("add")(key, value, version=version, **self._timeout(timeout), **extra)
            return added
        return False

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None, **extra: Any) -> bool:
        """Give ``key`` another timeout, in seconds; whether it exists."""
        with self._write([key], version, extra):
            return self._remote().touch(key, version=version, **self._timeout(timeout), **extra)
        return False

    async def atouch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None, **extra: Any) -> bool:
        """As ``touch``."""
        with self._write([key], version, extra):
            touched: bool = await self._async("touch")(key, version=version, **self._timeout(timeout), **extra)
            return touched
        return False

    def delete(self, key: Any, version: Any = None, **extra: Any) -> bool:
        """Delete ``key``; whether it existed."""
        with self._write([key], version, extra):
            return self._remote().delete(key, version=version, **extra)
        return False

    async def adelete(self, key: Any, version: Any = None, **extra: Any) -> bool:
        """As ``delete``."""
        with self._write([key], version, extra):
            deleted: bool = await self._async("delete")(key, version=version, **extra)
            return deleted
        return False

    def incr(self, key: Any, delta: int = 1, version: Any = None, **extra: Any) -> int:
        """Add ``delta`` to ``key`` and return the sum; raises ``ValueError`` where there is no such key."""
        with self._write([key], version, extra) as write:
            return self._remote().incr(key, delta, version=version, **extra)
        raise write.refused(key)

    async def aincr(self, key: Any, delta: int = 1, version: Any = None, **extra: Any) -> int:
        """As ``incr``."""
        with self._write([key], version, extra) as write:
            total: int = await self._async("incr")(key, delta, version=version, **extra)
            return total
        raise write.refused(key)

    def decr(self, key: Any, delta: int = 1, version: Any = None, **extra: Any) -> int:
        """Subtract ``delta`` from ``key`` and return the difference; raises ``ValueError`` where there is no such key."""
        with self._write([key], version, extra) as write:
            return self._remote().decr(key, delta, version=version, **extra)
        raise write.refused(key)

    async def adecr(self, key: Any, delta: int = 1, version: Any = None, **extra: Any) -> int:
        """As ``decr``."""
        with self._write([key], version, extra) as write:
            total: int = await self._async("decr")(key, delta, version=version, **extra)
            return total
        raise write.refused(key)

    def set_many(self, data: dict[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: Any = None, **extra: Any) -> Any:
        """Set many keys for ``timeout`` seconds; the list of those that could not be set, where the remote tells."""
        with self._write(data, version, extra):
            return self._remote().set_many(data, version=version, **self._timeout(timeout), **extra)
        return list(data)

    async def aset_many(
        self, data: dict[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: Any = None, **extra: Any
    ) -> Any:
        """As ``set_many``."""
        with self._write(data, version, extra):
            return await self._async("set_many")(data, version=version, **self._timeout(timeout), **extra)
        return list(data)

    def delete_many(self, keys: Iterable[Any], version: Any = None, **extra: Any) -> Any:
        """Delete many keys."""
        keys = list(keys)
        with self._write(keys, version, extra):
            return self._remote().delete_many(keys, version=version, **extra)
        return None

    async def adelete_many(self, keys: Iterable[Any], version: Any = None, **extra: Any) -> Any:
        """As ``delete_many``."""
        keys = list(keys)
        with self._write(keys, version, extra):
            return await self._async("delete_many")(keys, version=version, **extra)
        return None

    def incr_version(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """Move the value to the version ``delta`` further on, and return that; raises ``ValueError`` without a value."""
        write, version = self._write_version(key, delta, version)
        with write:
            return self._remote().incr_version(key, delta, version=version)
        raise write.refused(key)

    async def aincr_version(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """As ``incr_version``."""
        write, version = self._write_version(key, delta, version)
        with write:
            moved: int = await self._async("incr_version")(key, delta, version=version)
            return moved
        raise write.refused(key)

    def decr_version(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """As ``incr_version``, back."""
        return self.incr_version(key, -delta, version)

    async def adecr_version(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """As ``decr_version``."""
        return await self.aincr_version(key, -delta, version)

    def clear(self) -> Any:
        """Clear both tiers."""
        with Write(self._tier, None):
            return self._remote().clear()
        return None

    async def aclear(self) -> Any:
        """As ``clear``."""
        with Write(self._tier, None):
            return await self._async("clear")()
        return None

    def close(self, **kwargs: Any) -> None:
        """Nothing: the remote is an alias of its own, and Django closes it."""

    async def aclose(self, **kwargs: Any) -> None:
        """As ``close``."""
