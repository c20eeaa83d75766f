"""A time limit that a signal handler raises, wherever it strikes, leaves nothing behind: no demand and no computation."""

import gc
import itertools
import signal
import sys
import threading
import types
from pathlib import Path

import pytest
from django.core.cache import caches

import tieredcache
from tests.support.bounded import Run, until
from tests.support.cost import instructions
from tests.support.doubles import RemoteDouble
from tieredcache import fresh, freshness
from tieredcache.local import inflight
from tieredcache.local.entries import Entry
from tieredcache.lookups import LookupTable
from tieredcache.remote.prefetch import Prefetch, begin_burst

PACKAGE = str(Path(tieredcache.__file__).parent)
STDLIB = str(Path(threading.__file__).parent)
DOUBLE = {"BACKEND": "tests.support.doubles.RemoteDouble", "LOCATION": "tests.time_limits"}
WITHIN = 5
"""Seconds for what must not wait for anybody. A wait that was given up could be as short, but it is logged."""


class TimeLimit(Exception):
    """As a task queue raises it in a task that takes too long."""


@pytest.fixture(autouse=True)
def handler():
    """Raises TimeLimit in the main thread when SIGALRM arrives."""

    def strike(*_):
        raise TimeLimit

    before = signal.signal(signal.SIGALRM, strike)
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def nothing_left_to_others():
    """What a failure here leaves behind is no failure of the tests that follow."""
    yield
    freshness.demands.clear()
    freshness._context.set(())
    inflight._computing.set(None)


