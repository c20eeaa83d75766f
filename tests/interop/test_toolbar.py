"""django-debug-toolbar's cache panel shows the sync calls of a ``TieredCache``, and the remote calls that they make."""

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
    "ROOT_URLCONF": "tests.interop.recorded",
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


def calls(*names):
    return [tuple(name.split(".")) for name in names]


# The panel notes a call when it has returned: those of the remote come before the tiered one that made them. The reads that
# get_or_set makes in the tiered cache are no calls of their own, and the panel counts it as a hit.
SYNC = calls(
    *("remote.get", "default.get"),  # two misses: one of each tier
    *("remote.set", "default.set"),
    *("remote.get", "default.get"),  # two hits
    "default.get",  # a hit, of the local tier
    *("remote.get_many", "default.get_many"),  # one key of two is there, and the remote is asked for the other
    *("remote.get", "remote.add", "remote.get", "default.get_or_set"),
)
# A tiered cache answers async calls itself; what it asks of a remote that has sync methods only is seen there.
ASYNC = calls("remote.get", "remote.set", "remote.get", "remote.get_many", "remote.get", "remote.add", "remote.get")
READS = {("remote", "get"), ("remote", "get_many")}


def expected(recorded_calls, remote):
    """What is seen over this kind of remote: the pipelined read of Redis and Valkey calls no method of the remote alias."""
    return [call for call in recorded_calls if remote == "locmem" or call not in READS]


@pytest.mark.parametrize("new", [False, True], ids=["known instances", "new instances"])
@pytest.mark.parametrize("remote", ["locmem", "django-redis", "django", "django-valkey"])
@pytest.mark.parametrize(
    ("ask", "path", "seen", "hits_and_misses"),
    [
        # Of both tiers, and of the tiered alias alone.
        (get, "/calls/", SYNC, {"locmem": (6, 5), "redis": (4, 2)}),
        (aget, "/acalls/", ASYNC, {"locmem": (2, 3), "redis": (0, 0)}),
    ],
    ids=["sync", "async"],
)
def test_the_panel_shows_the_calls(ask, path, seen, hits_and_misses, remote, new, toolbar, make_cache):
    """The sync ones of a tiered alias, as of any; and those of the remote that are made for them."""
    cache = make_cache(remote)
    for alias in caches:
        caches[alias].get("known")  # the instances of this thread
    shown, *counted = in_new_thread(recorded, ask, path) if new else recorded(ask, path)
    assert shown == expected(seen, remote)
    assert tuple(counted) == hits_and_misses["locmem" if remote == "locmem" else "redis"]
    assert cache.get("c") == "made"


def test_marks_of_other_tools_are_not_the_remotes(make_cache):
    """A tool that has wrapped the remote instance, and marked it, is not told that it has wrapped the tiered one too."""
    cache = make_cache("locmem")
    cache.remote._sentry_patched = True
    assert not hasattr(cache, "_sentry_patched")
    cache.remote._djdt_panel = None
    assert not hasattr(cache, "_djdt_panel")
