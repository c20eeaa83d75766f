"""PREFETCH: how much is brought along, how much is remembered for it, and what was read together."""

import asyncio
import contextvars
import random
import threading

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core import signals

from tests.support.bounded import Run
from tests.support.doubles import RemoteDouble
from tests.support.prefetched import PAGE, ask, brought, page
from tests.support.trips import CountingConnection
from tieredcache.local.entries import Entry
from tieredcache.remote import prefetch
from tieredcache.remote.prefetch import Prefetch

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def cache(expired):
    """One whose page has been read once, and has expired."""
    return expired()


# --- bounds ---


@pytest.mark.parametrize("value", ["x" * 16_385, tuple([f"{number:1000}" for number in range(17)])], ids=["str", "tuple"])
def test_large_values_are_not_brought_along(value, cache, clock):
    cache.remote.set(PAGE[3], value, timeout=None)
    page(cache)
    clock.move(6)
    ask(cache)
    assert brought(cache) == set(PAGE) - {PAGE[0], PAGE[3]}


def test_a_trip_brings_no_more_bytes_than_it_may(counted, clock):
    cache = counted()
    keys = [f"large:{number}" for number in range(40)]
    cache.remote.set_many(dict.fromkeys(keys, "x" * 16_000), timeout=None)
    page(cache, keys)
    clock.move(6)
    ask(cache, keys[0])
    assert len(brought(cache)) == prefetch.LARGEST_TRIP // 16_000


def test_a_burst_longer_than_the_tier_does_not_push_itself_out(counted):
    cache = counted(MAX_ENTRIES=20)
    keys = [f"key:{number}" for number in range(50)]
    cache.remote.set_many(dict.fromkeys(keys, 1), timeout=None)
    page(cache, keys)
    page(cache, keys)
    assert cache.stats().prefetched <= 75  # without a limit of a quarter of the tier it is 160 to 380


def test_what_readers_share_is_not_brought_along_where_its_size_cannot_be_told(expired, clock):
    cache = expired(SHARE_VALUES=True)
    cache.set(PAGE[3], ["x" * 1000] * 1000, timeout=None)
    page(cache)
    clock.move(6)
    ask(cache)
    assert brought(cache) == set(PAGE) - {PAGE[0], PAGE[3]}


def entry(now):
    """A copy that was read at this time, and is past its deadline for good."""
    return Entry("value", None, now, now)


def test_what_is_remembered_is_bounded(clock):
    learned = Prefetch(100, 10)
    for number in range(1000):
        clock.move(1)
        prefetch.begin_burst()
        for key in ("common", f"own {number}"):
            learned.note(key, key, entry(clock()), clock())
    assert len(learned.known) <= 40
    assert learned._size <= 40
    assert sum(len(burst.keys) for burst in learned._bursts) <= 40
    assert len(learned.known["common"].bursts) == prefetch.BURSTS


def level_after(pages, keys, clock, *, used):
    """The level of a tier whose pages have read ten of so many keys by chance. ``used``: whether copies are read."""
    learned, draw = Prefetch(100, 10_000), random.Random(1)
    for _ in range(pages):
        clock.move(1)
        prefetch.begin_burst()
        for key in draw.sample(range(keys), 10):
            trip = learned.trip([key], {}, lambda read_at: True)
            if trip is not None and used:
                for _, local_key in trip.keys:
                    trip.proved(local_key, entry(clock()))
            learned.note(key, key, entry(clock()), clock())
    return learned._level


def test_keys_read_together_by_chance_are_soon_left_alone(clock):
    assert level_after(300, 1000, clock, used=False) == prefetch.NOTHING
    assert level_after(300, 20, clock, used=True) == 0


def test_few_copies_are_looked_at_where_all_will_do(clock):
    """As when one key of a page is written often: its misses must not cost more than the trip that they might save."""

    class Counted(dict):
        asked = 0

        def get(self, key):
            self.asked += 1
            return super().get(key)

    learned, index = Prefetch(100, 10_000), Counted()
    for number in range(3):
        prefetch.begin_burst()
        learned.note("common", "common", entry(clock()), clock())
        for key in range(1000 * number, 1000 * number + 350):
            learned.note(key, key, index.setdefault(key, entry(clock())), clock())
            index[key].publish(clock() + 60)
    prefetch.begin_burst()
    assert learned.trip(["common"], index, lambda read_at: True) is None
    assert index.asked <= prefetch.LONGEST_BURST


def test_a_page_of_more_keys_than_a_trip_brings_takes_some_trips_more(expired, clock):
    """Those that have been brought already are no reason to stop."""
    keys = [f"large page:{number}" for number in range(350)]
    cache = expired(MAX_ENTRIES=2000)
    cache.remote.set_many(dict.fromkeys(keys, 1), timeout=None)
    page(cache, keys)
    for _ in range(2):
        clock.move(6)
        before = CountingConnection.trips
        page(cache, keys)
        assert CountingConnection.trips - before <= 5


