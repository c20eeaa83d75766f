"""Promise 4: what is read is the reader's own, unless it is proved that nobody can change it."""

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import pickle
import sys
import time
import types
import uuid
import zoneinfo

import pytest
from django.core.cache import caches
from django.test import override_settings
from django.utils.safestring import mark_safe

from tests.support.caches import LRU, TIERED

Point = collections.namedtuple("Point", "x y")


@dataclasses.dataclass(frozen=True)
class Frozen:
    items: list


class Text(str):  # noqa: SLOT000
    pass


class Number(int):
    pass


class Zone(datetime.tzinfo):
    def utcoffset(self, when):
        return datetime.timedelta(0)

    def __repr__(self):  # the same in every process, as a test's id must be
        return "Zone()"


class Colour(enum.Enum):
    RED = 1


class Unpicklable:
    def __reduce__(self):
        raise pickle.PicklingError("not me")


IMMUTABLE = [
    "text",
    "x" * 1000,
    b"bytes",
    10**30,
    1.5,
    2j,
    (1, ("a", (b"b", frozenset({1, (2, 3)})))),
    frozenset({"a"}),
    decimal.Decimal("1.5"),
    uuid.UUID(int=5),
    datetime.date(2026, 1, 1),
    datetime.timedelta(1),
    datetime.datetime(2026, 1, 1),  # noqa: DTZ001
    datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Lisbon")),
    datetime.datetime(2030, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1), "home")),
    datetime.time(1, 2),
    datetime.UTC,
    datetime.timezone(datetime.timedelta(hours=1)),
    (1, "text", decimal.Decimal("1.50"), uuid.UUID(int=7), datetime.timezone(datetime.timedelta(hours=1), "home")),
    range(5),
    mark_safe("<b>fragment</b>"),
]
MUTABLE = [
    [1],
    {"a": [1]},
    {1},
    bytearray(b"a"),
    (1, [2]),
    (1, (2, {"a": 1})),
    frozenset({Text("a")}),
    Text("a"),
    Number(5),
    Point(1, 2),
    Frozen([1]),
    collections.OrderedDict(a=1),
    datetime.datetime(2026, 1, 1, tzinfo=Zone()),
    types.SimpleNamespace(a=1),
    fractions.Fraction(1, 2),
]


