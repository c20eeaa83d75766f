"""What lookup tables are loaded from, what their rows are, and which mistakes are told."""

import asyncio
import itertools
import json
import pickle
from typing import NamedTuple

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from tests.support.tables import ROWS, Source, look
from tieredcache.lookups import LookupTable
from tieredcache.lookups.source import fingerprint


@pytest.fixture(params=["tiered", "lru"])
def cache(request, make_cache, make_lru):
    return make_cache(LOCAL_TIMEOUT=5, JITTER=0) if request.param == "tiered" else make_lru()


class Country(NamedTuple):
    code: str
    name: str


class OtherCountry(NamedTuple):
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
    "missing field": (
        lambda: LookupTable("t", lambda: [{"code": 1}], key="code", row=Country)[1],
        ValueError,
        "row 0 does not have the fields code, name",
    ),
    "uneven": (
        lambda: LookupTable("t", lambda: [{"code": 1, "a": 1}, {"code": 2}], key="code")[1],
        ValueError,
        "row 1 does not have the fields code, a",
    ),
    "more": (
        lambda: LookupTable("t", lambda: [{"code": 1}, {"code": 2, "a": 1}], key="code")[1],
        ValueError,
        "row 1 does not have the fields code",
    ),
    "tuples": (lambda: LookupTable("t", lambda: [("GB", "x")], key="code")[1], TypeError, "row 0 is a tuple, not a mapping"),
    "a mapping": (lambda: LookupTable("t", lambda: {"GB": {}}, key="code")[1], TypeError, "is a str, not a mapping"),
    "unhashable": (lambda: LookupTable("t", lambda: [{"code": []}], key="code")[1], TypeError, "unhashable type: 'list'"),
    "a bad name": (
        lambda: LookupTable("t", lambda: [{"code": 1, "a b": 1}], key="code")[1],
        ValueError,
        "valid identifiers: 'a b'",
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


def test_two_tables_over_one_entry(cache):
    """Each has rows of its own class."""
    plain = LookupTable("table", lambda: [{"code": "GB", "name": "United Kingdom"}], key="code", row=Country)
    other = LookupTable("table", lambda: [{"code": "GB", "name": "United Kingdom"}], key="code", row=OtherCountry)
    for _ in range(3):
        assert type(plain["GB"]) is Country
        assert type(other["GB"]) is OtherCountry
