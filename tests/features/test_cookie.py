"""The cookie of ReadYourWritesMiddleware: which visitors are given one, for how long, and what it leaves alone."""

import asyncio
import datetime
import io
import tempfile

import pytest
import time_machine
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.cache import caches
from django.core.handlers.wsgi import WSGIHandler
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.test import AsyncRequestFactory, RequestFactory, override_settings
from django.urls import path

from tieredcache.middleware import ReadYourWritesMiddleware

NAME = "tieredcache_written"
MARGIN = 1


@pytest.fixture
def cache(make_cache):
    options = {"LOCAL_TIMEOUT": 5, "JITTER": 0, "LOCAL_TIMEOUTS": {"countries:": 86400, "never:": 0}}
    return make_cache(**options)


def respond(view, method="POST", *, middleware=True, cookies=None):
    """The response of ``view`` to one request, with or without the middleware around it."""
    factory = RequestFactory()
    factory.cookies.load(cookies or {})
    handle = ReadYourWritesMiddleware(view) if middleware else view
    return handle(factory.generic(method, "/"))


def traces(response):
    """What a response tells browsers and proxies to keep."""
    return set(response.cookies), response.get("Cache-Control"), response.get("Vary")


def doing(action):
    """A view that does this."""

    def view(request):
        action()
        return HttpResponse("done")

    return view


def posted(cache):
    """The cookies of a visitor who has written."""
    return {NAME: respond(doing(lambda: cache.set("key", "new"))).cookies[NAME].value}


def with_sessions(action):
    """A view inside SessionMiddleware."""

    def inner(request):
        action(request.session)
        return HttpResponse("done")

    def view(request):
        # Made here, because it reads the settings of the test.
        return SessionMiddleware(inner)(request)

    return view


# Imports what makes the throttle from the settings of the test.
def throttled(request):
    from rest_framework.request import Request
    from rest_framework.throttling import SimpleRateThrottle

    class Throttle(SimpleRateThrottle):
        scope = "test"
        cache = caches["default"]
        rate = "5/min"

        def get_cache_key(self, request, view):
            return self.cache_format % {"scope": self.scope, "ident": "visitor"}

    assert Throttle().allow_request(Request(request), None)
    return HttpResponse("done")


def rate_limited(request):
    from django_ratelimit.core import is_ratelimited

    assert not is_ratelimited(request, group="test", key=lambda group, request: "visitor", rate="5/m", increment=True)
    return HttpResponse("done")


def keeping_what_is_never_local(request):
    cache = caches["default"]
    cache.set("never:a", 1)
    cache.add("never:b", 1)
    cache.incr("never:b")
    cache.set_many({"never:c": 1, "never:d": 2})
    cache.delete("never:a")
    cache.delete_many(["never:c", "never:d"])
    return HttpResponse("done")


VIEWS = {
    "a session is saved": with_sessions(lambda session: session.update({"basket": [1]})),
    "a session is renewed": with_sessions(lambda session: (session.update({"basket": [1]}), session.cycle_key())),
    "a throttle counts": throttled,
    "a rate limit counts": rate_limited,
    "keys are never kept locally": keeping_what_is_never_local,
}


@pytest.mark.parametrize("name", VIEWS)
def test_nothing_is_added_to_the_response_when_no_local_copy_can_be_stale(cache, name):
    """No cookie and no no-store: the response is the one that there would be without the middleware."""
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.cache"):
        alone = respond(VIEWS[name], middleware=False)
        cache.clear()
        assert traces(respond(VIEWS[name])) == traces(alone)


@pytest.mark.parametrize("name", VIEWS)
def test_the_cookie_is_set_when_the_same_request_writes_what_may_be_local(cache, name):
    """What needs no cookie does not take it away from what does."""

    def view(request):
        cache.set("key", "new")
        return VIEWS[name](request)

    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.cache"):
        response = respond(view)
    assert NAME in response.cookies
    assert "no-store" in response["Cache-Control"]


def test_nothing_is_added_to_the_response_when_the_local_tier_is_off(make_cache):
    """With LOCAL_TIMEOUT 0 there are no copies that could be stale."""
    cache = make_cache(LOCAL_TIMEOUT=0)
    view = doing(lambda: (cache.set("key", 1), cache.delete("key")))
    assert traces(respond(view)) == traces(respond(view, middleware=False))


WRITES = {
    "a key of the default timeout": (lambda cache: cache.set("cart:1", 1), 5),
    "many keys of the default timeout": (lambda cache: cache.set_many({"cart:1": 1, "cart:2": 2}), 5),
    "a counter of the default timeout": (lambda cache: (cache.add("cart:n", 1), cache.incr("cart:n")), 5),
    "a key of a day": (lambda cache: cache.set("countries:de", 1), 86400),
    "a deletion of a key of a day": (lambda cache: cache.delete("countries:de"), 86400),
    "keys of both": (lambda cache: cache.delete_many(["cart:1", "countries:de"]), 86400),
    "everything": (lambda cache: cache.clear(), 86400),
}


