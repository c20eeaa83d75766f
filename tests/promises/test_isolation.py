"""Promise 4: what one reader changes no other reader sees, in places too where an immutable value can hide a mutable one."""

import datetime
import uuid

import pytest


class Text(str):  # noqa: SLOT000 - its instances are to have a __dict__
    """A str that anybody can write on."""


class Number(int):
    """An int that anybody can write on."""


class Span(datetime.timedelta):
    """A timedelta that anybody can write on."""


def zone():
    return datetime.timezone(datetime.timedelta(hours=1), Text("home"))


def zone_of_span():
    return datetime.timezone(Span(hours=1))


def identifier():
    return uuid.UUID(int=Number(7))


def name_of(found):
    return found.tzname(None)


# How a value is made, and how a reader gets at the object inside it.
VALUES = {
    "the name of a timezone": (zone, name_of),
    "the offset of a timezone": (zone_of_span, lambda found: found.utcoffset(None)),
    "the number of a UUID": (identifier, lambda found: found.int),
    "the zone of a datetime": (lambda: datetime.datetime(2030, 1, 1, tzinfo=zone()), lambda found: found.tzname()),
    "the zone of a time": (lambda: datetime.time(12, tzinfo=zone()), lambda found: found.tzname()),
    "a timezone in a tuple": (lambda: (1, zone()), lambda found: name_of(found[1])),
    "a timezone in a frozenset": (lambda: frozenset([zone()]), lambda found: name_of(next(iter(found)))),
    "a UUID in tuples": (lambda: ((identifier(),),), lambda found: found[0][0].int),
    "the value itself": (lambda: Text("text"), lambda found: found),
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("through", ["remote", "default"])
def test_each_reader_has_an_object_of_its_own_when_a_part_can_be_changed(make_cache, mode, through, name):
    """What one of them writes on a part of the value, the next does not read there."""
    make, part = VALUES[name]
    cache = make_cache(LOCAL_TIMEOUT=60)
    cache.set("key", make())
    reader = mode(cache if through == "default" else cache.remote)
    for number in range(3):
        found = reader.get("key")
        assert not hasattr(part(found), "note")
        part(found).note = f"of reader {number}"
    assert not hasattr(part(reader.get_many(["key"])["key"]), "note")
