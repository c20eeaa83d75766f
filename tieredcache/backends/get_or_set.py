"""``get_or_set`` for both backends: the callable runs once per process, however many ask."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from tieredcache.flights import await_, wait

if TYPE_CHECKING:
    from collections.abc import Hashable

    from tieredcache.flights import Flights

_NOTHING: Final = object()


class OncePerProcess(BaseCache):
    """``get_or_set`` and ``aget_or_set``: as Django's, but that a callable is called by one thread or task at a time.

    The others wait, and find what it has made. Where it fails, its caller gets the error, and the next of the others calls
    its own. What is made and not kept (a timeout of 0, a remote that is down) is made by each, without further waiting.

    A callable must not wait for a plain thread that asks for the same key: contexts do not follow into those.
    """

    @property
    def _flights(self) -> Flights:
        raise NotImplementedError

    def is_out(self, key: Any, version: Any = None) -> bool:  # noqa: ARG002 - of a remote
        """Whether what is made for ``key`` cannot be kept, because its server is down.

        Then nobody is to wait for it, nor for a write, which would last as long as the client's time-outs.
        """
        return False

    def local_key(self, key: Any, version: Any = None) -> Hashable:
        """The store's key for ``(key, version)``."""
        raise NotImplementedError

    def get_or_set(self, key: Any, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> Any:
        """The value of ``key``; where there is none, ``default``, or what it returns, is added for ``timeout`` seconds.

        A callable is called by one thread or task of this process at a time; the others wait for what it has made. Raises
        what it raises.
        """
        flights, unkept = self._flights, False
        while True:
            landing = flights.landing
            if (value := self.get(key, _NOTHING, version)) is not _NOTHING:
                return value
            if self.is_out(key, version):
                return default() if callable(default) else default
            if not callable(default):
                return self._add(key, default, timeout, version)
            made = self.local_key(key, version)
            flight = flights.other(made)
            if unkept or (flight is not None and not wait(flight)):
                return self._add(key, default(), timeout, version)
            if flight is not None:
                unkept = flight.made
                continue
            with flights.lead(made) as led:
                if led is None:
                    continue
                # Once more, where another flight has landed between the look and the lead.
                if flights.landing is landing or (value := self.get(key, _NOTHING, version)) is _NOTHING:
                    value = self._add(key, default(), timeout, version)
                led.made = True
                return value

    async def aget_or_set(self, key: Any, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> Any:
        """As ``get_or_set``; what ``default`` returns may be awaitable, and is awaited."""
        flights, unkept = self._flights, False
        while True:
            landing = flights.landing
            if (value := await self.aget(key, _NOTHING, version)) is not _NOTHING:
                return value
            if self.is_out(key, version):
                return await _result(default()) if callable(default) else default
            if not callable(default):
                return await self._aadd(key, default, timeout, version)
            made = self.local_key(key, version)
            flight = flights.other(made)
            if unkept or (flight is not None and not await await_(flight)):
                return await self._aadd(key, await _result(default()), timeout, version)
            if flight is not None:
                unkept = flight.made
                continue
            with flights.lead(made) as led:
                if led is None:
                    continue
                # Once more, where another flight has landed between the look and the lead.
                if flights.landing is landing or (value := await self.aget(key, _NOTHING, version)) is _NOTHING:
                    value = await self._aadd(key, await _result(default()), timeout, version)
                led.made = True
                return value

    def _add(self, key: Any, value: Any, timeout: Any, version: Any) -> Any:
        self.add(key, value, timeout, version)
        # Read again: another process may have added one first.
        return self.get(key, value, version)

    async def _aadd(self, key: Any, value: Any, timeout: Any, version: Any) -> Any:
        await self.aadd(key, value, timeout, version)
        return await self.aget(key, value, version)


async def _result(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
