"""Lookup tables whose source, remote or serializer fails, and calls where none can be answered."""

import asyncio
import contextlib
import os
import threading
import time

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from tests.support.processes import in_child
from tests.support.tables import ROWS, Source, in_threads, look, refuses
from tieredcache.lookups import LookupTable


@pytest.fixture(params=["tiered", "lru"])
def cache(request, make_cache, make_lru):
    return make_cache(LOCAL_TIMEOUT=5, JITTER=0) if request.param == "tiered" else make_lru()


def test_a_source_that_fails(cache, mode):
    """On a cold table its error is raised, with the table's name in a note; the next look-up tries again."""
    source = Source(RuntimeError("the database is away"))
    table = LookupTable("table", source, key="code")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="away") as caught:
            look(mode, table, "GB")
        assert "LookupTable 'table'" in caught.value.__notes__[0]
    source.rows = ROWS
    assert look(mode, table, "GB").name == "United Kingdom"
    assert source.calls == 3


def test_a_source_that_fails_later(make_lru, clock, mode, caplog):
    """The table that is known is served on, the source tried once a second, and the log has one line until it answers."""
    make_lru()
    source = Source()
    table = LookupTable("table", source, key="code", timeout=60)
    look(mode, table, "GB")
    source.rows = RuntimeError("the database is away")
    clock.move(61)
    for _ in range(3):
        for _ in range(10):
            assert look(mode, table, "GB").population == 68
        clock.move(1)
    assert source.calls == 4
    assert [record.getMessage() for record in caplog.records if record.name == "tieredcache"] == [
        "LookupTable 'table' goes on with what it has, because its source fails: RuntimeError('the database is away')."
    ]
    source.rows = [{**ROWS[0], "population": 69}]
    assert look(mode, table, "GB").population == 69
    clock.move(61)
    source.rows = RuntimeError("again")
    assert look(mode, table, "GB").population == 69
    assert len([record for record in caplog.records if record.name == "tieredcache"]) == 2


def test_threads_that_waited_for_a_source_that_failed(make_lru, clock):
    """Do not all try it too."""
    make_lru()
    calls = []
    slow = threading.Event()

    def source():
        calls.append(1)
        if len(calls) > 1:
            slow.wait(0.05)
            raise RuntimeError("away")
        return ROWS

    table = LookupTable("table", source, key="code", timeout=60)
    table["GB"]
    clock.move(61)
    in_threads(16, lambda: table["GB"])
    assert len(calls) == 2


@pytest.mark.parametrize("broken", ["reads", "writes"])
def test_a_remote_that_keeps_nothing(make_cache, clock, mode, broken, monkeypatch):
    """Where its errors are ignored, the source is read once in a while, not once per lookup."""
    cache = make_cache(LOCAL_TIMEOUT=5, REMOTE_ERRORS="ignore", JITTER=0)
    refuses(monkeypatch, cache.remote, *(("set", "add") if broken == "writes" else ("get", "set", "add", "has_key")))
    source = Source()
    table = LookupTable("table", source, key="code", timeout=3600)
    for _ in range(10):
        assert look(mode, table, "GB").population == 68
    assert source.calls == 1
    clock.move(5.1)
    for _ in range(10):
        assert look(mode, table, "GB").population == 68
    assert source.calls == 2
    source.rows = [{**ROWS[0], "population": 69}]
    with contextlib.suppress(ConnectionError):
        mode(table).reload()
    assert look(mode, table, "GB").population == 69


def test_errors_of_the_cache_are_the_caches(make_cache, mode, monkeypatch):
    """They are raised where the alias raises them, and not taken for the source's."""
    cache = make_cache(LOCAL_TIMEOUT=5)
    table = LookupTable("table", Source(), key="code")
    look(mode, table, "GB")

    with monkeypatch.context() as patch:
        refuses(patch, cache.remote, "get")
        cache.local.clear()
        with pytest.raises(ConnectionError):
            look(mode, table, "GB")


def test_an_alias_that_keeps_nothing_here(make_cache):
    """Is refused, with the remedy."""
    make_cache()
    table = LookupTable("table", Source(), key="code", alias="remote")
    with pytest.raises(ImproperlyConfigured, match=r"alias is 'remote', a LocMemCache.*Name the alias of a TieredCache"):
        table["GB"]


