"""REFRESH_EARLY: a value is computed again before it expires, by the process that draws so; nobody waits for it."""

import asyncio
import random
from unittest.mock import Mock

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured

from tests.remote.failing import read_in_vain
from tests.support.bounded import Run
from tests.support.copies import deadline
from tests.support.doubles import Pause, RemoteDouble
from tests.support.tables import ROWS, Source
from tieredcache import fresh
from tieredcache.lookups import LookupTable

both = pytest.mark.parametrize("alias", ["tiered", "lru"])


@both
def test_the_value_is_computed_before_it_expires(alias, make, clock, compute, mode):
    """From the moment that was drawn for it, once, and it is set for its timeout."""
    cache = make(alias)
    get = lambda: mode(cache).get_or_set("key", compute, 100)  # noqa: E731
    assert get() == 1
    for seconds, value in ((50, 1), (46.9, 1), (0.1, 2), (0, 2)):
        clock.move(seconds)
        assert get() == value
    assert cache.stats().refreshed_early == 1
    clock.move(95)
    assert get() == 2, "its timeout counts from then on"
    clock.move(3)
    assert get() == 3


def test_a_copy_ends_at_the_moment_that_was_drawn(due, clock, compute, draws):
    """Which is drawn once for each value, however often the process reads it: more draws would be earlier ones."""
    cache = due()
    assert draws.call_count == 1
    assert cache.get_or_set("key", compute, 100) == 2
    for _ in range(2):
        clock.move(45)
        cache.get("key")
    assert deadline(cache, "key") == pytest.approx(clock() + 10 - draws.return_value)
    assert draws.call_count == 2


@both
def test_nothing_is_computed_early_by_default(alias, make, clock, compute, draws):
    """And then nothing is remembered."""
    cache = make(alias, early=0)
    for seconds in (0, 50, 49.9):
        clock.move(seconds)
        cache.get_or_set("key", compute, 101)
    assert (compute.calls, draws.call_count, cache.early.plans, cache.stats().refreshed_early) == (1, 0, {}, 0)


def test_a_process_that_has_never_computed_the_value_does_not_volunteer(due, compute):
    """It does not know what that takes."""
    due()
    assert [caches["other"].get_or_set("key", compute, 100) for _ in range(2)] == [1, 1]


def test_the_others_compute_nothing_when_one_has(due, clock, compute):
    """A value that another process has replaced is a new one, whose moment is to come."""
    cache = due()
    caches["remote"].set("key", "of another process", 100)
    cache.local.clear()
    assert cache.get_or_set("key", compute, 100) == "of another process"
    assert compute.calls == 1


@both
def test_the_keyword_takes_the_place_of_the_option(alias, make, due, clock, compute, mode):
    """Both ways."""
    cache = due(alias)
    assert mode(cache).get_or_set("key", compute, 100, refresh_early=0) == 1
    assert mode(cache).get_or_set("key", compute, 100) == 2
    cache = make(alias, early=0)
    mode(cache).get_or_set("key", compute, 100, refresh_early=2)
    for seconds in (50, 43.9, 0.1):
        assert mode(cache).get_or_set("key", compute, 100, refresh_early=2) == 3
        clock.move(seconds)
        cache.get("key")
    assert mode(cache).get_or_set("key", compute, 100, refresh_early=2) == 4


@both
@pytest.mark.parametrize("value", [-1, True, "1", float("nan"), float("inf")])
def test_a_mistake_is_told(alias, make, mode, value):
    """By the option and by the keyword, with the remedy."""
    remedy = r"Set it to a finite number of at least 0 \(how early; 1 is usual, 0: never\)"
    with pytest.raises(ImproperlyConfigured, match=rf"refresh_early is .*\. {remedy}"):
        mode(make(alias)).get_or_set("key", 1, refresh_early=value)
    with pytest.raises(ImproperlyConfigured, match=rf"OPTIONS\['REFRESH_EARLY'\] is .*\. {remedy}"):
        make(alias, early=value)


