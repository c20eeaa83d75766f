"""Lookup tables: a mapping like a dict, read once, and seen to change within the bound."""

import asyncio
import threading
import uuid
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tieredcache
from tests.support.tables import ROWS, Source, in_threads, look
from tieredcache.lookups import LookupTable


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

    @settings(max_examples=25, deadline=None)
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
        assert table.get(key) == table.get(key=key) == table[key]
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
    """A hundred tasks on a cold table, with a source of either kind."""
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
        return await asyncio.gather(*(table.aget("GB") for _ in range(100)))

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


def test_old_and_new_fields_side_by_side(make_cache, clock, mode):
    """In a deploy neither misreads the other's rows, and each reads the source once for each time it reads the cache."""
    cache = make_cache(LOCAL_TIMEOUT=5, JITTER=0)
    source = Source([{"code": "GB", "name": "United Kingdom", "region": "Europe"}])
    old = LookupTable("table", lambda: [{"code": row["code"], "name": row["name"]} for row in source()], key="code")
    new = LookupTable("table", lambda: [{"code": row["code"], "region": row["region"]} for row in source()], key="code")
    for lap in range(3):
        for table, fields in ((old, ("code", "name")), (new, ("code", "region"))):
            cache.local.clear()  # as in another process
            assert [look(mode, table, "GB")._fields for _ in range(5)] == [fields] * 5
        assert source.calls == 2 + 2 * lap
    cache.local.clear()
    mode(old).reload()
    assert look(mode, old, "GB")._fields == ("code", "name")


@pytest.mark.parametrize("junk", ["junk", None, 7, (), (1,), (1, "other", (), ()), [2, "x"], {"format": 1}])
def test_what_somebody_else_has_put_there_is_not_misread(cache, mode, junk):
    """It is overwritten."""
    source = Source()
    table = LookupTable("table", source, key="code")
    cache.set("table", junk)
    assert look(mode, table, "GB").name == "United Kingdom"
    assert look(mode, table, "FR").name == "France"
    assert source.calls == 1


def test_reloads_that_overlap(cache, monkeypatch):
    """The one that began last, because its wait ran out, read the source last: one that ends later writes nothing."""
    monkeypatch.setattr("tieredcache.lookups.table.PATIENCE", 0.05)
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
