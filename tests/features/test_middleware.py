"""ReadYourWritesMiddleware: visitors see what they wrote, on any worker; others pay nothing; cookies are verified."""

import asyncio
from unittest import mock

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.signing import Signer
from django.http import HttpResponse, StreamingHttpResponse
from django.middleware.cache import UpdateCacheMiddleware
from django.test import AsyncRequestFactory, RequestFactory, override_settings

from tieredcache import freshness, middleware
from tieredcache.middleware import ReadYourWritesMiddleware

NAME = "tieredcache_written"


@pytest.fixture
def wall(monkeypatch):
    """A wall clock to move, as seen by the worker that writes and the one that reads."""

    class Wall:
        now = 1_000_000.0

        def __call__(self):
            return self.now

    fake = Wall()
    monkeypatch.setattr(freshness, "wall_clock", fake)
    monkeypatch.setattr(middleware, "wall_clock", fake)
    return fake


@pytest.fixture
def cache(make_cache, clock):
    cache = make_cache(LOCAL_TIMEOUT=5, JITTER=0, LOCAL_TIMEOUTS={"long": 10})
    cache.set("key", "old")
    return cache


@pytest.fixture(params=["sync", "async"])
def serve(request, cache):
    """Serves a request by a view that does what it is told: ``serve("POST", view, cookie=None)``."""

    def run(method, view, cookie=None, secure=False):
        if request.param == "sync":
            factory = RequestFactory()
            call = ReadYourWritesMiddleware(view)
        else:
            factory = AsyncRequestFactory()

            async def aview(made):
                await asyncio.sleep(0)
                return view(made)

            call = ReadYourWritesMiddleware(aview)
        if cookie is not None:
            factory.cookies[NAME] = cookie
        made = factory.generic(method, "/", secure=secure)
        response = call(made)
        return asyncio.run(response) if request.param == "async" else response

    return run


def cookie_of(response):
    return response.cookies[NAME].value if NAME in response.cookies else None


def signed(written, bound=5, salt="tieredcache.middleware"):
    """The cookie for a write at this wall-clock time, whose old value may be served for ``bound`` seconds."""
    return Signer(salt=salt).sign(f"{written:.6f}+{bound}")


def writing(cache):
    def view(request):
        cache.set("key", "new")
        return HttpResponse("done")

    return view


def reading(cache, seen):
    def view(request):
        seen.append(cache.get("key"))
        return HttpResponse("read")

    return view


def elsewhere(cache, view):
    """As on another worker: this process's local tier does not hear of what the view writes."""

    def call(request):
        with mock.patch.object(cache._tier, "forget"):
            return view(request)

    return call


def test_who_wrote_sees_it(cache, serve, clock, wall):
    """Post on one worker, be redirected to another: no local copy from before the write is served, one from after it is."""
    assert cache.get("key") == "old"
    clock.move(2)
    wall.now += 2
    response = serve("POST", elsewhere(cache, writing(cache)))
    cookie = cookie_of(response)
    assert cookie
    seen = []
    serve("GET", reading(cache, seen))
    assert seen == ["old"], "without the cookie the bound is all there is"
    seen.clear()
    serve("GET", reading(cache, seen), cookie)
    assert seen == ["new"]
    clock.move(2)
    wall.now += 2
    cache.local.clear()
    cache.get("key")
    clock.move(0.5)
    wall.now += 0.5
    before = cache.stats().hits
    serve("GET", reading(cache, seen), cookie)
    assert seen == ["new", "new"]
    assert cache.stats().hits == before + 1, "a copy read after the write is served"


def test_the_cookie(cache, serve, wall):
    """Signed, HttpOnly, SameSite=Lax, Secure as the request is, for the staleness bound of the key; no cache keeps it."""
    response = serve("POST", writing(cache))
    morsel = response.cookies[NAME]
    assert (morsel["httponly"], morsel["samesite"], morsel["secure"], morsel["max-age"]) == (True, "Lax", "", 5)
    assert morsel.value == signed(wall.now, 5)
    assert serve("POST", writing(cache), secure=True).cookies[NAME]["secure"] is True
    assert response["Vary"] == "Cookie"
    assert {part.strip() for part in response["Cache-Control"].split(",")} == {"private", "no-store"}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_unsafe_requests_that_write(cache, serve, method):
    """Each of them; by every way to write."""
    for write in (lambda: cache.set("key", 1), lambda: cache.delete("key"), lambda: cache.add("other", 1), cache.clear):
        assert cookie_of(serve(method, lambda request, write=write: (write(), HttpResponse())[1]))


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_safe_requests_set_nothing(cache, serve, method):
    """Not even when they write, as get_or_set does: their responses may be cached by others."""
    response = serve(method, writing(cache))
    assert cookie_of(response) is None
    assert not response.has_header("Vary")
    assert not response.has_header("Cache-Control")


def test_requests_that_do_not_write_set_nothing(cache, serve):
    """An unsafe method alone is no write, and neither is what another request wrote."""
    serve("POST", writing(cache))
    assert cookie_of(serve("POST", reading(cache, []))) is None


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda cache: cache.add("key", "another"), False),
        (lambda cache: asyncio.run(cache.aadd("key", "another")), False),
        (lambda cache: cache.touch("absent", 60), False),
        (lambda cache: asyncio.run(cache.atouch("absent", 60)), False),
        (lambda cache: cache.add("absent", 1), True),
        (lambda cache: cache.touch("key", 60), True),
    ],
    ids=["add of a key that exists", "aadd", "touch of an absent key", "atouch", "add", "touch"],
)
def test_an_add_or_touch_sets_a_cookie_when_it_has_changed_something(cache, write, expected):
    """An ``add`` that finds a value, and a ``touch`` that finds none, leave nothing that could be stale."""

    def view(request):
        assert write(cache) is expected
        return HttpResponse()

    response = ReadYourWritesMiddleware(view)(RequestFactory().post("/"))
    assert (cookie_of(response) is not None) == expected
    assert response.has_header("Cache-Control") == expected


