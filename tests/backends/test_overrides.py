"""override_settings(CACHES=...): what belongs to one set of settings is neither kept nor served under another."""

import gc
import threading
import weakref

import pytest
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.test import override_settings

TIERED = "tieredcache.backends.TieredCache"


class Remote(LocMemCache):
    """With a method of its own."""

    def count_of(self, key):
        return len(self.get(key))


def remote(location):
    return {"BACKEND": f"{__name__}.Remote", "LOCATION": location, "TIMEOUT": None}


def tiered(location, **options):
    options = {"LOCAL_TIMEOUT": 3600, "JITTER": 0, **options}
    return {"default": {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": options}, "remote": remote(location)}


@pytest.fixture(autouse=True)
def empty():
    """The stores of LocMemCache, which live as long as the process."""
    yield
    for location in ("inside", "outside", "even", "odd"):
        Remote(location, {}).clear()


class Page:
    """A megabyte that can be watched."""

    def __init__(self):
        self.content = b"x" * 1_000_000


def pages_left(config, **options):
    """How many of 60 pages, each read under settings of its own, are alive when the last of these has ended."""
    alive = []
    for number in range(60):
        with override_settings(CACHES=config(["even", "odd"][number % 2], **options)):
            caches["default"].set("key", Page())
            alive.append(weakref.ref(caches["default"].get("key")))
    gc.collect()
    return sum(page() is not None for page in alive)


def test_memory_is_released_when_settings_are_overridden_again_and_again():
    """What a tier holds goes with its settings, except for those of the last override."""
    assert pages_left(lambda location: {"default": remote(location)}) == 0
    assert pages_left(tiered, SHARE_VALUES=True) <= 1


def test_memory_is_released_when_other_threads_have_read_under_the_settings():
    """Threads that have ended, and those that have not, hold no tier of settings that are over."""
    work, done, alive = threading.Semaphore(0), threading.Semaphore(0), []

    def read():
        while work.acquire():
            if stop:
                return
            alive.append(weakref.ref(caches["default"].get("key")))
            done.release()

    stop = []
    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    for number in range(10):
        with override_settings(CACHES=tiered(["even", "odd"][number % 2], SHARE_VALUES=True)):
            caches["default"].set("key", Page())
            caches["default"].get("key")
            work.release()
            assert done.acquire(timeout=10)
    gc.collect()
    left = sum(page() is not None for page in alive)
    stop.append(True)
    work.release()
    thread.join(10)
    assert left <= 1


def test_no_old_copy_is_served_when_no_tier_was_made_inside_an_override():
    """What was written under the settings inside is read under those outside, as from the remote alone."""

    def traffic(outside):
        with override_settings(CACHES=outside):
            caches["default"].set("key", "old")
            given = [caches["default"].get("key")]
            with override_settings(CACHES={"default": remote("outside")}):
                given.append(caches["default"].get("key"))
                caches["default"].set("key", "new")
            given.append(caches["default"].get("key"))
            return given

    assert traffic({"default": remote("outside")}) == ["old", "old", "new"]
    assert traffic(tiered("outside")) == ["old", "old", "new"]


def test_no_old_copy_is_served_when_the_same_settings_are_used_again():
    """Settings in a constant, as a test suite has them, are those of a new tier each time."""

    def traffic(config, between):
        given = []
        for value in ("old", "new"):
            with override_settings(CACHES=config):
                given.append(caches["default"].get("key"))
                caches["default"].set("key", value)
                given.append(caches["default"].get("key"))
            with override_settings(CACHES=between):
                Remote("inside", {}).clear()
        return given

    nothing = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    assert traffic({"default": remote("inside")}, nothing) == [None, "old", None, "new"]
    assert traffic(tiered("inside"), nothing) == [None, "old", None, "new"]


def test_no_value_outlives_an_override_when_a_held_backend_was_used_inside_it():
    """A backend that was bound before goes on with the remote that it knew, and copies nothing from another one."""

    def traffic(outside, inside):
        Remote("outside", {}).set("key", "of outside", None)
        Remote("inside", {}).set("key", "of inside", None)
        with override_settings(CACHES=outside):
            held = caches["default"]
            with override_settings(CACHES=inside):
                given = [held.get("key"), caches["remote"].get("key"), held.get("key")]
            given += [held.get("key"), caches["default"].get("key")]
            with override_settings(CACHES=inside):
                given.append(caches["default"].get("key"))
            return given

    alone = {"default": remote("outside"), "remote": remote("outside")}
    expected = traffic(alone, {"default": remote("inside"), "remote": remote("inside")})
    assert expected == ["of outside", "of inside", "of outside", "of outside", "of outside", "of inside"]
    assert traffic(tiered("outside"), tiered("inside")) == expected


USES = {
    "a hit": lambda cache: cache.get("known"),
    "a remote hit": lambda cache: cache.get("unknown"),
    "a miss": lambda cache: cache.get("absent", "default"),
    "get_many": lambda cache: cache.get_many(["known", "unknown", "absent"]),
    "has_key": lambda cache: [cache.has_key("unknown"), cache.has_key("absent")],
    "set": lambda cache: (cache.set("new", 1), cache.get("new")),
    "add": lambda cache: [cache.add("new", 1), cache.add("known", 1)],
    "incr": lambda cache: (cache.incr("count"), cache.get("count")),
    "delete": lambda cache: [cache.delete("known"), cache.get("known")],
    "get_or_set": lambda cache: [cache.get_or_set("unknown", lambda: 0), cache.get_or_set("new", lambda: 2)],
    "touch": lambda cache: [cache.touch("known", 60), cache.touch("absent", 60)],
    "clear": lambda cache: (cache.clear(), cache.get("known"))[1],
    "a method of the remote's own": lambda cache: cache.count_of("known"),
    "the key": lambda cache: cache.make_key("known", 2),
}
OVERRIDES = [{}, {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}]
"""Settings without the remote that a tier of the settings outside leads to."""


@pytest.mark.parametrize("use", USES)
def test_a_held_backend_goes_on_when_the_settings_no_longer_have_its_remote(use, mode):
    """As a backend of the remote's does: the settings have been read when it was made."""

    has_an_async_form = use not in {"a method of the remote's own", "the key"}

    def traffic(outside, inside):
        Remote("outside", {}).clear()
        with override_settings(CACHES=outside):
            held = caches["default"]
            held.set_many({"known": "value", "unknown": "other", "count": 1})
            held.get("known")
            with override_settings(CACHES=inside):
                return USES[use](mode(held) if has_an_async_form else held)

    for inside in OVERRIDES:
        assert traffic(tiered("outside"), inside) == traffic({"default": remote("outside")}, inside)


def test_a_backend_that_has_not_been_used_goes_on_when_the_settings_no_longer_have_its_remote():
    """Held since the process began, as in ``cache = caches["default"]`` at the top of a module, and first used in a test."""

    def traffic(outside):
        Remote("outside", {}).set("key", "value")
        with override_settings(CACHES=outside):
            held = caches["default"]
            with override_settings(CACHES={}):
                return [held.get("key"), held.get("key"), held.set("key", "new"), held.get("key")]

    assert traffic(tiered("outside")) == traffic({"default": remote("outside")}) == ["value", "value", None, "new"]