@pytest.fixture
def by_reference():
    """A tiered cache over a remote that hands out the very objects it was given."""
    settings = {
        "default": {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": {"LOCAL_TIMEOUT": 60}},
        "remote": {"BACKEND": LRU, "LOCATION": uuid.uuid4().hex},
    }
    with override_settings(CACHES=settings):
        yield caches["default"]


@pytest.mark.parametrize("value", IMMUTABLE, ids=repr)
def test_what_is_proved_immutable_is_shared(by_reference, value):
    """Every hit returns the identical object: nothing is pickled."""
    by_reference.set("key", value)
    first = by_reference.get("key")
    hit, many = by_reference.get("key"), by_reference.get_many(["key"])["key"]
    assert first is hit is many is value
    assert by_reference.stats().hits == 2


@pytest.mark.parametrize("value", MUTABLE, ids=repr)
def test_what_is_not_proved_immutable_is_copied(by_reference, value):
    """Every read returns an equal object of its own, of the same type."""
    by_reference.set("key", value)
    reads = [by_reference.get("key"), by_reference.get("key"), by_reference.get_many(["key"])["key"]]
    assert by_reference.stats().hits == 2
    assert len({id(read) for read in reads}) == 3
    assert all(type(read) is type(value) for read in reads)
    if not isinstance(value, datetime.datetime):  # of two zones that are not one object
        assert all(read == value for read in reads)


def test_enum_members_keep_their_identity(by_reference):
    """They are pickled by name, and come back as the member."""
    by_reference.set("key", Colour.RED)
    assert by_reference.get("key") is by_reference.get("key") is Colour.RED
    assert by_reference.stats().hits == 1


def test_shared_values(make_cache):
    """SHARE_VALUES: every hit is the same object; with a list of prefixes, for those keys."""
    cache = make_cache(LOCAL_TIMEOUT=60, SHARE_VALUES=True)
    cache.set("key", [1])
    assert cache.get("key") is cache.get("key") is cache.get_many(["key"])["key"]
    cache = make_cache(LOCAL_TIMEOUT=60, SHARE_VALUES=["geo.", "fx."])
    cache.set_many({"geo.all": [1], "fx.all": [1], "other": [1]})
    assert cache.get("geo.all") is cache.get("geo.all")
    assert cache.get("fx.all") is cache.get("fx.all")
    assert cache.get("other") is not cache.get("other")


def test_what_cannot_be_pickled_is_returned_and_not_kept(by_reference):
    """The caller gets it; the next read asks the remote again."""
    value = [Unpicklable()]
    by_reference.set("key", value)
    assert by_reference.get("key") is value
    assert by_reference.get("key") is value
    assert by_reference.get_many(["key"]) == {"key": value}
    assert len(by_reference.local) == 0
    assert by_reference.stats().skipped == 3


class Changed:
    """Its class has changed since it was pickled: ``error`` is what decoding it raises."""

    error = None

    def __reduce__(self):
        return decode, ()


def decode():
    if Changed.error:
        raise Changed.error
    return Changed()


class Departing:
    """Importable when it is pickled, and not afterwards."""


DECODING = ["locmem", "file", "django-redis", "django", "django-valkey", "django-redis-herd"]


@pytest.mark.parametrize("kind", DECODING)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_remote_value_that_no_longer_decodes_is_a_counted_miss(make_cache, mode, monkeypatch, kind):
    """After a deploy that dropped a class: a miss, not an error; also among others in get_many; a set heals it."""
    cache = make_cache(kind, LOCAL_TIMEOUT=60, MISS_TIMEOUT=60)
    cache.set_many({"good": [1], "bad": [Departing()]})
    monkeypatch.delattr(sys.modules[__name__], "Departing")
    for _ in range(2):
        before = cache.stats()
        assert mode(cache).get("bad", "default") == "default"
        assert cache.stats().misses == before.misses + 1
        assert mode(cache).get_many(["good", "bad"]) == {"good": [1]}
        assert cache.stats().misses == before.misses + 2
        assert cache.stats().remote_errors == 0
    cache.set("bad", [2])
    assert mode(cache).get("bad") == [2]


def test_a_local_value_that_no_longer_decodes_is_read_again(make_cache, monkeypatch):
    """A local pickle that cannot be read any more is dropped, and the remote asked."""
    cache = make_cache(LOCAL_TIMEOUT=60)
    cache.set("key", [Departing()])
    assert type(cache.get("key")[0]) is Departing
    with monkeypatch.context() as context:
        context.delattr(sys.modules[__name__], "Departing")
        assert cache.get("key", "default") == "default"
    assert type(cache.get("key")[0]) is Departing


@pytest.mark.parametrize("error", [TypeError("changed"), ValueError("changed"), KeyError("changed")], ids=repr)
@pytest.mark.parametrize("kind", ["locmem", "file", "django-redis", "django-redis-herd"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_whatever_decoding_raises_is_a_miss(make_cache, mode, monkeypatch, kind, error):
    """Not only what the pickle module documents."""
    cache = make_cache(kind, LOCAL_TIMEOUT=60)
    cache.set_many({"good": 1, "bad": [Changed()]})
    monkeypatch.setattr(Changed, "error", error)
    assert mode(cache).get("bad", "default") == "default"
    assert mode(cache).get_many(["good", "bad"]) == {"good": 1}


def test_a_torn_file_is_a_miss(make_cache, tmp_path):
    """FileBasedCache compresses, and half a file does not decompress."""
    cache = make_cache("file", LOCAL_TIMEOUT=60)
    cache.set("key", "x" * 10_000)
    (path,) = (tmp_path / "cache").glob("*.djcache")
    head = pickle.dumps(time.time() + 100, pickle.HIGHEST_PROTOCOL)
    path.write_bytes(head + b"not compressed at all")
    assert cache.get("key", "default") == "default"
