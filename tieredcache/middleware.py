"""Read-your-writes across processes, carried by the client and nobody else."""

from __future__ import annotations

import math
from contextlib import nullcontext
from http.cookies import CookieError, SimpleCookie
from time import monotonic as clock
from time import time as wall_clock
from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.utils.cache import patch_cache_control, patch_vary_headers

from tieredcache.freshness import demanding, noting_writes
from tieredcache.options import Mistake
from tieredcache.registry import longest_bound, make_tiers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from django.http import HttpRequest, HttpResponse
    from django.http.response import HttpResponseBase

_SAFE_METHODS: Final = {"GET", "HEAD", "OPTIONS", "TRACE"}
_LONGEST: Final = 200
"""Characters of the longest cookie that is looked at: ours has about 65."""


def _setting(name: str, default: Any, kind: type | tuple[type, ...], remedy: str) -> Any:
    value = getattr(settings, name, default)
    right = isinstance(value, kind) and not isinstance(value, bool)
    if not right or (value == "" if kind is str else not 0 <= value < math.inf):
        raise Mistake(f"{name} is {value!r}", remedy)
    return value


def cookie_name() -> str:
    """``TIEREDCACHE_COOKIE_NAME``; raises ``ImproperlyConfigured`` where it is none."""
    remedy = "Set it to the name of a cookie: letters, digits, '_' and '-'."
    name: str = _setting("TIEREDCACHE_COOKIE_NAME", "tieredcache_written", str, remedy)
    try:
        SimpleCookie()[name] = ""
    except CookieError:
        raise Mistake(f"TIEREDCACHE_COOKIE_NAME is {name!r}", remedy) from None
    return name


def clock_margin() -> float:
    """``TIEREDCACHE_CLOCK_MARGIN``, in seconds; raises ``ImproperlyConfigured`` where it is no number of at least 0."""
    remedy = "Set it to the seconds by which clocks may differ, at least 0."
    margin: float = _setting("TIEREDCACHE_CLOCK_MARGIN", 1, (int, float), remedy)
    return margin


def _stream(response: Any, since: float) -> None:
    """Apply the demand to a streamed body too, around each chunk: other code runs in between."""
    content = response.streaming_content

    def steps() -> Iterator[Any]:
        pending = iter(content)
        while True:
            with demanding(since=since):
                part = next(pending, None)
            if part is None:
                return
            yield part

    async def asteps() -> AsyncIterator[Any]:
        pending = aiter(content)
        while True:
            with demanding(since=since):
                part = await anext(pending, None)
            if part is None:
                return
            yield part

    response.streaming_content = asteps() if response.is_async else steps()


class ReadYourWritesMiddleware:
    """Who has written through a ``TieredCache`` sees what was written, on whichever worker the next request ends up.

    The response to a request with an unsafe method that wrote carries a signed cookie with the time of the write. A request
    that brings it is served with all local copies ignored that were read before that time. It lives as long as the longest
    staleness bound; what ``STALE_IF_ERROR`` serves past that, in an outage, may be older. A GET that writes sets nothing:
    its response may be cached by others.

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
        make_tiers()  # all of them: the cookie lives for the longest of their bounds
        self._signer = Signer(salt="tieredcache.middleware")
        self._async = iscoroutinefunction(get_response)
        if self._async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._async:
            return self._acall(request)
        since = self._since(request)
        with noting_writes() as writes, nullcontext() if since is None else demanding(since=since):
            response: HttpResponse = self.get_response(request)
        if since is not None and response.streaming:
            _stream(response, since)
        return self._finish(request, response, writes)

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        since = self._since(request)
        with noting_writes() as writes, nullcontext() if since is None else demanding(since=since):
            response: HttpResponse = await self.get_response(request)
        if since is not None and response.streaming:
            _stream(response, since)
        return self._finish(request, response, writes)

    def _since(self, request: HttpRequest) -> float | None:
        """The monotonic time before which nothing may have been read, where there is a cookie to be believed."""
        cookie = request.COOKIES.get(self._name)
        if cookie is None or len(cookie) > _LONGEST:
            return None
        try:
            written = float(self._signer.unsign(cookie))
        except (BadSignature, ValueError):
            return None
        ago = wall_clock() - written
        # From before the bound, from a time to come, or no time at all.
        if not -self._margin <= ago <= longest_bound() + self._margin:
            return None
        # The other server's clock may have been ahead, and the write that much longer ago than it seems, or less long.
        since: float = clock() - ago + self._margin
        return since

    def _finish(self, request: HttpRequest, response: HttpResponse, writes: list[float]) -> HttpResponse:
        if writes and request.method not in _SAFE_METHODS:
            response.set_cookie(
                self._name,
                self._signer.sign(f"{writes[0]:.6f}"),
                max_age=math.ceil(longest_bound()),
                secure=request.is_secure(),
                httponly=True,
                samesite="Lax",
            )
            # This response is one client's, and none for cache_page or a proxy to keep.
            patch_vary_headers(response, ("Cookie",))
            patch_cache_control(response, private=True, no_store=True)
        return response
