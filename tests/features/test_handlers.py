"""``tieredcache.cache`` and ``caches``: as Django's pair, but that one backend of ours serves all threads and tasks."""

import asyncio
import uuid
from unittest import mock

import pytest
from django.core import cache as django
from django.core.cache import InvalidCacheBackendError
from django.template import Context, Engine
from django.test import override_settings

import tieredcache
from tests.support.caches import LRU, TIERED
from tests.support.processes import in_child
from tests.support.traffic import in_new_thread, in_threads
from tieredcache.backends import TieredCache

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"


class Own(TieredCache):
    """Of a site's own: it may keep what belongs to one thread."""


@pytest.fixture(autouse=True)
def config():
    """An alias of each of ours, of Django's, and of a class made from ours."""
    place = uuid.uuid4().hex
    aliases = {
        "default": {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": {"LOCAL_TIMEOUT": 60}},
        "lru": {"BACKEND": LRU, "LOCATION": place},
        "own": {"BACKEND": f"{__name__}.Own", "LOCATION": "remote"},
        "remote": {"BACKEND": LOCMEM, "LOCATION": place},
    }
    with override_settings(CACHES=aliases):
        yield aliases


def test_django_is_not_asked_when_a_method_is_used_again():
    tieredcache.cache.set("key", "value")
    get = tieredcache.cache.get
    assert tieredcache.caches["default"].get == get
    with mock.patch.object(django.CacheHandler, "__getitem__", side_effect=AssertionError):
        assert tieredcache.cache.get is get
        assert tieredcache.caches["default"].get == get
        assert in_new_thread(lambda: tieredcache.cache.get) is get
    assert get("key") == django.cache.get("key") == "value"


@pytest.mark.parametrize(("alias", "shared"), [("default", True), ("lru", True), ("own", False), ("remote", False)])
def test_threads_share_a_backend_when_it_is_ours(alias, shared):
    mine, other = tieredcache.caches[alias], in_new_thread(lambda: tieredcache.caches[alias])
    assert (mine is other) is shared
    assert (mine is django.caches[alias]) is not shared
    mine.set("key", "value")
    assert other.get("key") == django.caches[alias].get("key") == "value"


def test_each_thread_task_and_greenlet_has_its_own_remote_when_they_share_a_backend():
    gevent = pytest.importorskip("gevent")

    def remote():
        found = tieredcache.cache.remote
        assert found is django.caches["remote"]
        return found

    async def task():
        return remote(), await asyncio.to_thread(remote)

    greenlets = [gevent.spawn(remote) for _ in range(2)]
    gevent.joinall(greenlets)
    found = [remote(), in_new_thread(remote), *(each.get() for each in greenlets), *in_new_thread(asyncio.run, task())]
    assert len({id(each) for each in found}) == len(found)


def test_threads_and_tasks_get_their_answers_when_they_share_a_backend():
    wrong = []

    def work(number):
        for turn in range(200):
            tieredcache.cache.set(f"key{number}", turn)
            if (tieredcache.cache.get(f"key{number}"), tieredcache.cache.get_or_set("same", "value")) != (turn, "value"):
                wrong.append((number, turn))

    async def awork(number):
        for turn in range(50):
            await tieredcache.cache.aset(f"key{number}", turn)
            if await tieredcache.cache.aget(f"key{number}") != turn:
                wrong.append((number, turn))

    async def tasks():
        await asyncio.gather(*map(awork, "abcd"))

    in_threads(9, lambda number: work(number) if number else asyncio.run(tasks()))
    assert wrong == []


def test_settings_are_followed_when_they_are_overridden(config):
    tieredcache.cache.set("key", "outside")
    with override_settings(CACHES=config | {"default": {"BACKEND": LRU, "LOCATION": "inside"}}):
        assert tieredcache.cache.get("key") is None
        assert type(tieredcache.caches["default"]).__name__ == "LRUCache"
        with override_settings(CACHES={"default": {"BACKEND": LOCMEM}}):
            assert tieredcache.caches["default"] is django.caches["default"]
            assert tieredcache.cache == django.caches["default"]
            assert "lru" not in tieredcache.caches
    assert tieredcache.cache.get("key") == "outside"


def test_a_method_of_old_settings_is_not_kept_when_they_change_amid_its_look_up(config):
    """By another thread, say: here by the look-up itself."""
    find, changed = type(tieredcache.caches)._find, []

    def overtaken(caches, alias):
        backend = find(caches, alias)
        if not changed:
            changed.append(caches.reset())
        return backend

    tieredcache.caches.reset()
    with mock.patch.object(type(tieredcache.caches), "_find", overtaken):
        tieredcache.cache.get("key")
    assert tieredcache.cache.get.__self__ is tieredcache.caches["default"]


def test_a_child_reads_on_when_it_was_forked():
    tieredcache.cache.set("key", [1])
    get = tieredcache.cache.get

    def check():
        assert tieredcache.cache.get is get
        assert tieredcache.cache.get("key") == [1]
        tieredcache.cache.set("key", [2])
        assert tieredcache.cache.get("key") == django.cache.get("key") == [2]

    assert in_child(check)


@pytest.mark.parametrize("bound", [True, False])
def test_a_mock_is_seen_by_all_threads_when_ours_is_patched(bound):
    if bound:
        tieredcache.cache.get("key")
    with mock.patch.object(tieredcache.cache, "get", return_value="mocked"):
        assert tieredcache.cache.get("key") == in_new_thread(lambda: tieredcache.cache.get("key")) == "mocked"
        assert django.cache.get("key") is None
    assert tieredcache.cache.get("key") is None
    with mock.patch.object(tieredcache.caches["lru"], "get", return_value="mocked"):
        assert in_new_thread(lambda: tieredcache.caches["lru"].get("key")) == "mocked"


def test_a_tracer_sees_the_calls_when_it_patches_each_backend_that_is_made(monkeypatch):
    """As Sentry does."""
    calls, make = [], django.CacheHandler.create_connection

    def traced(handler, alias):
        made = make(handler, alias)
        get = made.get
        made.get = lambda key: calls.append((alias, key)) or get(key)
        return made

    monkeypatch.setattr(django.CacheHandler, "create_connection", traced)
    assert tieredcache.cache.get("a") is in_new_thread(lambda: tieredcache.caches["default"].get("b")) is None
    assert [call for call in calls if call[0] == "default"] == [("default", "a"), ("default", "b")]


def test_the_handler_is_as_djangos():
    ours, theirs = tieredcache.caches, django.caches
    assert list(ours) == list(theirs)
    assert ours.settings is theirs.settings
    assert [type(each) for each in ours.all()] == [type(each) for each in theirs.all()]
    cache = ours["default"]
    del ours["default"]
    assert ours["default"] is not cache
    for handler in (ours, theirs):
        with pytest.raises(InvalidCacheBackendError, match="The connection 'none' doesn't exist"):
            handler["none"]
        with pytest.raises(AttributeError):
            del handler["none"]
    with mock.patch.object(type(theirs["remote"]), "close", autospec=True) as close:
        ours.close_all()
    assert close.call_args_list == [mock.call(theirs["remote"])]
    ours["remote"] = other = type(theirs["remote"])("elsewhere", {})
    assert ours["remote"] is theirs["remote"] is other


def test_the_proxy_is_as_djangos():
    """What is no method is looked up for each call, and the remote's own is found."""
    cache = tieredcache.cache
    cache.set("key", 1)
    assert "key" in cache
    assert cache == tieredcache.caches["default"]
    assert cache.get_many(["key"]) == {"key": 1}
    assert asyncio.run(cache.aget("key")) == 1
    assert cache.stats().hits == 1
    assert len(cache.local) == 1
    assert cache.remote is django.caches["remote"]
    cache.remote.ttl = lambda key: 5
    assert cache.ttl("key") == 5
    with pytest.raises(AttributeError, match="nothing"):
        cache.nothing  # noqa: B018
    with pytest.raises(AttributeError, match="its remote's"):
        cache.key_prefix = "other"


@pytest.mark.parametrize("handler", [tieredcache.caches, django.caches])
def test_djangos_fragments_are_found_without_djangos_handler_when_its_tag_is_given_ours(handler, config, monkeypatch):
    """By an alias of their own with the settings of another one, and so in the same tier."""
    config["template_fragments"] = config["default"]
    monkeypatch.setattr("django.templatetags.cache.caches", handler)
    engine = Engine(libraries={"cache": "django.templatetags.cache"})
    fragment = engine.from_string("{% load cache %}{% cache 60 menu %}{{ text }}{% endcache %}")
    with override_settings(CACHES=config):
        assert [fragment.render(Context({"text": text})) for text in ("first", "second")] == ["first", "first"]
        assert len(tieredcache.cache.local) == 1
        expected = [] if handler is tieredcache.caches else ["template_fragments"]
        with mock.patch.object(django.CacheHandler, "__getitem__", side_effect=django.caches.__getitem__) as asked:
            assert fragment.render(Context({"text": "third"})) == "first"
        assert [call.args[-1] for call in asked.mock_calls] == expected


def test_a_mock_is_gone_when_its_patch_is_over():
    """Whether the class was patched or the backend, and though the method was used meanwhile."""
    for target in (lambda: TieredCache, lambda: tieredcache.caches["default"]):
        tieredcache.caches.reset()
        with mock.patch.object(target(), "get", return_value="mocked"):
            assert tieredcache.cache.get("key") == "mocked"
        assert tieredcache.cache.get("key") is None


def test_what_another_thread_shares_during_a_reset_is_not_shared_on():
    """It is a backend of the old CACHES, put where that thread had begun to look."""
    before = tieredcache.caches._shared
    tieredcache.caches.reset()
    before["default"] = "a backend of the old CACHES"
    assert tieredcache.caches["default"] is not before["default"]


def test_an_alias_that_is_assigned_while_it_is_shared_is_not_shared_on():
    mine, make = TieredCache("remote", {"OPTIONS": {}}), django.caches.create_connection
    assert django.caches["default"] is not mine

    def meanwhile(alias):
        tieredcache.caches["default"] = mine
        return make(alias)

    try:
        with mock.patch.object(django.caches, "create_connection", meanwhile):
            assert tieredcache.caches["default"] is not mine
        assert tieredcache.caches["default"] is mine
    finally:
        del tieredcache.caches["default"]


def test_no_backend_of_settings_that_are_over_is_shared():
    """Django's handler still has them when a receiver of setting_changed reads a cache before it is reset."""
    with mock.patch.dict(vars(django.caches), settings=dict(django.caches.settings)):
        assert tieredcache.caches["default"] is django.caches["default"]
    assert tieredcache.caches["default"] is not django.caches["default"]


def test_what_code_has_set_stays_when_another_alias_is_assigned():
    """The proxy keeps methods of the backend that it had."""
    with override_settings(
        CACHES={"default": {"BACKEND": LRU, "LOCATION": "own"}, "other": {"BACKEND": LRU, "LOCATION": "other"}}
    ):
        tieredcache.cache.version = 2
        tieredcache.cache.set("key", 1)
        tieredcache.caches["other"] = tieredcache.caches["other"]
        assert tieredcache.cache.delete("key")
        assert tieredcache.cache.get("key") is None


def test_a_mock_stays_when_another_alias_is_assigned():
    with mock.patch.object(tieredcache.cache, "get", return_value="mocked"):
        tieredcache.caches["remote"] = tieredcache.caches["remote"]
        assert tieredcache.cache.get("key") == "mocked"
    assert tieredcache.cache.get("key") is None


def test_a_backend_is_its_threads_own_when_it_was_assigned():
    mine = TieredCache("remote", {"OPTIONS": {}})
    tieredcache.caches["default"] = mine
    try:
        other = in_new_thread(lambda: tieredcache.caches["default"])
        assert other is not mine
        assert tieredcache.caches["default"] is django.caches["default"] is mine
    finally:
        del tieredcache.caches["default"]
    assert tieredcache.caches["default"] is django.caches["default"] is not mine
