"""Lookup tables: a mapping like a dict, one read of the source, and nothing misread."""

import asyncio
import contextlib
import itertools
import json
import os
import pickle
import threading
import uuid
from datetime import date
from decimal import Decimal
from typing import NamedTuple

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st

import tieredcache
from tests.test_instances import in_child
from tieredcache.lookups import LookupTable
from tieredcache.sources import fingerprint

ROWS = [
    {"code": "GB", "name": "United Kingdom", "population": 68},
    {"code": "FR", "name": "France", "population": 66},
    {"code": "XX", "name": None, "population": 0},
]


class Source:
    """A callable that counts its calls."""

    def __init__(self, rows=ROWS):
        self.rows = rows
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if isinstance(self.rows, Exception):
            raise self.rows
        return self.rows


def in_threads(count, work):
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def look(mode, table, key, default=None):
    """By ``get``, or by ``aget`` in an event loop of its own."""
    return mode(table).get(key, default)


@pytest.fixture(params=["tiered", "lru"])
def cache(request, make_cache, make_lru):
    return make_cache(LOCAL_TIMEOUT=5, JITTER=0) if request.param == "tiered" else make_lru()


def test_it_is_a_mapping(cache, mode):
    """Rows by key, as named tuples; KeyError and None for what there is not."""
    source = Source()
    table = LookupTable("geo.country", source, key="code", timeout=3600)
    assert look(mode, table, "GB").name == "United Kingdom"
    assert look(mode, table, "ZZ") is None
    assert look(mode, table, "ZZ", 1) == 1
    assert table["FR"] == ("FR", "France", 66)
    assert table["FR"]._asdict() == ROWS[1]
    assert "GB" in table
    assert "ZZ" not in table
    assert len(table) == 3
    assert list(table) == list(table.keys()) == ["GB", "FR", "XX"]
    assert [row.name for row in table.values()] == ["United Kingdom", "France", None]
    assert dict(table.items()) == dict(table) == table
    assert repr(table) == "<LookupTable 'geo.country'>"
    with pytest.raises(KeyError, match="ZZ"):
        table["ZZ"]
    with pytest.raises(TypeError):
        table[[]]
    with pytest.raises(AttributeError):
        table["GB"].name = "Britain"
    assert source.calls == 1


atoms = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
fields = st.sampled_from(["name", "region", "price", "a_b"])


@pytest.mark.parametrize("kind", ["locmem", "fakeredis", "django-redis-json"])
def test_it_equals_a_dict(make_cache, kind):
    """Whatever the rows: the same keys in the same order, the same values; cold, warm, from the remote and reloaded."""
    cache = make_cache(kind)

    @settings(max_examples=60, deadline=None)
    @given(data=st.data())
    def check(data):
        names = data.draw(st.lists(fields, unique=True, max_size=4))
        keys = data.draw(st.lists(st.text(max_size=4), unique=True, max_size=8))
        rows = [{"id": key, **data.draw(st.fixed_dictionaries(dict.fromkeys(names, atoms)))} for key in keys]
        plain = {row["id"]: row for row in rows}
        name = uuid.uuid4().hex
        for lap in range(3):
            table = LookupTable(name, lambda: rows, key="id", timeout=60)  # another process, after the first
            if lap == 1:
                cache.local.clear()
            elif lap == 2:
                table.reload()
            for _ in range(2):
                equal(table, plain)

    check()


def equal(table, plain):
    assert list(table) == list(plain)
    assert len(table) == len(plain)
    assert {key: row._asdict() for key, row in table.items()} == plain
    for key, row in plain.items():
        assert [type(value) for value in table[key]] == [type(row[field]) for field in table[key]._fields]
        assert table.get(key) == table[key]
        assert key in table
    assert "never" not in table
    assert table.get("never") is None


def test_the_source_is_read_once_by_threads(cache):
    """64 threads on a cold table."""
    calls = []
    ready = threading.Barrier(64)
    slow = threading.Event()

    def source():
        calls.append(1)
        slow.wait(0.05)  # while the others come
        return ROWS

    table = LookupTable("table", source, key="code")
    found = []

    def work():
        ready.wait()
        found.append(table["GB"])

    in_threads(64, work)
    assert len(calls) == 1
    assert len(found) == 64
    assert len({id(row) for row in found}) == 1  # one index


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_source_is_read_once_by_tasks(cache, kind):
    """1,000 tasks on a cold table, with a source of either kind."""
    calls = []

    def source():
        calls.append(1)
        return ROWS

    async def asource():
        calls.append(1)
        await asyncio.sleep(0.01)  # while the others come
        return ROWS

    table = LookupTable("table", source if kind == "sync" else asource, key="code")

    async def work():
        return await asyncio.gather(*(table.aget("GB") for _ in range(1000)))

    found = asyncio.run(work())
    assert len(calls) == 1
    assert {row.name for row in found} == {"United Kingdom"}