def test_a_level_that_was_given_up_is_tried_again(clock):
    learned = Prefetch(100, 1000)
    for number in range(40):
        learned.note(number, number, entry(clock()), clock())
    prefetch.begin_burst()
    read = False
    for _ in range(3000):
        clock.move(1)
        trip = learned.trip([0], {}, lambda read_at: True)
        if trip is not None and read:
            trip.used += len(trip.keys)
        read = read or learned._level > 0
    assert read, "it has given up"
    assert learned._level == 0


# --- bursts ---


def test_a_burst_begins_with_each_request():
    assert prefetch.begin_burst in [receiver() for _, receiver, *_ in signals.request_started.receivers]


def test_a_burst_ends_with_the_request(cache, clock):
    cache.remote.set_many({"one": 1, "two": 2}, timeout=None)
    page(cache, ["one"])
    page(cache, ["two"])
    clock.move(6)
    page(cache, ["one"])
    assert brought(cache) == set()


@pytest.mark.parametrize(("seconds", "together"), [(0.05, True), (0.2, False)])
def test_outside_requests_a_burst_ends_with_a_pause(seconds, together, cache, clock):
    cache.remote.set_many({"one": 1, "two": 2}, timeout=None)

    def task():
        cache.get("one")
        clock.move(seconds)
        cache.get("two")
        clock.move(6)
        cache.get("one")

    Run(contextvars.Context().run, task).result()
    assert ("two" in brought(cache)) is together


@pytest.mark.parametrize(("seconds", "together"), [(0.05, 8), (2, 7)])
def test_a_copy_that_was_brought_along_is_in_the_burst_of_its_first_read(seconds, together, cache, clock):
    def task():
        cache.get(PAGE[0])
        clock.move(seconds)
        for key in PAGE[1:]:
            cache.get(key)
        return len(prefetch.current_burst(clock()).keys)

    assert Run(contextvars.Context().run, task).result() == together


def test_a_thread_that_learns_makes_no_other_wait(cache):
    """Nor itself, during a destructor that reads the cache."""
    learned = cache._tier.prefetch
    for learned._learning, learned._busy in (({"thread": -1}, False), ({"thread": threading.get_ident()}, True)):
        assert page(cache) == [f"value of {key}" for key in PAGE]


class Shy:
    """As a proxy outside of its context: a caller that asks for its class is refused."""

    @property
    def __class__(self):
        raise RuntimeError("outside of the context")


def test_a_shared_value_is_left_alone_when_it_does_not_tell_its_class(make_cache, monkeypatch):
    cache, value = make_cache({"BACKEND": "tests.support.doubles.RemoteDouble"}, SHARE_VALUES=True), Shy()
    monkeypatch.setattr(RemoteDouble, "get", lambda *_, **__: value)
    cache._reader()
    cache._tier.prefetches = True
    assert cache.get("key") is value


class Asking:
    """A value whose decoding asks a service."""

    error: Exception | None = None

    def __reduce__(self):
        return (Asking.ask, ())

    @staticmethod
    def ask():
        if Asking.error:
            raise Asking.error
        return Asking()


@pytest.fixture(params=["django-redis", "django"])
def asking_cache(request, make_cache, clock):
    """A read of "plain" brings along what asks a service."""
    cache = make_cache(request.param, LOCAL_TIMEOUT=5)
    cache.set_many({"plain": 1, "asking": Asking()})
    page(cache, ["plain", "asking"])
    clock.move(6)
    return cache


def test_a_read_succeeds_when_what_it_brings_along_times_out_in_its_decoding(asking_cache, monkeypatch):
    monkeypatch.setattr(Asking, "error", TimeoutError("The read operation timed out"))
    assert ask(asking_cache, "plain") == 1
    assert asking_cache.stats().remote_errors == 0


def test_a_time_limit_is_raised_when_it_strikes_in_what_is_brought_along(asking_cache, monkeypatch):
    """As decorators word theirs."""
    monkeypatch.setattr(Asking, "error", TimeoutError("Function timed out"))
    with pytest.raises(TimeoutError, match="Function"):
        ask(asking_cache, "plain")


def test_the_burst_of_a_request_ends_after_half_a_minute():
    """Of a stream of events, which may go on for hours; not of a view that computes between its reads."""

    def stream():
        prefetch.begin_burst()
        now = prefetch.clock()
        bursts = [prefetch.current_burst(now + seconds) for seconds in (0, 29, 31, 60)]
        assert all(burst.of_request for burst in bursts)
        return [burst is bursts[0] for burst in bursts]

    assert contextvars.Context().run(stream) == [True, True, False, False]


def test_code_without_a_burst_reads_for_a_request_when_an_asgi_handler_runs_it():
    """Django 5.2 sends request_started from a task of its own, whose variables the view does not see."""

    async def view():
        async with ThreadSensitiveContext():
            return prefetch.current_burst(1.0).of_request, await sync_to_async(prefetch.current_burst)(9.0) is not None

    assert contextvars.Context().run(asyncio.run, view()) == (True, True)
    assert not contextvars.Context().run(prefetch.current_burst, 1.0).of_request