def test_settings_that_change_are_followed(make_lru, make_cache):
    """As overridden in tests; the fixtures in this order, so that they leave in the other."""
    make_lru()
    table = LookupTable("table", Source(), key="code")
    assert table["GB"]
    cache = make_cache()
    assert table["GB"]
    assert cache.remote.get("table")
    dummy = {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}
    with override_settings(CACHES={"default": dummy}), pytest.raises(ImproperlyConfigured):
        table["GB"]
    assert table["GB"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_child_forked_amid_a_load_goes_on(cache):
    """It does not wait for the thread that has stayed in the parent."""
    begun, release, parent = threading.Event(), threading.Event(), os.getpid()

    def source():
        if os.getpid() == parent:
            begun.set()
            release.wait(10)
        return ROWS

    table = LookupTable("table", source, key="code")
    thread = threading.Thread(target=lambda: table["GB"])
    thread.start()
    begun.wait(10)

    def check():
        start = time.monotonic()
        assert table["GB"].population == 68
        table.reload()
        assert time.monotonic() - start < 4

    alive = in_child(check)
    release.set()
    thread.join()
    assert alive


def test_a_serializer_that_returns_something_else(make_cache, mode, monkeypatch):
    """What never fits is served as it was loaded, and the source read once a second at most."""
    cache = make_cache(LOCAL_TIMEOUT=60)
    real = type(cache.remote).get

    def mangled(self, key, default=None, version=None):
        value = real(self, key, default, version)
        return [b"1", *value[1:]] if isinstance(value, tuple) else value

    monkeypatch.setattr(type(cache.remote), "get", mangled)
    source = Source()
    table = LookupTable("table", source, key="code")
    for _ in range(5):
        assert look(mode, table, "GB").population == 68
    assert source.calls <= 2


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_once_per_process_in_an_outage_too(make_cache, clock, monkeypatch, kind):
    """Where nothing can be kept, those who waited are served what the first has loaded."""
    cache = make_cache(LOCAL_TIMEOUT=5, REMOTE_ERRORS="ignore")

    refuses(monkeypatch, cache.remote, "get", "set", "add", "delete")
    cache.get("anything")
    calls = []
    slow = threading.Event()

    def source():
        calls.append(1)
        slow.wait(0.05)  # while the others come
        return ROWS

    table = LookupTable("table", source, key="code")
    if kind == "threads":
        in_threads(32, lambda: table["GB"])
    else:

        async def work():
            await asyncio.gather(*(table.aget("GB") for _ in range(100)))

        asyncio.run(work())
    assert len(calls) == 1


def test_a_source_that_raises_stop_iteration(cache, mode):
    """Which would end whatever runs it, quietly or never."""
    table = LookupTable("table", lambda: [next(iter([]))], key="code")
    with pytest.raises(RuntimeError, match="StopIteration"):
        look(mode, table, "GB")


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_sync_look_ups_in_async_code_are_told(make_lru, clock):
    """A source that must not be called there is the caller's mistake, not the source's: no old table hides it."""
    make_lru()

    async def source():
        return ROWS

    table = LookupTable("table", source, key="code", timeout=60)
    table["GB"]

    async def work():
        assert table["GB"]  # warm
        clock.move(61)
        with pytest.raises(RuntimeError, match="same thread as an async event loop"):
            table["GB"]
        assert await table.aget("GB")

    asyncio.run(work())


def test_a_delete_ends_the_holding_of_rows(make_cache, monkeypatch):
    """Of those that the cache does not keep: a caller that has deleted the key sees what the source has now."""
    cache = make_cache(REMOTE_ERRORS="ignore")

    source = Source()
    with monkeypatch.context() as patch:
        refuses(patch, cache.remote, "get", "set", "add", "delete")
        table = LookupTable("table", source, key="code")
        for _ in range(5):
            assert table["GB"].population == 68
        assert source.calls == 1
        source.rows = [{**ROWS[0], "population": 69}]
        cache.delete("table")
        assert table["GB"].population == 69


def test_a_key_error_of_the_source_is_no_missing_row(cache, mode):
    table = LookupTable("table", lambda: [{"code": row["iso"]} for row in ROWS], key="code")
    for call in (lambda: table.get("GB"), lambda: "GB" in table, lambda: look(mode, table, "GB")):
        with pytest.raises(KeyError, match="iso"):
            call()