def test_once_per_expiry(make_lru, clock, mode):
    """Read again when the timeout is over, and not before."""
    make_lru()
    source = Source()
    table = LookupTable("table", source, key="code", timeout=60)
    for lap in range(1, 4):
        for _ in range(3):
            assert look(mode, table, "GB").code == "GB"
        assert source.calls == lap
        clock.move(59)
        look(mode, table, "GB")
        assert source.calls == lap
        clock.move(2)


def test_in_two_tiers_the_remote_is_read_once_per_local_timeout(make_cache, clock, mode):
    """And the source not at all, while the remote has the table."""
    cache = make_cache(LOCAL_TIMEOUT=5, JITTER=0)
    source = Source()
    table = LookupTable("table", source, key="code", timeout=3600)
    look(mode, table, "GB")
    reads = cache.stats().remote_hits
    for _ in range(10):
        look(mode, table, "GB")
    assert cache.stats().remote_hits == reads
    clock.move(5)
    for _ in range(10):
        look(mode, table, "GB")
    assert cache.stats().remote_hits == reads + 1
    assert source.calls == 1


@pytest.mark.parametrize("kind", ["django-redis-json", "django-redis", "locmem"])
def test_a_warm_table_is_never_copied(make_cache, kind, mode):
    """Every look-up returns the same row, whatever the serializer made of the table."""
    make_cache(kind, LOCAL_TIMEOUT=60)
    rows = [{"code": number, "tags": [number]} for number in range(50)]
    table = LookupTable("table", Source(rows), key="code", timeout=60)
    first = look(mode, table, 7)
    assert first.tags == [7]
    assert all(look(mode, table, 7) is first for _ in range(5))
    assert table[7] is first
    assert table.snapshot()[7] is first


def test_a_copy_from_before_is_not_in_the_way(make_cache):
    """What the local tier has kept pickled, as another reader asked for it first, is read once more."""
    cache = make_cache("django-redis-json", LOCAL_TIMEOUT=60)
    table = LookupTable("table", Source(), key="code", timeout=60)
    table.reload()
    cache._tier.shared.clear()
    cache.local.clear()
    cache.get("table")
    table.unbind()
    assert table["GB"] is table["GB"]


def test_any_fields_that_the_serializer_carries(make_cache):
    """Pickle: all of them."""
    make_cache("django-redis")
    rows = [{"code": Decimal("1.5"), "day": date(2026, 1, 1), "parts": {"a": [1]}}]
    table = LookupTable("table", Source(rows), key="code")
    assert table[Decimal("1.5")] == (Decimal("1.5"), date(2026, 1, 1), {"a": [1]})


def test_an_empty_table_is_a_value(cache, mode):
    """It is kept like any other."""
    source = Source([])
    table = LookupTable("table", source, key="code")
    for _ in range(3):
        assert look(mode, table, "GB") is None
        assert len(table) == 0
    assert source.calls == 1


def test_reload(cache, mode):
    """Reads the source again, and everybody sees that; a failed one leaves the old table."""
    source = Source()
    table = LookupTable("table", source, key="code", timeout=3600)
    other = LookupTable("table", source, key="code", timeout=3600)
    assert look(mode, table, "GB").population == look(mode, other, "GB").population == 68
    source.rows = [{**ROWS[0], "population": 69}]
    assert look(mode, table, "GB").population == 68
    mode(table).reload()
    assert look(mode, table, "GB").population == look(mode, other, "GB").population == 69
    assert source.calls == 2
    source.rows = RuntimeError("the database is away")
    with pytest.raises(RuntimeError, match="away"):
        mode(table).reload()
    source.rows = [{"code": 1}, {"code": 1}]
    with pytest.raises(ValueError, match="two rows"):
        mode(table).reload()
    assert look(mode, table, "GB").population == look(mode, other, "GB").population == 69
    assert len(table) == 1


