"""Read-your-writes across processes, carried by the client alone."""

from __future__ import annotations

import inspect
import math
from contextlib import nullcontext
from http.cookies import CookieError, SimpleCookie
from time import time as wall_clock
from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.utils.cache import patch_cache_control, patch_vary_headers

from tieredcache.clock import clock
from tieredcache.config.options import Mistake, Number
from tieredcache.freshness import Demand, noting_writes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from django.http import HttpRequest, HttpResponse
    from django.http.response import HttpResponseBase

_SAFE_METHODS: Final = {"GET", "HEAD", "OPTIONS", "TRACE"}


def cookie_name() -> str:
    """``TIEREDCACHE_COOKIE_NAME``; raises ``ImproperlyConfigured`` where it is none."""
    name: Any = getattr(settings, "TIEREDCACHE_COOKIE_NAME", "tieredcache_written")
    try:
        SimpleCookie()[name] = ""
    except (CookieError, AttributeError):  # no string has no lower()
        remedy = "Set it to the name of a cookie: letters, digits, '_' and '-'."
        raise Mistake("TIEREDCACHE_COOKIE_NAME", f"is {name!r}", remedy) from None
    return str(name)


def clock_margin() -> float:
    """``TIEREDCACHE_CLOCK_MARGIN``, in seconds; raises ``ImproperlyConfigured`` where it is no number of at least 0."""
    margin: float = Number("seconds")(getattr(settings, "TIEREDCACHE_CLOCK_MARGIN", 1), "TIEREDCACHE_CLOCK_MARGIN")
    return margin


def _stream(response: Any, demand: Demand) -> None:
    """Apply the demand to a body that a generator makes, too, around each chunk: other code runs in between.

    Any other body reads no cache, and passes through untouched: a server may send a file's in its own way.
    """
    body, content = getattr(response, "_iterator", None), response.streaming_content

    def steps() -> Iterator[Any]:
        step = demand(next)
        while (part := step(content, None)) is not None:
            yield part

    async def asteps() -> AsyncIterator[Any]:
        step = demand(anext)
        while (part := await step(content, None)) is not None:
            yield part

    if inspect.isgenerator(body):
        response.streaming_content = steps()
    elif inspect.isasyncgen(body):
        response.streaming_content = asteps()


class ReadYourWritesMiddleware:
    """A visitor that has written through a ``TieredCache`` sees what was written, whichever worker serves the next request.

    The response to a request with an unsafe method that wrote carries a signed cookie: the time of the write, and for how
    long other processes may serve what was written from before. A request that brings the cookie is served with all local
    copies ignored that were read before that time. What no process keeps locally, such as a session, sets no cookie. What
    ``STALE_IF_ERROR`` serves past that, in an outage, may be older. A GET that writes sets nothing: its response may be
    cached by others.

    ``TIEREDCACHE_COOKIE_NAME``: the cookie's name (default ``"tieredcache_written"``). ``TIEREDCACHE_CLOCK_MARGIN``: seconds
    by which the clocks of two servers may differ (default 1). A mistake in either raises ``ImproperlyConfigured``. Put it
    before whatever reads the cache: first of all.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self._name = cookie_name()
        self._margin = clock_margin()
        self._signer = Signer(salt="tieredcache.middleware")
        self._async = iscoroutinefunction(get_response)
        if self._async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._async:
            return self._acall(request)
        demand = self._demand(request)
        with noting_writes() as writes, demand or nullcontext():
            response: HttpResponse = self.get_response(request)
        return self._finish(request, response, writes, demand)

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        demand = self._demand(request)
        with noting_writes() as writes, demand or nullcontext():
            response: HttpResponse = await self.get_response(request)
        return self._finish(request, response, writes, demand)

    def _demand(self, request: HttpRequest) -> Demand | None:
        """What the cookie demands, where there is one to be believed."""
        try:
            time, _, seconds = self._signer.unsign(request.COOKIES[self._name]).partition("+")
            written, bound = float(time), float(seconds)
        except (KeyError, BadSignature, ValueError):
            return None
        ago = wall_clock() - written
        # From before the bound, from a time to come, or no time at all.
        if not -self._margin <= ago <= bound + self._margin:
            return None
        # The other server's clock may have been ahead, and the write that much longer ago than it seems, or less long.
        since = clock() - ago + self._margin
        return Demand(since=since, ends=since + bound)

    def _finish(
        self, request: HttpRequest, response: HttpResponse, writes: list[float], demand: Demand | None
    ) -> HttpResponse:
        if demand is not None and response.streaming:
            _stream(response, demand)
        if writes and request.method not in _SAFE_METHODS:
            written, bound = writes
            if demand is not None:  # of an earlier write, which may be served from before for longer than this one
                bound = max(bound, demand.ends - clock())
            response.set_cookie(
                self._name,
                self._signer.sign(f"{written:.6f}+{bound:g}"),
                max_age=math.ceil(bound),
                secure=request.is_secure(),
                httponly=True,
                samesite="Lax",
            )
            # This response is one client's, and none for cache_page or a proxy to keep.
            patch_vary_headers(response, ("Cookie",))
            patch_cache_control(response, private=True, no_store=True)
        return response
