"""The proof of immutability as an algorithm; which values it holds for is in ``promises/test_values.py``."""

from tieredcache.local import immutable
from tieredcache.local.immutable import is_immutable


def counting_tuples(monkeypatch, limit):
    """Count the tuples that are taken apart, and raise when they are more than ``limit``: a failing test must end."""
    seen = []

    def parts(value):
        seen.append(None)
        assert len(seen) <= limit, "a part is walked more than once"
        return iter(value)

    monkeypatch.setitem(immutable._PARTS, tuple, parts)
    return seen


def test_each_part_is_walked_once(monkeypatch):
    """A value whose parts are shared has more paths to them than anybody can walk."""
    seen = counting_tuples(monkeypatch, 201)
    value = ("x",)
    for _ in range(200):
        value = (value, value)
    assert is_immutable(value)
    assert len(seen) == 201


def test_a_deep_value_needs_no_recursion(monkeypatch):
    """And what is mutable at the bottom of it is found."""
    counting_tuples(monkeypatch, 20_002)
    for bottom, proved in (("x", True), ([], False)):
        value = (bottom,)
        for _ in range(10_000):
            value = (value,)
        assert is_immutable(value) is proved
