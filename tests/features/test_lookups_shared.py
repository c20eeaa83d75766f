"""Lookup tables that several threads, reloads or demands on freshness share."""

import asyncio
import contextlib
import itertools
import sys
import threading
from typing import NamedTuple

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured

import tieredcache
from tests.support.bounded import Run
from tests.support.doubles import Pause, RemoteDouble
from tests.support.tables import ROWS, Source, in_threads
from tieredcache.lookups import LookupTable


class Counted(NamedTuple):
    code: str
    n: int


class CountedRow(Counted):
    """Its instances are counted: each index makes one of each row."""

    made = 0

    @classmethod
    def _make(cls, values):
        cls.made += 1
        return cls(*values)


DOUBLE = {"BACKEND": "tests.support.doubles.RemoteDouble"}


@pytest.fixture
def counted(make_cache, clock):
    """A table of one row over a remote that counts its reads."""
    CountedRow.made = 0
    cache = make_cache({**DOUBLE, "LOCATION": "counted"}, LOCAL_TIMEOUT=5, JITTER=0)
    source = Source([{"code": "GB", "n": 1}])
    return cache, source, LookupTable("table", source, key="code", timeout=3600, row=CountedRow)


def test_eight_threads_and_five_expiries(counted, clock):
    """Each time one of them reads the remote, and indexes what it got."""
    cache, source, table = counted
    assert table["GB"].n == 1
    for lap in range(1, 6):
        clock.move(6)
        RemoteDouble.reads, RemoteDouble.pause = 0, Pause()
        pause, found = RemoteDouble.pause, []
        threads = [threading.Thread(target=lambda found=found: found.append(table["GB"].n)) for _ in range(8)]
        for thread in threads:
            thread.start()
        pause.wait()
        for _ in range(500):  # until the others have joined it; they do not tell
            if len(cache.inflight.under_way) < 8:
                threads[0].join(0.01)
        pause.release()
        for thread in threads:
            thread.join()
        assert found == [1] * 8
        assert RemoteDouble.reads == 1
        assert CountedRow.made == 1 + lap
    assert source.calls == 1


def test_within_a_demand_a_table_is_read_once(counted, clock, mode):
    """Not once for each row; another demand reads it again."""
    _, source, table = counted
    assert table["GB"].n == 1
    for lap in range(1, 4):
        clock.move(0.1)
        RemoteDouble.reads = 0
        with tieredcache.fresh():
            for _ in range(10):
                assert mode(table).get("GB").n == 1
        assert RemoteDouble.reads == 1
        assert CountedRow.made == 1 + lap
    assert source.calls == 1


@pytest.mark.parametrize("options", [{"LOCAL_TIMEOUT": 0}, {"LOCAL_TIMEOUTS": {"geo.": 0}}])
def test_a_key_that_is_never_kept_locally(make_cache, mode, options):
    """Is refused: each lookup would read the whole table."""
    make_cache(**options)
    table = LookupTable("geo.country", Source(), key="code")
    for call in (lambda: look_up(mode, table), mode(table).reload):
        with pytest.raises(ImproperlyConfigured, match=r"LookupTable 'geo.country': alias is 'default', .*timeout .* is 0"):
            call()


def look_up(mode, table):
    return mode(table).get("GB")


def test_nobody_sees_rows_older_than_its_own_reload(make_cache, make_lru):
    """Six threads that change the source, reload and look up; and none of them waits without an end."""
    for cache in (lambda: make_cache({**DOUBLE, "LOCATION": "reloads"}, LOCAL_TIMEOUT=60), make_lru):
        cache()
        numbers, newest, lock = itertools.count(1), [0], threading.Lock()
        table = LookupTable("table", lambda: [{"code": "GB", "n": newest[0]}], key="code")  # noqa: B023
        problems = []

        def work(numbers=numbers, newest=newest, table=table, lock=lock, problems=problems):
            for _ in range(40):
                with lock:
                    mine = newest[0] = next(numbers)
                table.reload()
                if table["GB"].n < mine:
                    problems.append((mine, table["GB"].n))

        in_threads(6, work)
        assert problems == []
        assert table["GB"].n == newest[0] == 240


def waits(thread):
    """Whether it waits for another thread's reload."""
    frame = sys._current_frames().get(thread.ident)
    return frame is not None and frame.f_code is LookupTable._reload.__code__