def test_another_process_is_seen_within_the_bound(make_cache, clock, mode):
    """Its reload, when the local timeout is over."""
    cache = make_cache(LOCAL_TIMEOUT=5, JITTER=0)
    source = Source()
    table = LookupTable("table", source, key="code", timeout=3600)
    assert look(mode, table, "GB").population == 68
    packed = cache.remote.get("table")
    cache.remote.set("table", (*packed[:3], (("GB", "Britain", 1),)), 3600)
    clock.move(4.9)
    assert look(mode, table, "GB").population == 68
    with tieredcache.fresh():
        assert look(mode, table, "GB").population == 1
    clock.move(5)
    assert look(mode, table, "GB") == ("GB", "Britain", 1)
    assert source.calls == 1


def test_a_deleted_table_is_read_again(cache, mode):
    """At once, by this process: deleting is a write."""
    source = Source()
    table = LookupTable("table", source, key="code")
    look(mode, table, "GB")
    source.rows = [{**ROWS[0], "population": 70}]
    cache.delete("table")
    assert look(mode, table, "GB").population == 70


@pytest.mark.parametrize("rolled", [1, 2])
def test_old_and_new_fields_side_by_side(cache, mode, rolled):
    """In a deploy neither misreads the other's rows, nor drives it to read the source again and again."""
    old = Source([{"code": "GB", "name": "United Kingdom"}])
    new = Source([{"name": "United Kingdom", "code": "GB", "region": "Europe"}])
    tables = [
        LookupTable("table", lambda: [{"code": row["code"], "name": row["name"]} for row in old()], key="code"),
        LookupTable(
            "table",
            lambda: [{"name": row["name"], "code": row["code"], "region": row["region"]} for row in new()],
            key="code",
        ),
    ][:: 3 - 2 * rolled]
    for _ in range(5):
        for table in tables:
            row = look(mode, table, "GB")
            assert row.name == "United Kingdom"
            assert row._fields in {("code", "name"), ("name", "code", "region")}
    assert {look(mode, table, "GB")._fields for table in tables} == {("code", "name"), ("name", "code", "region")}
    assert old.calls == new.calls == 1
    for table in tables:
        mode(table).reload()
    assert {look(mode, table, "GB")._fields for table in tables} == {("code", "name"), ("name", "code", "region")}


@pytest.mark.parametrize("junk", ["junk", None, 7, (), (1,), (1, "other", (), ()), [2, "x"], {"format": 1}])
def test_what_somebody_else_has_put_there_is_not_misread(cache, mode, junk):
    """Under either key."""
    source = Source()
    table = LookupTable("table", source, key="code")
    for key in table.cache_keys:
        cache.set(key, junk)
    assert look(mode, table, "GB").name == "United Kingdom"
    assert look(mode, table, "FR").name == "France"
    assert source.calls == 1


class Country(NamedTuple):
    code: str
    name: str


def test_a_class_of_ones_own(cache, mode):
    """Its fields are taken from the source, which may have more; the rows are of that class."""
    table = LookupTable("table", Source(), key="code", row=Country)
    assert type(look(mode, table, "GB")) is Country
    assert look(mode, table, "GB") == ("GB", "United Kingdom")


def test_rows_can_be_pickled(cache):
    """Though their class is in no module."""
    table = LookupTable("table", Source(), key="code")
    copy = pickle.loads(pickle.dumps(table["GB"]))
    assert copy == table["GB"]
    assert copy.name == "United Kingdom"
    assert json.dumps(table["GB"]) == '["GB", "United Kingdom", 68]'


