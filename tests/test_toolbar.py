"""django-debug-toolbar's cache panel shows a ``TieredCache``'s calls, and the remote calls under them."""

import asyncio
import threading

import pytest
from django.core.cache import CacheHandler, caches
from django.test import AsyncClient, Client, override_settings

TOOLBAR = {
    "DEBUG": True,
    "INTERNAL_IPS": ["127.0.0.1"],
    "MIGRATION_MODULES": {},  # of the test's own: the toolbar adds to it
    "MIDDLEWARE": ["debug_toolbar.middleware.DebugToolbarMiddleware"],
    "DEBUG_TOOLBAR_PANELS": ["debug_toolbar.panels.history.HistoryPanel", "debug_toolbar.panels.cache.CachePanel"],
    "DEBUG_TOOLBAR_CONFIG": {"TOOLBAR_STORE_CLASS": "debug_toolbar.store.MemoryStore"},
    "ROOT_URLCONF": "tests.recorded",
    "STATIC_URL": "/static/",
    "TEMPLATES": [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
}
APPS = ["django.contrib.staticfiles", "debug_toolbar"]


@pytest.fixture
def toolbar(monkeypatch):
    """The toolbar, installed; what it does to Django's cache handler is undone afterwards."""
    monkeypatch.setattr(CacheHandler, "create_connection", CacheHandler.create_connection)
    with override_settings(**TOOLBAR), override_settings(INSTALLED_APPS=APPS):  # which are made from the others
        yield
    del CacheHandler._djdt_patched


def get(path):
    return Client().get(path)


def aget(path):
    return asyncio.run(AsyncClient().get(path))


def recorded(ask, path):
    """The calls that the panel shows for one request, as (alias, method), its hits and its misses."""
    from debug_toolbar.store import get_store

    panel = get_store().panel(ask(path)["djdt-request-id"], "CachePanel")
    calls = [(call["backend"].partition(" ")[0], call["name"]) for call in panel["calls"]]
    return calls, panel["hits"], panel["misses"]


def in_new_thread(function, *args):
    """What ``function`` returns in a thread that has no cache instances yet, as each of runserver's requests is."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function(*args)))
    thread.start()
    thread.join()
    return found[0]


# The panel notes a call when it has returned: those of the remote come before the tiered one that made them.
WORK = [
    *[("remote", "get"), ("default", "get")],  # two misses: one of each tier
    *[("remote", "set"), ("default", "set")],
    *[("remote", "get"), ("default", "get")],  # two hits
    *[("default", "get")],  # a hit, of the local tier
    *[("remote", "get_many"), ("default", "get_many")],  # one key of two is there, and the remote is asked for the other
]
# Its reads in the tiered cache are no calls of their own; the panel takes it for a hit always.
GET_OR_SET = [("remote", "get"), ("remote", "add"), ("remote", "get"), ("default", "get_or_set")]
# Shown by its parts, as Django's own is. The last of them returns its default, which the panel takes for a miss.
AGET_OR_SET = [
    *[("remote", "get"), ("default", "get")],
    *[("remote", "add"), ("default", "add")],
    *[("remote", "get"), ("default", "get")],
]


@pytest.mark.parametrize("new", [False, True], ids=["known instances", "new instances"])
@pytest.mark.parametrize("remote", ["locmem", "django-redis", "django", "django-valkey"])
@pytest.mark.parametrize(
    ("ask", "path", "expected"),
    [(get, "/calls/", (WORK + GET_OR_SET, 4 + 2, 4 + 1)), (aget, "/acalls/", (WORK + AGET_OR_SET, 4 + 1, 4 + 3))],
    ids=["sync", "async"],
)
def test_the_panel_shows_both_tiers(ask, path, expected, remote, new, toolbar, make_cache):
    """Each tiered call, under those that the local tier did not answer the remote's, and the hits and misses of both."""
    cache = make_cache(remote)
    for alias in caches:
        caches[alias].get("known")  # the instances of this thread
    assert (in_new_thread(recorded, ask, path) if new else recorded(ask, path)) == expected
    assert cache.get("c") == "made"


def test_instances_are_as_they_were_when_the_panel_is_off(toolbar, make_cache, monkeypatch):
    """After a recorded request, async calls do not go by way of the sync ones any more."""
    cache = make_cache("locmem")

    async def requests():
        await AsyncClient().get("/acalls/")
        await cache.aset("a", 1)
        await cache.aget("a")
        monkeypatch.setattr(cache, "get", None)
        return await cache.aget("a"), await cache.aget_many(["a"])

    assert asyncio.run(requests()) == (1, {"a": 1})
    assert cache._djdt_panel is None


def test_marks_of_other_tools_are_not_the_remotes(make_cache):
    """A tool that has wrapped the remote instance, and marked it, is not told that it has wrapped the tiered one too."""
    cache = make_cache("locmem")
    cache.remote._sentry_patched = True
    assert not hasattr(cache, "_sentry_patched")
    cache.remote._djdt_panel = None
    assert not hasattr(cache, "_djdt_panel")


def test_a_read_is_made_once_where_nobody_records(make_cache, monkeypatch):
    """The remote's own get, beside the pipelined read, is called for the panel alone."""
    cache = make_cache("django-redis")
    called = []
    monkeypatch.setattr(cache.remote, "get", lambda key, *args, **kwargs: called.append(key))
    cache.get("a")
    cache.remote._djdt_panel = None  # known to a panel, and not recorded
    cache.get("b")
    assert called == []
    cache.remote._djdt_panel = "one"
    cache.get("c")
    assert called == ["c"]
    cache.remote._djdt_panel = None