def test_reloads_that_wait_are_served_by_one(make_lru):
    """Which begins after they have been called."""
    make_lru()
    begun, go_on = threading.Event(), threading.Event()
    calls = itertools.count(1)

    def source():
        number = next(calls)
        if number == 1:
            begun.set()
            go_on.wait(10)
        return [{"code": "GB", "n": number}]

    table = LookupTable("table", source, key="code")
    threads = [threading.Thread(target=table.reload) for _ in range(8)]
    threads[0].start()
    begun.wait(10)
    for thread in threads[1:]:
        thread.start()
    while not all(waits(thread) for thread in threads[1:]):
        threads[0].join(0.01)  # they do not tell
    go_on.set()
    for thread in threads:
        thread.join()
    assert table["GB"].n == 2
    assert next(calls) == 3


def test_reloads_of_tasks_are_served_by_few(make_lru):
    """A hundred at once: all have been called before the source answers the first."""
    make_lru()
    source, called = Source(), threading.Event()

    def answer():
        assert called.wait(10)
        return source()

    table = LookupTable("table", answer, key="code")

    async def work():
        reloads = [asyncio.ensure_future(table.areload()) for _ in range(100)]
        await asyncio.sleep(0)
        called.set()
        await asyncio.gather(*reloads)

    asyncio.run(work())
    assert source.calls <= 2
    assert table["GB"].population == ROWS[0]["population"]


def test_reloads_that_cannot_wait_for_each_other_end(make_cache, monkeypatch):
    """Each reads the source once. Which of the two is newer nobody can tell, and so the next look-up loads the table."""
    monkeypatch.setattr("tieredcache.lookups.table.PATIENCE", 0.05)
    make_cache(LOCAL_TIMEOUT=60)
    reading, go_on = [threading.Event(), threading.Event()], [threading.Event(), threading.Event()]
    calls = itertools.count()

    def source():
        call = next(calls)
        if call < len(reading):
            reading[call].set()
            assert go_on[call].wait(10)
        return [{"code": "GB", "n": call}]

    table = LookupTable("table", source, key="code")
    first = Run(table.reload)
    assert reading[0].wait(10)
    second = Run(table.reload)
    assert reading[1].wait(10)
    go_on[0].set()
    first.result()
    go_on[1].set()
    second.result()
    assert table["GB"].n == 2
    assert next(calls) == 3


@pytest.mark.parametrize("act", ["look up", "reload"])
def test_a_delete_after_a_task_was_cancelled_that_reads_the_source(make_cache, act):
    """Its thread goes on, and keeps nothing that it read before the delete."""
    cache = make_cache(LOCAL_TIMEOUT=60)
    begun, go_on, over = threading.Event(), threading.Event(), threading.Event()
    rows = [{"code": "GB", "n": 1}]

    def source():
        found = list(rows)
        begun.set()
        assert go_on.wait(10)
        return found

    table = LookupTable("table", source, key="code")

    async def work():
        task = asyncio.ensure_future(table.areload() if act == "reload" else table.aget("GB"))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, TimeoutError):
            await asyncio.wait_for(task, 0.2)
        rows[:] = [{"code": "GB", "n": 2}]
        await asyncio.to_thread(cache.delete, "table")
        go_on.set()
        await sync_to_async(over.set)()  # in the same thread, so afterwards

    asyncio.run(work())
    assert over.is_set()
    assert table["GB"].n == 2


def test_a_delete_while_the_source_is_read(make_cache):
    """Nobody who looks up after it is given rows that were read before it, though the cache did not keep these."""
    cache = make_cache(LOCAL_TIMEOUT=60)
    begun, go_on, rows = threading.Event(), threading.Event(), [{"code": "GB", "n": 1}]

    def source():
        found = list(rows)
        begun.set()
        go_on.wait(10)
        return found

    table = LookupTable("table", source, key="code")
    thread = threading.Thread(target=lambda: table["GB"])
    thread.start()
    begun.wait(10)
    rows[:] = [{"code": "GB", "n": 2}]
    cache.delete("table")
    go_on.set()
    thread.join()
    assert table["GB"].n == 2


def test_a_stale_table_is_served_without_being_read_each_time(make_cache, clock, monkeypatch):
    """In an outage, for as long as STALE_IF_ERROR says, and the remote is tried once a second."""
    cache = make_cache({**DOUBLE, "LOCATION": "stale"}, LOCAL_TIMEOUT=5, JITTER=0, STALE_IF_ERROR=60)
    source = Source([{"code": "GB", "tags": []}])  # which is kept pickled
    table = LookupTable("table", source, key="code", timeout=3600)
    row = table["GB"]
    RemoteDouble.broken_reads = ConnectionError("refused")
    clock.move(6)
    RemoteDouble.reads = 0
    for _ in range(10):
        assert table["GB"] is row
    assert RemoteDouble.reads == 1
    clock.move(60)
    with pytest.raises((ConnectionError, tieredcache.RemoteOutage)):
        table["GB"]
    assert source.calls == 1
    assert cache.stats().stale_served >= 10