MISTAKES = {
    "no source": (lambda: LookupTable("t", None, key="code"), TypeError, "neither a queryset nor a callable"),
    "a list": (lambda: LookupTable("t", [{"code": 1}], key="code"), TypeError, "neither a queryset nor a callable"),
    "no row class": (lambda: LookupTable("t", list, key="code", row=dict), TypeError, "not a NamedTuple class"),
    "key not in row": (
        lambda: LookupTable("t", list, key="id", row=Country),
        ValueError,
        "not one of its fields: code, name",
    ),
    "duplicate": (
        lambda: LookupTable("t", lambda: [{"code": 1}, {"code": 1}], key="code")[1],
        ValueError,
        "two rows whose 'code'",
    ),
    "equal keys": (lambda: LookupTable("t", lambda: [{"code": 1}, {"code": 1.0}], key="code")[1], ValueError, "is 1.0"),
    "missing key": (
        lambda: LookupTable("t", lambda: [{"name": 1}], key="code")[1],
        ValueError,
        "not one of its fields: name",
    ),
    "missing field": (lambda: LookupTable("t", lambda: [{"code": 1}], key="code", row=Country)[1], ValueError, "no 'name'"),
    "uneven": (
        lambda: LookupTable("t", lambda: [{"code": 1, "a": 1}, {"code": 2}], key="code")[1],
        ValueError,
        "row 1 .* no 'a'",
    ),
    "more": (
        lambda: LookupTable("t", lambda: [{"code": 1}, {"code": 2, "a": 1}], key="code")[1],
        ValueError,
        "other fields",
    ),
    "tuples": (
        lambda: LookupTable("t", lambda: [("GB", "x")], key="code")[1],
        TypeError,
        "row 0 .* is a tuple, not a mapping",
    ),
    "a mapping": (lambda: LookupTable("t", lambda: {"GB": {}}, key="code")[1], TypeError, "is a str, not a mapping"),
    "unhashable": (lambda: LookupTable("t", lambda: [{"code": []}], key="code")[1], TypeError, "is a list in one row"),
    "a bad name": (
        lambda: LookupTable("t", lambda: [{"code": 1, "a b": 1}], key="code")[1],
        ValueError,
        "Give them other names",
    ),
    "no rows": (lambda: LookupTable("t", lambda: None, key="code")[1], TypeError, "NoneType"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_told(cache, mistake):
    """By what is wrong, and with the table's name; nothing is kept."""
    make, kind, message = mistake
    with pytest.raises(kind, match=message) as caught:
        make()
    assert "LookupTable 't'" in str(caught.value) + "".join(getattr(caught.value, "__notes__", []))
    assert cache.get("t") is None


@pytest.mark.parametrize("key", ["code", "id"])
@pytest.mark.django_db
def test_a_queryset_is_lazy_and_evaluated_anew(cache, key, django_assert_num_queries):
    """No query before the first look-up, one for each load, none for the rest; mistakes in it are told before any."""
    from django.contrib.sessions.models import Session
    from django.db.models import Value
    from django.utils import timezone

    if key == "id":
        with pytest.raises(ValueError, match="not one of its fields: session_key, session_data"):
            LookupTable("t", Session.objects.values("session_key", "session_data"), key="id")
        with pytest.raises(TypeError, match=r"\.values\(\"session_key\""):
            LookupTable("t", Session.objects.all(), key="session_key")
        with pytest.raises(TypeError, match=r"\.values\("):
            LookupTable("t", Session.objects.values_list("session_key"), key="session_key")
        return
    Session.objects.create(session_key="a", session_data="x", expire_date=timezone.now())
    with django_assert_num_queries(0):
        table = LookupTable(
            "t", Session.objects.values("session_key", data=Value("fixed")).order_by("session_key"), key="session_key"
        )
        whole = LookupTable("whole", Session.objects.values(), key="session_key")
    with django_assert_num_queries(1):
        assert table["a"] == ("a", "fixed")
        assert list(table) == ["a"]
    assert whole["a"].session_data == "x"
    Session.objects.create(session_key="b", session_data="y", expire_date=timezone.now())
    assert list(table) == ["a"]
    with django_assert_num_queries(1):
        table.reload()
    assert list(table) == ["a", "b"]


@pytest.mark.django_db(transaction=True)
def test_a_queryset_in_async_code(cache):
    """Where the ORM must not be called from the event loop; nor where a callable returns one."""
    from django.contrib.sessions.models import Session
    from django.utils import timezone

    Session.objects.create(session_key="a", session_data="x", expire_date=timezone.now())
    for source in (Session.objects.values("session_key"), lambda: Session.objects.values("session_key")):
        cache.clear()
        table = LookupTable("t", source, key="session_key")
        assert asyncio.run(closing(table.aget("a"))) == ("a",)


async def closing(awaitable):
    """What it returned; the connection that asgiref's thread has opened is closed: Django leaves one in memory open."""

    def close():
        if connection.connection is not None:
            connection.connection.close()
            connection.connection = None

    try:
        return await awaitable
    finally:
        await sync_to_async(close)()


def test_kinds_of_callables(cache, mode):
    """Generators, coroutines, async generators, and what returns them."""

    def generator():
        yield from ROWS

    async def coroutine():
        return ROWS

    async def agenerator():
        for row in ROWS:
            yield row

    sources = [generator, coroutine, agenerator, lambda: coroutine(), lambda: agenerator(), lambda: iter(ROWS)]  # noqa: PLW0108
    for number, source in enumerate(sources):
        table = LookupTable(f"table{number}", source, key="code")
        assert look(mode, table, "GB").name == "United Kingdom"


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
        "LookupTable 'table' goes on with what it has, because its source fails: RuntimeError: the database is away."
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
    """Where its errors are ignored, the source is read once per local timeout, not once per look-up."""
    cache = make_cache(LOCAL_TIMEOUT=5, REMOTE_ERRORS="ignore", JITTER=0)
    kind = type(cache.remote)

    def refuse(*args, **kwargs):
        raise ConnectionError("refused")

    for name in ("set", "add") if broken == "writes" else ("get", "set", "add", "has_key"):
        monkeypatch.setattr(kind, name, refuse)
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
    monkeypatch.undo()


def test_errors_of_the_cache_are_the_caches(make_cache, mode, monkeypatch):
    """They are raised where the alias raises them, and not taken for the source's."""
    cache = make_cache(LOCAL_TIMEOUT=0)
    table = LookupTable("table", Source(), key="code")
    look(mode, table, "GB")

    def refuse(*args, **kwargs):
        raise ConnectionError("refused")

    with monkeypatch.context() as patch:
        patch.setattr(type(cache.remote), "get", refuse)
        with pytest.raises(ConnectionError):
            look(mode, table, "GB")


def test_an_alias_that_keeps_nothing_here(make_cache):
    """Is refused, with the remedy."""
    make_cache()
    table = LookupTable("table", Source(), key="code", alias="remote")
    with pytest.raises(ImproperlyConfigured, match=r"alias is 'remote', a LocMemCache.*Name the alias of a TieredCache"):
        table["GB"]


def test_without_a_local_tier(make_cache, mode):
    """Every look-up reads the remote, as LOCAL_TIMEOUT 0 demands."""
    cache = make_cache(LOCAL_TIMEOUT=0)
    table = LookupTable("table", Source(), key="code")
    assert look(mode, table, "GB").population == 68
    packed = cache.remote.get("table")
    cache.remote.set("table", (*packed[:3], (("GB", "Britain", 1),)))
    assert look(mode, table, "GB").population == 1


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
    """While another thread holds the lock."""
    table = LookupTable("table", Source(), key="code")
    table["GB"]
    held, release = threading.Event(), threading.Event()

    def hold():
        with table._lock:
            held.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)

    def check():
        table.reload()
        assert table["GB"].population == 68

    alive = in_child(check)
    release.set()
    thread.join()
    assert alive


def test_fingerprints_tell_field_lists_apart():
    """And nothing else: not the line a function stands on, nor the order of a set."""
    namespace = itertools.count()

    def made(code):
        names = {}
        exec(compile("\n" * next(namespace) + code, "source", "exec"), names)
        return fingerprint(names["f"])

    same = "def f(): return [{'code': 1, 'name': g(x for x in {'a', 'b', 'c'})}]"
    assert made(same) == made(same)
    assert made(same) != made(same.replace("'name'", "'region'"))
    assert made("async def f(): return [dict(code=1)]") != made("async def f(): return [dict(id=1)]")
    assert fingerprint(Source()) == fingerprint(Source())
    assert fingerprint(list) == "list"


# --- what a hostile reading has found ---


def test_a_serializer_that_returns_something_else(make_cache, mode, monkeypatch):
    """What never fits is served as it was loaded, and the source read once a second at most."""
    cache = make_cache(LOCAL_TIMEOUT=0)
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
def test_once_per_process_in_an_outage_too(make_cache, monkeypatch, kind):
    """Where nothing can be kept, those who waited are served what the first has loaded."""
    cache = make_cache(LOCAL_TIMEOUT=5, REMOTE_ERRORS="ignore")

    def refuse(*args, **kwargs):
        raise ConnectionError("refused")

    for name in ("get", "set", "add", "delete"):
        monkeypatch.setattr(type(cache.remote), name, refuse)
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
    monkeypatch.undo()


def test_a_delete_amid_indexing_is_seen(make_cache, clock, monkeypatch):
    """That the entry has gone since does not mean that it cannot be kept."""
    cache = make_cache(LOCAL_TIMEOUT=5, JITTER=0)
    source = Source()
    table = LookupTable("table", source, key="code", timeout=3600)
    table["GB"]
    clock.move(5)
    real = table._indexed

    def indexed(*packed):
        cache.delete("table")
        return real(*packed)

    with monkeypatch.context() as patch:
        patch.setattr(table, "_indexed", indexed)
        table["GB"]
    source.rows = [{**ROWS[0], "population": 70}]
    assert table["GB"].population == 70


def test_callers_of_a_cold_source_that_fails_share_its_failure(cache):
    """They do not try it one after the other."""
    calls = []
    ready = threading.Barrier(8)
    slow = threading.Event()

    def source():
        calls.append(1)
        slow.wait(0.1)  # while the others come
        raise RuntimeError("away")

    table = LookupTable("table", source, key="code")
    errors = []

    def work():
        ready.wait()
        with pytest.raises(RuntimeError, match="away") as caught:
            table["GB"]
        errors.append(caught.value)

    in_threads(8, work)
    assert len(calls) == 1
    assert len({id(error) for error in errors}) == 8
    assert all("LookupTable 'table'" in error.__notes__[0] for error in errors)


def test_a_source_that_raises_stop_iteration(cache, mode):
    """Which would end whatever runs it, quietly or never."""
    table = LookupTable("table", lambda: [next(iter([]))], key="code")
    with pytest.raises(RuntimeError, match="StopIteration"):
        look(mode, table, "GB")


def test_a_reload_that_the_serializer_spoils_is_taken_back(make_cache, mode):
    """The old table stays, in the cache as well."""
    make_cache("django-redis-json", LOCAL_TIMEOUT=60)
    source = Source([{"code": "a", "n": 1}])
    table = LookupTable("table", source, key="code")
    assert look(mode, table, "a").n == 1
    source.rows = [{"code": (1, 2), "n": 1}]
    with pytest.raises(TypeError, match="is a list in one row"):
        mode(table).reload()
    assert look(mode, table, "a").n == 1
    source.rows = [{"code": Decimal("1.0"), "n": 1}, {"code": "1.0", "n": 2}]
    with pytest.raises(ValueError, match="made two rows alike"):
        mode(table).reload()
    assert look(mode, table, "a").n == 1


def test_an_entry_that_does_not_decode_is_replaced(make_cache, mode):
    """Adding would find its key taken for ever."""
    cache = make_cache("django-redis", LOCAL_TIMEOUT=0)
    cache.remote.client.get_client().set(cache.remote.make_key("table"), b"no pickle")
    source = Source()
    table = LookupTable("table", source, key="code")
    for _ in range(3):
        assert look(mode, table, "GB").population == 68
    assert source.calls == 1
    assert cache.remote.get("table")[0] == 1


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
        with pytest.raises(RuntimeError, match="await aget"):
            table["GB"]
        assert await table.aget("GB")

    asyncio.run(work())


def test_reloads_that_overlap(cache):
    """The one that has begun last has read the source last: another that ends later writes nothing."""
    rows = [[{"code": 1, "n": n}] for n in (1, 2)]
    begun, go_on = threading.Event(), threading.Event()
    turns = iter(rows)

    def source():
        found = next(turns)
        if found is rows[0]:
            begun.set()
            go_on.wait(10)
        return found

    table = LookupTable("table", source, key="code")
    first = threading.Thread(target=table.reload)
    first.start()
    begun.wait(10)
    table.reload()
    go_on.set()
    first.join()
    assert table[1].n == 2


def test_exceptions_that_take_no_notes(cache):
    """Are raised all the same; and one that is raised again and again has one note."""

    class Fixed(Exception):
        def add_note(self, note):
            raise AttributeError("fixed")

    with pytest.raises(Fixed):
        LookupTable("table", Source(Fixed()), key="code")["GB"]
    again = ValueError("again")
    table = LookupTable("table", Source(again), key="code")
    for _ in range(3):
        with pytest.raises(ValueError, match="again"):
            table["GB"]
    assert len(again.__notes__) == 1


def test_one_read_of_the_remote_for_a_look_up_without_a_local_tier(make_cache):
    """Not one to compare and another to find."""
    cache = make_cache(LOCAL_TIMEOUT=0)
    table = LookupTable("table", Source(), key="code")
    table["GB"]
    before = cache.stats().remote_hits
    table["GB"]
    assert cache.stats().remote_hits == before + 1