@pytest.mark.parametrize("name", WRITES)
def test_the_cookie_lives_as_long_as_copies_of_what_was_written(cache, name):
    """A prefix of a day makes the cookie live a day where a key with this prefix was written, and nowhere else."""
    write, timeout = WRITES[name]
    response = respond(doing(lambda: write(cache)))
    assert timeout <= response.cookies[NAME]["max-age"] <= timeout + 2 * MARGIN


def test_the_cookie_lives_longer_when_copies_are_served_while_they_are_revalidated(make_cache):
    """STALE_WHILE_REVALIDATE is part of the staleness bound."""
    cache = make_cache(LOCAL_TIMEOUT=5, STALE_WHILE_REVALIDATE=30, LOCAL_TIMEOUTS={"countries:": 86400})
    response = respond(doing(lambda: cache.set("cart:1", 1)))
    assert 35 <= response.cookies[NAME]["max-age"] <= 35 + 2 * MARGIN


@pytest.mark.parametrize(("key", "later"), [("cart:1", 0.5), ("cart:1", 4.5), ("countries:de", 5), ("countries:de", 86000)])
def test_the_cookie_is_believed_as_long_as_it_lives(cache, clock, key, later):
    """Read-your-writes holds for a key of a day all day: another worker may have copied it before the write."""
    now = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    with time_machine.travel(now, tick=False) as wall:
        cookie = respond(doing(lambda: cache.set(key, "old", timeout=None))).cookies[NAME].value
        assert cache.get(key) == "old"  # another worker's copy, from just before the write that the cookie tells of
        cache.remote.set(key, "new", timeout=None)
        clock.move(later)
        wall.shift(later)
        seen = []
        respond(doing(lambda: seen.append(cache.get(key))), "GET", cookies={NAME: cookie})
        assert seen == ["new"]


class RecordsAssignments(StreamingHttpResponse):
    """A response that knows how often its body was assigned."""

    assignments = 0

    @property
    def streaming_content(self):
        return super().streaming_content

    @streaming_content.setter
    def streaming_content(self, value):
        self.assignments += 1
        self._set_streaming_content(value)


class Parts:
    """An iterator with a way of its own to be closed."""

    def __init__(self):
        self._parts = [b"a", b"b"]
        self.closed = False

    def __iter__(self):
        return self

    def __next__(self):
        if not self._parts:
            raise StopIteration
        return self._parts.pop(0)

    def close(self):
        self.closed = True


BODIES = {
    "a list": lambda: [b"a", b"b"],
    "an iterator of its own": Parts,
    "a map": lambda: map(bytes.lower, [b"A", b"B"]),
    "a file": lambda: io.BytesIO(b"a\nb"),
}


@pytest.mark.parametrize("body", BODIES)
def test_a_body_is_untouched_when_it_is_no_generator(cache, body):
    """A visitor who has posted is sent the very object that the view has answered with."""
    cookies = posted(cache)
    response = respond(lambda request: RecordsAssignments(BODIES[body]()), "GET", cookies=cookies)
    assert response.assignments == 1
    alone = respond(lambda request: RecordsAssignments(BODIES[body]()), "GET", middleware=False)
    assert list(response) == list(alone)


def test_an_async_body_is_untouched_when_it_is_no_generator(cache):
    """The same for an asynchronous iterator."""

    class AsyncParts(Parts):
        def __aiter__(self):
            return self

        async def __anext__(self):
            if not self._parts:
                raise StopAsyncIteration
            return self._parts.pop(0)

        __iter__ = None

    async def view(request):
        return RecordsAssignments(AsyncParts())

    factory = AsyncRequestFactory()
    factory.cookies.load(posted(cache))

    async def collect():
        response = await ReadYourWritesMiddleware(view)(factory.get("/"))
        return response.assignments, [part async for part in response]

    assert asyncio.run(collect()) == (1, [b"a", b"b"])


def send_file(request):
    file = tempfile.TemporaryFile()  # noqa: SIM115 - FileResponse closes it
    file.write(b"content")
    file.seek(0)
    return FileResponse(file, filename="report.txt")


urlpatterns = [path("", send_file)]


@pytest.mark.django_db  # a handler closes the connections that earlier tests have opened
@pytest.mark.parametrize("middleware", [False, True], ids=["alone", "with the middleware"])
def test_a_file_is_sent_by_the_server_when_the_visitor_has_posted(cache, middleware):
    """The server's wsgi.file_wrapper is given the file, as without the middleware: it uses sendfile."""
    wrapped = []

    def file_wrapper(file, size):
        wrapped.append(file)
        return file

    names = ["tieredcache.middleware.ReadYourWritesMiddleware"] if middleware else []
    environ = RequestFactory()._base_environ(PATH_INFO="/", HTTP_COOKIE=f"{NAME}={posted(cache)[NAME]}")
    environ["wsgi.file_wrapper"] = file_wrapper
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=names, ALLOWED_HOSTS=["*"]):
        sent = WSGIHandler()(environ, lambda status, headers: None)
    try:
        assert [sent] == wrapped
        assert sent.read() == b"content"
    finally:
        sent.close()
