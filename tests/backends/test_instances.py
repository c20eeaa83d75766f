"""Backends are made per thread or request: cheaply, leaving nothing; their stores are safe after a fork."""

import asyncio
import copy
import gc
import inspect
import os
import pickle
import random
import subprocess
import sys
import threading
import tracemalloc

import pytest
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from tests.support.caches import LRU, TIERED
from tests.support.processes import in_child
from tieredcache.backends import TieredCache


def test_making_instances_leaves_nothing_behind(make_cache):
    """Ten thousand, used once each: no store, no memory, and all see one local tier."""
    from tieredcache.config import registry

    cache = make_cache("django-redis", LOCAL_TIMEOUT=3600, LOCAL_TIMEOUTS={"a": 1}, MAX_ENTRIES=50)
    cache.set("key", "value")
    cache.get("key")
    tiers = len(registry._tiers)

    def make(count):
        for _ in range(count):
            made = caches.create_connection("default")
            assert made.get("key") == "value"
            assert made._tier is cache._tier

    make(100)
    tracemalloc.start()
    make(100)
    taken = []
    for count in (5000, 5000, 0):
        gc.collect()
        taken.append(tracemalloc.get_traced_memory()[0])
        make(count)
    tracemalloc.stop()
    # Either time: what is taken once, such as by a module that is imported late, is no leak.
    assert min(taken[1] - taken[0], taken[2] - taken[1]) < 10_000
    assert len(registry._tiers) == tiers
    assert registry.siblings(cache._tier) == [cache._tier]


def test_making_an_instance_makes_no_remote(make_cache):
    """A request that is served locally needs no connection of its own."""
    make_cache("django-redis", LOCAL_TIMEOUT=60).get("key")
    caches["default"].set("key", 1)
    caches["default"].get("key")
    del caches["default"], caches["remote"]
    assert caches["default"].get("key") == 1
    assert [alias for alias in caches.settings if hasattr(caches._connections, alias)] == ["default"]


def test_threads_share_the_local_tier(make_cache):
    """Each thread has a backend of its own, and all have one local tier."""
    cache = make_cache(LOCAL_TIMEOUT=60)
    cache.set("key", 1)
    cache.get("key")
    seen = []

    def work():
        own = caches["default"]
        seen.append((own is cache, own.get("key"), own.stats().hits))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, 1, 1)]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("kind", ["tiered", "lru"])
def test_a_child_forked_amid_a_change_goes_on(kind, make_cache, make_lru):
    """While another thread holds the store's lock: the child keeps the entries, and writes."""
    cache = make_cache(LOCAL_TIMEOUT=60) if kind == "tiered" else make_lru()
    cache.set("key", [1])
    cache.get("key")
    store = cache._tier if kind == "tiered" else cache._store
    held, release = threading.Event(), threading.Event()

    def hold():
        with store.lock:
            store.busy = True
            store.index["half-done"] = store.index["key"]
            held.set()
            release.wait(10)
            del store.index["half-done"]
            store.busy = False

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)

    def check():
        assert cache.get("key") == [1]
        cache.set("key", [2])
        assert cache.get("key") == [2]
        cache.set("other", 3)
        assert cache.get("other") == 3
        cache.delete("key")
        assert cache.get("key") is None
        assert len(store.index) == len(store.lru)
        assert not store.busy

    alive = in_child(check)
    release.set()
    thread.join()
    assert alive


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_system_without_fork():
    """Windows has none; there is nothing to make again then."""
    code = """
import os
del os.fork, os.register_at_fork
from django.conf import settings
tiered = {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": "remote"}
remote = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
settings.configure(CACHES={"default": tiered, "remote": remote})
import tieredcache.lookups, tieredcache.metrics.prometheus, tieredcache.middleware
from django.core.cache import cache
cache.set("key", 1)
print(cache.get("key"), cache.get("key"), cache.stats().hits)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert (done.stdout, done.stderr) == ("1 1 1\n", "")


def test_children_do_not_share_random_state():
    """Two children draw different jitter, and the parent another."""
    drawn = [random.random()]
    for _ in range(2):
        reader, writer = os.pipe()
        assert in_child(lambda writer=writer: os.write(writer, pickle.dumps(random.random())))
        drawn.append(pickle.loads(os.read(reader, 1000)))
        os.close(reader)
        os.close(writer)
    drawn.append(random.random())
    assert len(set(drawn)) == 4


def test_evicted_values_are_let_go(make_cache):
    """Of a tier too: what is evicted, forgotten and cleared is garbage at once."""
    import weakref

    class Value(list):
        pass

    settings = {
        "default": {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": {"SHARE_VALUES": True, "MAX_ENTRIES": 2}},
        "remote": {"BACKEND": LRU, "LOCATION": "let-go"},
    }
    with override_settings(CACHES=settings):
        cache = caches["default"]
        for end in (
            lambda: cache.local.forget("key"),
            lambda: cache.set("key", 1),
            cache.local.clear,
            lambda: [cache.get_or_set(f"other{number}", 1) for number in range(20)],
        ):
            value = Value()
            reference = weakref.ref(value)
            cache.set("key", value)
            assert cache.get("key") is value
            del value
            caches["remote"].delete("key")
            assert reference() is not None
            end()
            gc.collect()
            assert reference() is None


def _read_in_child(results, url):
    """In a child made by multiprocessing: forked ones have settings and entries, others make their own."""
    from django.conf import settings as django_settings

    if not django_settings.configured:
        import django

        remote = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}
        django_settings.configure(CACHES={"default": {"BACKEND": TIERED, "LOCATION": "remote"}, "remote": remote})
        django.setup()
    cache = caches["default"]
    results.put((cache.get("key"), cache.get("key"), cache.stats().hits))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize(("method", "hits"), [("fork", 3), ("forkserver", 1)])
def test_children_of_multiprocessing(method, hits, make_cache, valkey_url, monkeypatch):
    """A forked child starts with the parent's entries and counts; one of a fork server with none."""
    import multiprocessing

    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    cache = make_cache("django-redis", LOCAL_TIMEOUT=60)
    cache.set("key", [1])
    cache.get("key")
    cache.get("key")
    context = multiprocessing.get_context(method)
    results = context.Queue()
    child = context.Process(target=_read_in_child, args=[results, f"{valkey_url}/1"])
    child.start()
    assert results.get(timeout=300) == ([1], [1], hits)
    child.join(30)
    assert child.exitcode == 0