def test_cookies_that_are_not_believed(cache, serve, clock, wall):
    """Forged, expired, from the future, or no time at all: ignored, without an error."""
    assert cache.get("key") == "old"
    clock.move(1)
    wall.now += 1
    cache.remote.set("key", "new")
    sign = Signer(salt="tieredcache.middleware").sign
    bad = {
        "forged": f"{wall.now:.6f}+5:forged",
        "of another salt": signed(wall.now, salt="other"),
        "expired": signed(wall.now - 6.5),
        "from the future": signed(wall.now + 1.5),
        "not a time": sign("soon+5"),
        "no bound": sign(f"{wall.now:.6f}"),
        "nan": sign("nan+5"),
        "a bound that is nan": signed(wall.now, "nan"),
        "infinite": sign("-inf+5"),
        "empty": "",
    }
    for name, cookie in bad.items():
        seen = []
        serve("GET", reading(cache, seen), cookie)
        assert seen == ["old"], name
    seen = []
    serve("GET", reading(cache, seen), signed(wall.now))
    assert seen == ["new"]


@pytest.mark.parametrize("difference", [-0.9, 0, 0.9])
def test_clocks_that_differ(cache, serve, clock, wall, difference):
    """By less than the margin: still nothing from before the write is served."""
    clock.move(1)
    wall.now += 1
    cache.local.clear()
    assert cache.get("key") == "old"
    clock.move(0.01)
    wall.now += 0.01
    cookie = cookie_of(serve("POST", elsewhere(cache, writing(cache))))
    wall.now += difference  # as the other server sees it
    for pause in (0, 0.5, 1, 2):
        clock.move(pause)
        wall.now += pause
        seen = []
        serve("GET", reading(cache, seen), cookie)
        assert seen == ["new"]


def test_no_cached_page_carries_the_cookie(cache, wall):
    """UpdateCacheMiddleware, around this one, does not store such a response."""
    stored = []
    update = UpdateCacheMiddleware(ReadYourWritesMiddleware(writing(cache)))
    update._should_update_cache = lambda request, response: True
    with override_settings(CACHE_MIDDLEWARE_ALIAS="remote"):
        keys = list(cache.remote._cache)
        update(RequestFactory().post("/"))
        stored = [key for key in cache.remote._cache if key not in keys and "cache_page" in key]
    assert not stored


@pytest.mark.parametrize(
    "settings",
    [
        {"TIEREDCACHE_COOKIE_NAME": 5},
        {"TIEREDCACHE_COOKIE_NAME": ""},
        {"TIEREDCACHE_COOKIE_NAME": "my cookie"},
        {"TIEREDCACHE_CLOCK_MARGIN": -1},
        {"TIEREDCACHE_CLOCK_MARGIN": "1"},
        {"TIEREDCACHE_CLOCK_MARGIN": True},
        {"TIEREDCACHE_CLOCK_MARGIN": float("nan")},
    ],
)
def test_settings_of_the_wrong_kind(settings):
    """Told when the middleware is made."""
    with override_settings(**settings), pytest.raises(ImproperlyConfigured, match=next(iter(settings))):
        ReadYourWritesMiddleware(lambda request: None)


def test_the_name_is_a_setting(cache, serve):
    """And so the client's cookie is looked for under it."""
    with override_settings(TIEREDCACHE_COOKIE_NAME="mine"):
        assert "mine" in serve("POST", writing(cache)).cookies


@pytest.mark.parametrize("asynchronous", [False, True])
def test_streamed_bodies(cache, clock, wall, asynchronous):
    """A generator runs when the middleware has long returned, and sees the write all the same."""
    assert cache.get("key") == "old"
    clock.move(2)
    wall.now += 2
    cache.remote.set("key", "new")
    cookie = signed(wall.now)

    def parts():
        yield cache.get("key")
        yield "!"

    async def aparts():
        yield await cache.aget("key")
        yield "!"

    factory = AsyncRequestFactory() if asynchronous else RequestFactory()
    factory.cookies[NAME] = cookie

    async def aview(request):
        return StreamingHttpResponse(aparts())

    call = ReadYourWritesMiddleware(aview if asynchronous else lambda request: StreamingHttpResponse(parts()))

    async def collect():
        response = await call(factory.get("/"))
        return [part async for part in response]

    body = asyncio.run(collect()) if asynchronous else list(call(factory.get("/")))
    assert b"".join(body) == b"new!"


def test_a_write_by_the_remotes_own_method_is_one(make_cache, serve):
    """delete_pattern and the like are not told apart from other writes."""
    cache = make_cache("fakeredis", LOCAL_TIMEOUT=5)
    assert cookie_of(serve("POST", lambda request: HttpResponse(str(cache.delete_pattern("user:*")))))
    assert cookie_of(serve("POST", lambda request: HttpResponse(str(cache.ttl("user:1"))))) is None
