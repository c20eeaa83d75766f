"""What wraps, patches or traces Django's caches sees every call: the hits too."""

import asyncio
import functools
import types

import pytest
from django.core.cache import caches
from django.test import override_settings

from tieredcache.backends import LRUCache, TieredCache

LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "tests.tracing"}
TIERED = {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": "remote", "OPTIONS": {"LOCAL_TIMEOUT": 60}}
LRU = {"BACKEND": "tieredcache.backends.LRUCache", "LOCATION": "tests.tracing"}
METHODS = ["get", "get_many", "set", "set_many", "add", "incr", "decr", "delete", "delete_many", "touch", "get_or_set"]


def replace_code(monkeypatch, kind, name, calls):
    """As Datadog's tracer: the function stays the same object, and its code becomes that of a wrapper."""
    function = getattr(kind, name)
    assert isinstance(function, types.FunctionType), "a method is a function"
    assert not function.__code__.co_freevars, "the code of a closure cannot be replaced"
    original = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    original.__kwdefaults__ = function.__kwdefaults__

    def record(*args, **kwargs):
        calls.append((name, args[1]))
        return original(*args, **kwargs)

    def stand_in(*args, **kwargs):
        return "record".__call__(*args, **kwargs)  # the constant is replaced below

    code = stand_in.__code__
    constants = tuple(record if constant == "record" else constant for constant in code.co_consts)
    monkeypatch.setattr(function, "__code__", code.replace(co_consts=constants))


def wrap_attribute(monkeypatch, kind, name, calls):
    """As a monkey patch by hand: the class has a wrapper in the place of the method."""
    function = getattr(kind, name)

    @functools.wraps(function)
    def record(self, *args, **kwargs):
        calls.append((name, args[0]))
        return function(self, *args, **kwargs)

    monkeypatch.setattr(kind, name, record)


class Proxy:
    """An object in the place of a function, as wrapt makes it: it binds, and passes on whatever it is asked for."""

    def __init__(self, wrapped, calls, name):
        self.__dict__.update(wrapped=wrapped, calls=calls, name=name)

    def __getattr__(self, attribute):
        return getattr(self.wrapped, attribute)

    def __get__(self, instance, owner=None):
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, instance, *args, **kwargs):
        self.calls.append((self.name, args[0]))
        return self.wrapped(instance, *args, **kwargs)


def wrap_as_wrapt_does(monkeypatch, kind, name, calls):
    """As OpenTelemetry and older versions of Datadog's tracer."""
    monkeypatch.setattr(kind, name, Proxy(getattr(kind, name), calls, name))


WAYS = [replace_code, wrap_attribute, wrap_as_wrapt_does]


def use_everything(cache):
    """Each method, by every way that an answer can come; the same keys for every backend."""
    cache.set("hit", "value")
    for _ in range(3):
        cache.get("hit")
    cache.get("hit", "default")
    cache.get("absent", default="default")
    cache.get("hit", version=2)
    for _ in range(2):
        cache.get_many(["hit", "absent"])
    cache.set_many({"a": 1})
    cache.add("count", 1)
    cache.incr("count")
    cache.decr("count")
    cache.touch("hit", 60)
    cache.get_or_set("hit", "other")
    cache.delete("hit")
    cache.delete_many(["a"])


@pytest.fixture
def config():
    with override_settings(CACHES={"default": TIERED, "remote": LOCMEM, "lru": LRU}):
        yield
        caches["default"].clear()
        caches["lru"].clear()


def calls_from_outside(calls):
    """Without those that a method of Django's base class makes of another one."""
    return [call for call in calls if call[0] in {"get", "get_many", "set", "delete"}]


@pytest.mark.parametrize("used_before", [False, True], ids=["before the first use", "after it"])
@pytest.mark.parametrize("alias", ["default", "lru"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_call_is_seen_when_the_class_is_traced(config, monkeypatch, way, alias, used_before):
    """Hits, remote hits, misses and writes, whether the tracer came before the first use or after it."""
    cache = caches[alias]
    kind = {"default": TieredCache, "lru": LRUCache}[alias]
    if used_before:
        use_everything(cache)
    calls = []
    for name in METHODS:
        owner = next(base for base in kind.__mro__ if name in vars(base))
        if owner.__module__.startswith("tieredcache.") or way is not replace_code:
            way(monkeypatch, owner if way is replace_code else kind, name, calls)
    use_everything(cache)
    seen = calls_from_outside(calls)
    for expected in ([("get", "hit")] * 3, [("get", "hit"), ("get", "absent"), ("get", "hit")]):
        assert any(seen[start : start + len(expected)] == expected for start in range(len(seen))), seen
    assert seen.count(("get_many", ["hit", "absent"])) == 2
    assert ("set", "hit") in seen
    assert ("delete", "hit") in seen
    if way is not replace_code:
        assert {name for name, _ in calls} == set(METHODS)


@pytest.mark.parametrize("alias", ["default", "lru"])
def test_every_call_is_seen_when_aget_is_traced(config, monkeypatch, alias):
    """A hit in async code too."""
    calls = []
    wrap_attribute(monkeypatch, {"default": TieredCache, "lru": LRUCache}[alias], "aget", calls)

    async def use():
        await caches[alias].aset("key", "value")
        return [await caches[alias].aget("key") for _ in range(3)]

    assert asyncio.run(use()) == ["value"] * 3
    assert calls == [("aget", "key")] * 3


@pytest.mark.parametrize("alias", ["default", "lru"])
def test_an_instance_is_of_the_class_that_the_settings_name(config, alias):
    """A tracer that looks methods up on the type of what it is given finds those of the class."""
    kind = {"default": TieredCache, "lru": LRUCache}[alias]
    assert type(caches[alias]) is kind
    assert caches[alias].get.__func__ is kind.get