@both
def test_nobody_waits_for_the_one_that_computes(alias, due, compute, mode):
    """The others are given the old value, and compute nothing themselves."""
    cache = due(alias)
    pause = Pause()
    compute.meanwhile = pause.stop
    maker = Run(cache.get_or_set, "key", compute, 100)
    pause.wait()
    try:
        assert mode(cache).get_or_set("key", compute, 100) == 1
        assert caches["other" if alias == "tiered" else alias].get("key") == 1
    finally:
        pause.release()
    assert (maker.result(), cache.get("key"), compute.calls) == (2, 2, 2)
    assert not cache.inflight.under_way


@both
def test_a_value_that_expires_at_the_same_moment_is_computed_early_once(alias, due, clock, compute, mode):
    """As all do that expire at midnight: a value is known by its expiry."""
    cache = due(alias)
    for _ in range(3):
        assert mode(cache).get_or_set("key", compute, 100 - 98 - 1) == 2


def test_an_early_value_that_cannot_be_stored_fails_nobody(due, compute, mode):
    """Promise 9: without it, the reader would have been given what is there."""
    cache, RemoteDouble.broken = due(), ConnectionError("read only")
    assert mode(cache).get_or_set("key", compute, 100) == 1
    cache = due(REMOTE_ERRORS="ignore")
    compute.meanwhile = lambda: setattr(RemoteDouble, "broken_reads", ConnectionError("refused"))
    assert mode(cache).get_or_set("key", compute, 100) == 1
    RemoteDouble.broken_reads = None
    assert cache.remote.get("key") == 1, "it may be another value by now"


class Mute(ValueError):
    def __str__(self):
        return self.text  # which is set elsewhere


@both
@pytest.mark.parametrize(
    "error",
    [LookupError("no rates today"), TimeoutError("The read operation timed out"), Mute()],
    ids=lambda it: type(it).__name__,
)
def test_a_failure_leaves_the_old_value(error, alias, due, clock, compute, mode, caplog):
    """It is tried again in what time is left, and logged once: a socket that times out is a failure as any other."""
    cache = due(alias)
    compute.meanwhile = Mock(side_effect=error)
    for seconds, calls in ((0, 2), (0.4, 2), (0.2, 3)):
        clock.move(seconds)
        assert mode(cache).get_or_set("key", compute, 100) == 1
        assert compute.calls == calls
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "tieredcache"]
    assert warning.startswith(
        f"'key' cannot be computed before it expires; the old value is served on: {type(error).__name__}("
    )
    clock.move(10)
    with pytest.raises(type(error)):
        mode(cache).get_or_set("key", compute, 100)


@pytest.mark.parametrize(
    ("error", "sync"),
    [
        (TimeoutError("of the caller"), True),
        (KeyboardInterrupt(), True),
        (SoftTimeLimitExceeded(), True),
        (SoftTimeLimitExceeded(), False),
    ],
    ids=str,
)
def test_a_time_limit_of_the_caller_is_raised(error, sync, due, compute):
    """It is none of the computation's."""
    cache = due()
    compute.meanwhile = Mock(side_effect=error)
    with pytest.raises(type(error)):
        cache.get_or_set("key", compute, 100) if sync else asyncio.run(cache.aget_or_set("key", compute, 100))
    assert not cache.inflight.under_way
    if isinstance(error, Exception):
        assert cache.get_or_set("key", compute, 100) == 1, "it is not what the next caller runs into"


def test_a_time_limit_of_the_computation_leaves_the_old_value(due, compute):
    """In a task, asyncio's own limits reach it as a cancellation: a TimeoutError is what the callable has made of one."""
    cache = due()
    compute.meanwhile = Mock(side_effect=TimeoutError)
    assert asyncio.run(cache.aget_or_set("key", compute, 100)) == 1