class Loud(TieredCache):
    """A subclass that a site may have: with options of its own, and a get of its own."""

    def __init__(self, location, params):
        super().__init__(location, {**params, "OPTIONS": {"LOCAL_TIMEOUT": 60, **params.get("OPTIONS", {})}})

    def get(self, key, default=None, version=None):
        return str(super().get(key, default, version)).upper()


def test_subclasses(make_cache):
    """What they override stays; what they do not is the package's."""
    make_cache("locmem")
    loud = Loud("remote", {})
    loud.set("key", "text")
    assert loud.get("key") == loud.get("key") == "TEXT"
    assert asyncio.run(loud.aget("key")) == "text"
    assert loud.stats().hits == 2
    assert loud._tier.options.local_timeout == 60


def test_an_instance_can_be_copied_and_inspected(make_cache):
    """As any other backend."""
    cache = make_cache("locmem", LOCAL_TIMEOUT=60)
    cache.set("key", "text")
    cache.get("key")
    twin = copy.copy(cache)
    assert twin.get("key") == "text"
    assert twin.stats().hits == cache.stats().hits == 1
    assert list(inspect.signature(cache.get).parameters) == ["key", "default", "version"]
    assert inspect.iscoroutinefunction(cache.aget)
    assert "local tier" in inspect.getdoc(cache.get)
    assert type(cache).__name__ == "TieredCache"


def test_instances_of_settings_of_their_own_have_a_tier_of_their_own_and_leave_nothing(make_cache):
    """Only the tiers of CACHES are kept by the process."""
    from tieredcache.config import registry

    cache = make_cache(LOCAL_TIMEOUT=7)
    tiers = len(registry._tiers)
    for _ in range(300):
        assert TieredCache("remote", {"OPTIONS": {"LOCAL_TIMEOUT": 7}})._tier is not cache._tier
    gc.collect()
    assert len(registry._tiers) == tiers
    assert registry.siblings(cache._tier) == [cache._tier]
    for _ in range(3):
        with pytest.raises(ImproperlyConfigured, match="KEY_PREFIX"):
            TieredCache("remote", {**cache_params(), "KEY_PREFIX": "a"})


def cache_params():
    return {name: value for name, value in caches.settings["default"].items() if name not in {"BACKEND", "LOCATION"}}


def test_writes_go_on_while_another_thread_makes_the_first_instance_of_an_alias():
    """The tiers over the remote are gone through at each write, and there is one more."""
    tiered = {f"tiered-{number}": {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": {}} for number in range(300)}
    remote = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "first-instances"}
    before = sys.getswitchinterval()
    with override_settings(CACHES={**tiered, "default": {"BACKEND": TIERED, "LOCATION": "remote"}, "remote": remote}):
        cache = caches["default"]
        thread = threading.Thread(target=lambda: [caches.create_connection(alias) for alias in tiered])
        sys.setswitchinterval(1e-5)
        try:
            thread.start()
            while thread.is_alive():
                cache.set("key", "value")
        finally:
            sys.setswitchinterval(before)
            thread.join()
        assert cache.get("key") == "value"
