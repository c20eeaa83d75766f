"""Demands on freshness: what they cost the code that demands nothing, and when they end."""

import asyncio
import contextlib
import datetime
import threading
import time

import pytest
import time_machine
from django.core.cache import caches
from django.http import HttpResponse, StreamingHttpResponse
from django.test import AsyncRequestFactory, RequestFactory

from tests.support.bounded import Run, somebody_demands
from tests.support.cost import instructions
from tests.support.doubles import RemoteDouble
from tieredcache import fresh
from tieredcache.lookups import LookupTable
from tieredcache.middleware import ReadYourWritesMiddleware

KEYS = [f"key{number}" for number in range(50)]
ROWS = [{"code": f"c{number}", "name": f"name {number}"} for number in range(100)]
DOUBLE = {"BACKEND": "tests.support.doubles.RemoteDouble", "LOCATION": "tests.demands"}
MARGIN = 1
"""Seconds by which the clocks of two servers may differ, unless a setting says otherwise."""


@pytest.fixture(autouse=True)
def reads():
    """How often the remote is read, from nothing."""
    RemoteDouble.reads = 0
    yield
    RemoteDouble.reads = 0


@pytest.fixture
def cache(make_cache):
    cache = make_cache(DOUBLE, LOCAL_TIMEOUT=60, JITTER=0)
    cache.set_many({key: f"value of {key}" for key in KEYS})
    cache.get_many(KEYS)
    return cache


def a_get(cache):
    return lambda: cache.get("key0")


def a_get_many(cache):
    return lambda: cache.get_many(KEYS)


def a_row_of_a_table(cache):
    table = LookupTable("table", lambda: ROWS, key="code", timeout=3600)
    return lambda: table["c7"]


@pytest.mark.parametrize("read", [a_get, a_get_many, a_row_of_a_table], ids=lambda read: read.__name__)
def test_others_pay_at_most_three_times_a_hit_when_somebody_demands_freshness(cache, read):
    """A reader that demands nothing is served from memory, and about as fast as before."""
    call = read(cache)
    usual = instructions(call)
    before = RemoteDouble.reads
    with somebody_demands(fresh()):
        assert instructions(call) <= 3 * usual
    assert RemoteDouble.reads == before, "hits stay hits"
    assert instructions(call) <= 1.1 * usual, "and the demand is over"


class Visit:
    """A visitor who posts, and later comes back with the cookie."""

    def __init__(self, asynchronous=False):
        self._asynchronous = asynchronous
        self._factory = AsyncRequestFactory() if asynchronous else RequestFactory()

    def post(self, write):
        """Post what ``write()`` writes."""

        def view(request):
            write()
            return HttpResponse()

        response = ReadYourWritesMiddleware(view)(RequestFactory().post("/"))
        for name, morsel in response.cookies.items():
            self._factory.cookies[name] = morsel.value

    def get(self, view):
        return ReadYourWritesMiddleware(view)(self._factory.get("/"))


def passes(seconds, clock, wall):
    clock.move(seconds)
    wall.shift(seconds)


@pytest.fixture
def wall():
    """The time of day, for the test to move."""
    with time_machine.travel(datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC), tick=False) as travelled:
        yield travelled


def a_stream(started, leave):
    """A view whose body, a generator, waits for the visitor's next message: the visitor keeps it open."""

    def body():
        started.set()
        yield caches["default"].get("key0")
        assert leave.wait(20)
        yield caches["default"].get("key0")

    def view(request):
        return StreamingHttpResponse(body())

    return view


def an_async_stream(started, leave):
    async def body():
        started.set()
        yield await caches["default"].aget("key0")
        while not leave.is_set():
            await asyncio.sleep(0.01)
        yield await caches["default"].aget("key0")

    async def view(request):
        return StreamingHttpResponse(body())

    return view


@contextlib.contextmanager
def left_open(visit, asynchronous):
    """The visitor reads the first part of a stream and keeps the connection; yields what runs it until the block ends."""
    started, waiting, leave = threading.Event(), threading.Event(), threading.Event()

    def consume():
        parts = []
        for part in visit.get(a_stream(started, leave)):
            parts.append(part)
            waiting.set()  # the next step is the one that lasts
        return parts

    async def aconsume():
        parts = []
        async for part in await visit.get(an_async_stream(started, leave)):
            parts.append(part)
            waiting.set()
        return parts

    run = Run(asyncio.run, aconsume()) if asynchronous else Run(consume)
    try:
        assert waiting.wait(5)
        time.sleep(
            0.05
        )  # until the step that lasts has begun: nothing in the body can tell that the middleware is inside it
        yield run
    finally:
        leave.set()
    run.result()


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_hits_cost_the_usual_when_a_visitor_who_posted_leaves_a_stream_open(cache, clock, wall, asynchronous):
    """Past the bound no copy is older than what the visitor wrote, so the demand is over, whatever is still open."""
    call = a_get_many(cache)
    usual = instructions(call)
    visit = Visit(asynchronous)
    visit.post(lambda: cache.set("key0", "posted"))
    with left_open(visit, asynchronous) as stream:
        passes(60 + 2 * MARGIN, clock, wall)
        assert cache.get_many(KEYS)
        assert instructions(call) <= 1.1 * usual
        assert stream.is_alive(), "the stream was to be open all the while"


def test_hits_cost_the_usual_when_copies_are_newer_than_what_a_visitor_posted(make_cache, clock, wall):
    """A prefix whose copies may be kept for a day does not keep a demand alive for a day: what counts is what is kept."""
    cache = make_cache(DOUBLE, LOCAL_TIMEOUT=5, JITTER=0, LOCAL_TIMEOUTS={"countries:": 86400})
    cache.set_many(dict.fromkeys(KEYS, "value"), timeout=None)
    cache.get_many(KEYS)
    call = a_get_many(cache)
    usual = instructions(call)
    visit = Visit()
    visit.post(lambda: cache.set("key0", "posted", timeout=None))
    for later in (5 + 2 * MARGIN, 60, 3600):
        passes(later, clock, wall)
        cache.get_many(KEYS)
        costs = []
        visit.get(lambda request, costs=costs: (costs.append(instructions(call)), HttpResponse())[1])
        assert costs[0] <= 1.1 * usual, f"{later} s later"