@both
def test_a_value_that_does_not_expire_is_never_computed_again(alias, make, clock, compute):
    cache = make(alias, early=1000)
    for _ in range(4):
        assert cache.get_or_set("key", compute, None) == 1
        clock.move(1e6)


def test_what_is_not_kept_locally_is_never_computed_early(make_cache, compute):
    """By a reader that learns the TTL with the value, too."""
    cache = make_cache("django-redis", LOCAL_TIMEOUTS={"key": 0}, REFRESH_EARLY=1e9)
    assert [cache.get_or_set("key", compute, 100) for _ in range(3)] == [1, 1, 1]


def test_nothing_is_computed_early_while_the_remote_is_down(due, clock, compute):
    """What is computed could not be stored."""
    cache = due(STALE_IF_ERROR=60)
    RemoteDouble.broken_reads = ConnectionError("refused")
    read_in_vain(cache, ["absent"])
    clock.move(1)
    read_in_vain(cache, ["absent"])
    assert cache.local.in_outage
    assert cache.get_or_set("key", compute, 100) == 1
    assert compute.calls == 1


@pytest.mark.parametrize("options", [{}, {"STALE_WHILE_REVALIDATE": 30}, {"SHARE_VALUES": True}, {"LOCAL_TIMEOUT": 1}])
def test_it_works_within_fresh_and_with_other_options(options, due, compute, mode):
    """However the copy got there."""
    cache = due(**options)
    with fresh():
        assert mode(cache).get_or_set("key", compute, 100) == 2


def test_a_lookup_table_reads_its_source_before_it_expires(make, clock):
    """The others are served the rows that there are, and know the new ones within the local timeout."""
    make()
    source = Source()
    slow = lambda: clock.move(1) or source()  # noqa: E731
    mine, other = (LookupTable("table", slow, key="code", timeout=100, alias=alias) for alias in ("tiered", "other"))
    assert mine["GB"] == other["GB"]
    for seconds in (50, 46, 2):
        clock.move(seconds)
        assert mine["GB"].population == other["GB"].population == 68
        source.rows = [{**row, "population": 69} for row in ROWS]
    assert source.calls == 2
    assert mine["GB"].population == 69
    clock.move(60)
    assert (other["GB"].population, source.calls) == (69, 2)


def test_a_lookup_in_an_event_loop_does_not_read_the_source_early(make, clock, caplog):
    """It could not, and nothing is amiss while there are rows."""
    make()
    source = Source()
    table = LookupTable("table", lambda: clock.move(1) or source(), key="code", timeout=100, alias="tiered")

    async def look():
        return table["GB"]

    assert table["GB"]
    for seconds in (50, 46, 2):
        clock.move(seconds)
        assert asyncio.run(look())
    assert source.calls == 1
    assert table["GB"]
    clock.move(60)
    assert (table["GB"], source.calls) == (asyncio.run(look()), 2)


@both
def test_what_is_known_is_bounded_and_forgotten_in_a_child_process(alias, make, compute):
    """By MAX_ENTRIES; and a child would compute at the same moments as its parent."""
    cache = make(alias, MAX_ENTRIES=2)
    for key in "abc":
        cache.get_or_set(key, compute, 100)
    assert list(cache.early.plans) == ["b", "c"]
    cache.inflight.writing.append(["b"])  # by a thread that the child does not have
    (cache._tier if alias == "tiered" else cache._store).after_fork()
    assert (cache.early.plans, cache.early.due, cache.inflight.writing) == ({}, {}, [])


def test_an_entry_of_a_cache_of_its_own_is_computed_a_duration_early_at_least(make, clock, compute, monkeypatch):
    """There is no other process that could have computed it a moment before."""
    monkeypatch.setattr(random, "expovariate", lambda _: 0.01)
    cache = make("lru")
    cache.get_or_set("key", compute, 100)
    clock.move(99)
    assert cache.get_or_set("key", compute, 100) == 2