@pytest.fixture(autouse=True)
def collected():
    """Keep the collections that follow short: what is there now is not looked at again."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def is_ours(frame):
    """Whether our code runs, or code of the standard library that it has called: not Django, which has locks of its own."""
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((STDLIB, "<frozen")) or "site-packages" in file:
            return file.startswith(PACKAGE)
        frame = frame.f_back
    return False


def struck(moment, operation):
    """Call ``operation()``, in which the time limit strikes at this moment; returns where, or ``None`` if it ended before.

    Python looks for signals where a function begins and where a call of C code ends. Fails where our code keeps the time
    limit from its caller: Python ignores what is raised in a destructor.
    """
    passed, where, file, ignored = 0, None, "", []

    def profile(frame, event, arg):
        nonlocal passed, where, file
        if event in {"call", "c_return"} and is_ours(frame):
            passed += 1
            if passed == moment:
                file = frame.f_code.co_filename
                where = f"{frame.f_code.co_name}, line {frame.f_lineno} of {file}"
                sys.setprofile(None)
                signal.raise_signal(signal.SIGALRM)

    hook, sys.unraisablehook = sys.unraisablehook, lambda error: ignored.append(error.exc_type)
    try:
        sys.setprofile(profile)
        operation()
    except TimeLimit:
        pass
    finally:
        sys.setprofile(None)
        sys.unraisablehook = hook
    assert not (ignored and file.startswith(PACKAGE)), f"the caller did not learn of the time limit that struck in {where}"
    return where


def unstruck(function, *args):
    """Call ``function(*args)``; the time limit does not strike in what it calls."""
    profile = sys.getprofile()
    sys.setprofile(None)
    try:
        return function(*args)
    finally:
        sys.setprofile(profile)


def strike_everywhere(operation, check, prepare=lambda: None):
    """Call ``operation()`` again and again, struck one moment later each time, and ``check`` what it has left behind."""
    for moment in range(1, 2000):
        prepare()
        where = struck(moment, operation)
        gc.collect()  # what a traceback or a generator held
        check(f"struck in {where}")
        if where is None:
            assert moment > 10, "there was hardly anything to strike at"
            return
    raise AssertionError("the operation does not end")


@pytest.fixture
def cache(make_cache):
    cache = make_cache(DOUBLE, LOCAL_TIMEOUT=3600, JITTER=0, RETRY_AFTER=0)
    cache.set("key", "value")
    cache.get("key")
    return cache


def by_with(cache):
    with fresh():
        pass


def by_nested_with(cache):
    with fresh(10), fresh():
        pass


@fresh()
def by_decorator(cache):
    return None


def by_reading(cache):
    with fresh():
        cache.get("key")


@pytest.mark.parametrize("way", [by_with, by_nested_with, by_decorator, by_reading], ids=lambda way: way.__name__)
def test_hits_are_hits_again_when_a_time_limit_struck_in_fresh(cache, way):
    """Neither the code that was struck nor any other thread is left with a demand."""
    cache.get("key")
    usual = instructions(lambda: cache.get("key"))

    def check(where):
        cache.get("key")  # the copy may have been dropped
        reads = RemoteDouble.reads
        assert cache.get("key") == "value", where
        assert RemoteDouble.reads == reads, f"the code that was struck still demands: {where}"
        assert instructions(lambda: cache.get("key")) <= 1.1 * usual, f"others still pay: {where}"

    def clean():
        with fresh():  # drops from the context what is over: else each turn would have more to go through than the last
            pass

    strike_everywhere(lambda: way(cache), check, clean)


def warnings_in(caplog):
    return [record.getMessage() for record in caplog.records if record.name.startswith("tieredcache")]


@pytest.fixture(params=["tiered", "lru"])
def computing_cache(request):
    if request.param == "lru":
        return request.getfixturevalue("make_lru")()
    return request.getfixturevalue("make_cache")(DOUBLE, LOCAL_TIMEOUT=3600, JITTER=0, RETRY_AFTER=0)


STRUCK = "of the one that was struck"


@pytest.fixture
def goes_on(computing_cache, caplog):
    """Checks that callers of get_or_set go on at once, whatever has been struck, and removes the key."""
    cache = computing_cache

    def ask(value):
        return lambda: caches["default"].get_or_set("key", lambda: value)

    def check(where, *waiting):
        # At first without a write: nobody waits for what is computed when the key is written.
        for caller in (*waiting, Run(ask("value")), Run(ask("value"))):
            try:
                assert caller.result(WITHIN) in {"value", STRUCK}
            except AssertionError as error:
                raise AssertionError(f"{where}: {error}") from error
        assert cache.inflight.under_way == set(), f"it is still counted: {where}"
        assert inflight._computing.get() is None, f"this thread will not wait for others any more: {where}"
        cache.delete("key")
        assert Run(ask("new")).result(WITHIN) == "new", where
        cache.delete("key")
        assert ask("mine")() == "mine", where
        cache.delete("key")
        assert warnings_in(caplog) == [], f"a wait was given up, or more: {where}"

    return check


def test_others_go_on_when_a_time_limit_struck_in_get_or_set(computing_cache, goes_on):
    """A caller that waits is let go at once, and the next one computes: nothing is in flight any more."""
    cache, waiting = computing_cache, []

    def wait_for_this_one():
        waiting.append(Run(lambda: caches["default"].get_or_set("key", lambda: "value")))
        until(lambda: len(cache.inflight.under_way) > 1)

    def compute():
        unstruck(wait_for_this_one)
        return STRUCK

    def check(where):
        goes_on(where, *waiting)
        waiting.clear()

    strike_everywhere(lambda: cache.get_or_set("key", compute), check)


def test_the_others_end_when_a_time_limit_struck_a_waiter(computing_cache, goes_on):
    """A caller that is struck while it waits for another one holds nothing that this one needs."""
    cache, others = computing_cache, []
    release = threading.Event()

    def compute():
        until(lambda: release.is_set() or len(cache.inflight.under_way) > 1)
        return "value"

    def prepare():
        release.clear()
        others.append(Run(lambda: caches["default"].get_or_set("key", compute)))
        until(lambda: cache.inflight.under_way)

    def check(where):
        release.set()
        goes_on(where, *others)
        others.clear()

    strike_everywhere(lambda: cache.get_or_set("key", lambda: STRUCK), check, prepare)


def test_a_waiter_is_struck_and_nobody_else_when_a_time_limit_ends_its_wait(cache):
    """A caller that waits for another one's value can be interrupted, and the value is computed all the same."""
    entered, release = threading.Event(), threading.Event()

    def compute():
        entered.set()
        assert release.wait(10)
        return "computed"

    other = Run(lambda: caches["default"].get_or_set("slow", compute))
    assert entered.wait(5)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(TimeLimit):
            cache.get_or_set("slow", lambda: "of the one that was struck")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        release.set()
    assert other.result() == "computed"
    assert cache.get_or_set("slow", lambda: "another") == "computed"


