"""Entries: served from when they are published until their deadline, and never after they have been killed."""

import pickle

import pytest

from tieredcache.local.entries import MISSING, NEVER, UNKNOWN, BareEntry, Entry, absent, unpickle

KINDS = {
    "shared": (lambda: Entry("value", None, 10, 50), "value"),
    "pickled": (lambda: Entry(pickle.dumps(["value"]), unpickle, 10, 50), ["value"]),
    "absent": (lambda: Entry(None, absent, 10, 50), MISSING),
}


@pytest.fixture(params=KINDS)
def kind(request):
    """An entry that was read at 10 s, and what it answers."""
    make, expected = KINDS[request.param]
    return make(), expected


def test_nothing_is_served_before_it_is_published(kind):
    """Not even where a stale answer would do."""
    entry, _ = kind
    assert entry.answer(10) is UNKNOWN
    assert entry.answer(10, stale=1000) is UNKNOWN
    assert entry.deadline == NEVER


def test_an_answer_ends_at_the_deadline(kind):
    """Or so many seconds after it, where a stale one will do."""
    entry, expected = kind
    entry.publish(20)
    assert entry.answer(19.9) == expected
    assert entry.answer(20) is UNKNOWN
    assert entry.answer(24.9, stale=5) == expected
    assert entry.answer(25, stale=5) is UNKNOWN


def test_only_a_shared_value_has_a_deadline_for_the_hit_path():
    """The hit path returns the value as it is, so it must find no pickle."""
    for make, _ in KINDS.values():
        entry = make()
        entry.publish(20)
        assert entry.deadline == (20 if entry.unpack is None else NEVER)


@pytest.mark.parametrize("order", ["publish, kill", "kill, publish"])
def test_a_killed_value_does_not_come_back(kind, order):
    """In whichever order the two come."""
    entry, _ = kind
    for step in order.split(", "):
        if step == "publish":
            entry.publish(20)
        else:
            entry.kill()
    assert not hasattr(entry, "value")
    assert entry.answer(15) is UNKNOWN
    assert entry.answer(15, stale=1000) is UNKNOWN


def test_a_value_is_killed_once():
    """Its destructor runs where the caller lets go of what it was handed."""
    value = object()
    for entry in (Entry(value, None, 10, 50), BareEntry()):
        entry.value = value
        assert entry.kill() is value
        assert entry.kill() is None
        assert entry.deadline == NEVER
    assert BareEntry().kill() is None


def test_a_value_that_does_not_unpack_is_killed():
    """Its class has changed since it was pickled, say: the remote is asked, now and later."""
    entry = Entry(b"no pickle", unpickle, 10, 50)
    entry.publish(20)
    assert entry.answer(15) is UNKNOWN
    assert not hasattr(entry, "value")


def test_what_is_derived_goes_with_the_value():
    """And counts for the function that has made it only."""
    entry, source = BareEntry(), ["a", "b"]
    entry.value = source
    assert entry.derived_by(len) is None
    assert entry.derive(source, source, len) == 2
    assert entry.derived_by(len) == 2
    assert entry.derived_by(sorted) is None
    entry.value = ["a", "b"]  # equal, and another one
    assert entry.derived_by(len) is None
    entry.value = source
    assert entry.derived_by(len) == 2
    entry.kill()
    assert entry.derived_by(len) is None


def test_nothing_derived_is_not_remembered():
    """A function that returns None is asked again."""
    entry = BareEntry()
    entry.value = {}
    assert entry.derive(entry.value, entry.value, lambda value: value.get("name")) is None
    assert not hasattr(entry, "derived")