def test_the_old_copy_is_gone_when_a_time_limit_struck_in_a_write(cache):
    """The remote may have been written, so the next reader asks it."""
    values = iter(range(2000))

    def prepare():
        cache.set("key", "old")
        cache.get("key")

    def check(where):
        assert cache.get("key") == cache.remote.get("key"), where

    strike_everywhere(lambda: cache.set("key", next(values)), check, prepare)


class Slow:
    """Has code of its own run when it is pickled and unpickled; a time limit strikes there, where ``limited`` says so."""

    limited = ""

    def __reduce__(self):
        Slow.runs("pickled")
        return unpickled, ()

    @classmethod
    def runs(cls, where):
        if cls.limited == where:
            raise TimeLimit


def unpickled():
    Slow.runs("unpickled")
    return Slow()


@pytest.fixture
def slow():
    yield
    Slow.limited = ""


@pytest.fixture
def as_of_rq(monkeypatch):
    """TimeLimit is what RQ raises."""
    limits = types.ModuleType("rq.timeouts")
    limits.BaseTimeoutException = TimeLimit
    monkeypatch.setitem(sys.modules, "rq.timeouts", limits)


@pytest.mark.parametrize("kind", ["locmem", "django-redis", "django"])
def test_a_time_limit_is_raised_when_it_strikes_in_a_value(kind, make_cache, slow, caplog, request):
    """It is no error of the value: the remote alone raises it too."""
    cache = make_cache(kind, LOCAL_TIMEOUT=60)
    cache.set("key", Slow())
    Slow.limited = "unpickled"
    for read in (cache.remote.get, cache.get, lambda key: cache.get_many([key])):
        with pytest.raises(TimeLimit):
            read("key")
    Slow.limited = "pickled"
    assert type(cache.get("key")) is Slow, "the remote has answered: what our own pickling raises is no reason to fail"
    assert len(cache.local) == 0
    request.getfixturevalue("as_of_rq")
    with pytest.raises(TimeLimit):
        cache.get("key")
    Slow.limited = ""
    cache.get("key")
    Slow.limited = "unpickled"
    with pytest.raises(TimeLimit):
        cache.get("key")
    assert not caplog.messages
    Slow.limited = ""
    assert type(cache.get("key")) is Slow


@pytest.mark.parametrize("backend", ["tiered", "lru"])
def test_a_time_limit_is_raised_when_it_strikes_in_the_source_of_a_table(backend, make_cache, make_lru, as_of_rq, caplog):
    """Celery's and RQ's are Exceptions; the rows that are known are for a source that fails."""
    make_cache() if backend == "tiered" else make_lru()
    failure = None

    def source():
        if failure:
            raise failure
        return [{"id": 1}]

    table = LookupTable("table", source, key="id")
    assert len(table) == 1
    caches["default"].delete("table")
    failure = TimeLimit()
    with pytest.raises(TimeLimit):
        len(table)
    failure = OSError()
    assert len(table) == 1
    assert len(caplog.messages) == 1


def test_what_is_learned_is_whole_when_a_time_limit_struck_while_it_was_noted():
    """No key is remembered without its burst, and the next reader goes on learning."""
    learned, names = Prefetch(limit=100, capacity=1), itertools.count()

    def note():
        begin_burst()
        for _ in range(2):
            name = str(next(names))
            learned.note(name, name, Entry("value", None, 0, 0), 0)

    def check(where):
        note()
        note()
        assert str(next(names) - 1) in learned.known, where
        assert set(learned.known) == {key for burst in learned._bursts for key in burst.keys}, where
        assert len(learned.known) == learned._size == 4, where

    strike_everywhere(note, check)
