"""``COPY_VALUES`` of an ``LRUCache``: each reader gets an object of its own, as from ``LocMemCache``."""

import pickle
import threading
import uuid

import pytest
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from tests.backends.test_lru_interleavings import Watched
from tests.support.caches import LRU
from tieredcache.checks.caches import read_aliases
from tieredcache.lookups import LookupTable

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
COPIES = {"COPY_VALUES": True}
both = pytest.mark.parametrize("settings", [{"OPTIONS": COPIES}, {"BACKEND": LOCMEM}], ids=["LRUCache", "LocMemCache"])


def select2(cache):
    """What the view of django-select2 8.4.8 (views.py:100 to 109) does with the dict that a widget has cached."""
    widget = cache.get("widget")
    if widget.pop("url") != "/fields/auto.json":
        raise LookupError("field_id was issued for the view")
    queryset, query = widget.pop("queryset")
    widget["queryset"] = queryset, query
    return widget.pop("cls"), widget


class Node:
    """As a NavigationNode of django-cms 5.1.3 (menus/base.py)."""

    selected = False

    def __init__(self, url):
        self.url = url


def menu(cache, path):
    """The nodes that a request for ``path`` finds selected: django-cms marks what it has read (menus/menu_pool.py:211)."""
    nodes = cache.get("menu_nodes_en_1:public")
    next(node for node in nodes if node.url == path).selected = True
    return [node.url for node in nodes if node.selected]


@pytest.mark.parametrize("copies", [True, False])
def test_django_select2_pops_from_a_cached_dict(make_lru, copies):
    """By reference, the second request finds the dict without what the first has popped."""
    cache = make_lru(OPTIONS={"COPY_VALUES": copies})
    cache.set("widget", {"url": "/fields/auto.json", "queryset": [[], "query"], "cls": dict, "max_results": 25})
    first = select2(cache)
    if copies:
        assert select2(cache) == first
    else:
        with pytest.raises(KeyError, match="url"):
            select2(cache)


@pytest.mark.parametrize(("copies", "second"), [(True, ["/b/"]), (False, ["/a/", "/b/"])])
def test_django_cms_marks_cached_menu_nodes(make_lru, copies, second):
    """By reference, the second visitor's menu has the first one's page selected too."""
    cache = make_lru(OPTIONS={"COPY_VALUES": copies})
    cache.set("menu_nodes_en_1:public", [Node("/a/"), Node("/b/")])
    assert menu(cache, "/a/") == ["/a/"]
    assert menu(cache, "/b/") == second


READS = {
    "get": lambda cache: cache.get("key"),
    "get of a version": lambda cache: cache.get("key", version=1),
    "get_many": lambda cache: cache.get_many(["key"])["key"],
    "get_or_set": lambda cache: cache.get_or_set("key", list),
}
WRITES = {
    "set": lambda cache, value: cache.set("key", value),
    "set over another": lambda cache, value: (cache.set("key", 1), cache.set("key", value)),
    "set_many": lambda cache, value: cache.set_many({"key": value}),
    "add": lambda cache, value: cache.add("key", value),
    "get_or_set": lambda cache, value: cache.get_or_set("key", lambda: value).append("of the caller"),
    "incr": lambda cache, value: (cache.set("key", []), cache.incr("key", value).append("of the caller")),
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("write", WRITES)
def test_what_a_reader_or_the_writer_changes_no_other_reader_sees(make_lru, mode, read, write):
    """Whatever it was written and read with."""
    cache, value = mode(make_lru(OPTIONS=COPIES)), ["stored"]
    WRITES[write](cache, value)
    value.append("of the writer")
    for _ in range(2):
        found = READS[read](cache)
        assert found == ["stored"]
        found.append("of a reader")


def test_readers_share_what_is_proved_immutable(make_lru):
    """It is not unpickled for each of them."""
    cache, value = make_lru(OPTIONS=COPIES), ("text", 1)
    cache.set("key", value)
    assert cache.get("key") is value


@both
@pytest.mark.parametrize("write", [w for w in WRITES if w != "incr"])
def test_a_write_raises_what_pickling_raises(make_lru, settings, mode, write):
    """And what was there before stays."""
    cache = mode(make_lru(**settings))
    cache.set("other", 1)
    with pytest.raises((TypeError, pickle.PickleError), match="lock"):
        WRITES[write](cache, [threading.Lock()])
    assert cache.get("other") == 1
    assert cache.get("key") in (None, 1)
    with pytest.raises((TypeError, pickle.PickleError)):
        cache.set("other", [threading.Lock()], 0)
    assert cache.get("other") == 1


class Undecodable:
    """Can be pickled, and raises ``error`` when it is unpickled."""

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        return fail, (self.error,)


def fail(error):
    raise error("no longer decodes")


@both
@pytest.mark.parametrize("error", [ValueError, KeyError, AttributeError])
def test_a_read_raises_what_unpickling_raises(make_lru, settings, error):
    """It is no miss: neither a KeyError nor an AttributeError is taken for one."""
    cache = make_lru(**settings)
    cache.set("key", Undecodable(error))
    for read in READS.values():
        with pytest.raises((error, pickle.UnpicklingError), match="no longer decodes"):
            read(cache)


@pytest.mark.parametrize("write", ["set", "add", "get_or_set"])
def test_a_value_is_pickled_while_the_store_is_not_locked(make_lru, write):
    """Its own code runs then, and may wait for a lock of the application's, whose holder writes to the cache."""
    cache, free = make_lru(OPTIONS=COPIES), []

    def look():
        if taken := cache._store.lock.acquire(timeout=0.5):
            cache._store.lock.release()
        free.append(taken)

    class Value:
        def __reduce__(self):
            other = threading.Thread(target=look)
            other.start()
            other.join()
            return int, ()

    getattr(cache, write)("key", Value if write == "get_or_set" else Value())
    assert free == [True]


def test_incr_adds_to_what_was_set_meanwhile_and_keeps_the_expiry(make_lru, monkeypatch, clock):
    """A value that can be added to, and changed: of ``incr``'s two looks at it, the second finds another."""
    cache = make_lru(OPTIONS=COPIES)
    cache.set("key", ["old"], 5)
    monkeypatch.setattr(cache._store, "lock", Watched(cache._store.lock, lambda: cache.set("key", ["new"], 10)))
    assert cache.incr("key", ["more"]) == ["new", "more"]
    assert cache.get("key") == ["new", "more"]
    clock.move(10)
    assert cache.get("key") is None


def test_a_lookup_table_is_indexed_once_for_each_write(make_lru):
    """Its index is kept beside what is stored, and lookups unpickle nothing."""
    make_lru(OPTIONS=COPIES)
    reads = []

    def source():
        reads.append(None)
        return [{"code": "GB", "names": ["Britain"]}]

    table = LookupTable("countries", source, key="code")
    assert table["GB"].names == ["Britain"]
    assert table["GB"] is table["GB"]
    assert reads == [None]


def test_what_is_derived_may_be_made_of_the_value_itself(make_lru):
    """It is given an object of its own, and kept until the next write."""
    cache = make_lru(OPTIONS=COPIES)

    def build(value):
        value.append("of the index")
        return value

    cache.set("key", ["old"])
    built = cache.derive("key", build)
    assert built == ["old", "of the index"]
    assert cache.derived("key", build) is cache.derive("key", build) is built
    assert cache.get("key") == ["old"]
    cache.set("key", ["new"])
    assert cache.derived("key", build) is None
    assert cache.derive("key", build) == ["new", "of the index"]


def aliases(**copies):
    """Aliases of one ``LOCATION`` with these values of the option, and a ``LocMemCache`` of that name."""
    place = uuid.uuid4().hex  # settings are checked once
    made = {"default": {"BACKEND": LOCMEM, "LOCATION": place}}
    for alias, option in copies.items():
        options = {} if option is None else {"COPY_VALUES": option}
        made[alias] = {"BACKEND": LRU, "LOCATION": place, "OPTIONS": options}
    return made


@pytest.mark.parametrize("other", [False, None])
@pytest.mark.parametrize("name", ["a", "b"])
def test_instances_that_share_a_store_must_agree(name, other):
    """An error names both, when either is made, and for the system check."""
    with override_settings(CACHES=aliases(a=True, b=other)):
        with pytest.raises(ImproperlyConfigured) as caught:
            caches[name]
        told = str(caught.value)
        assert told.startswith(f"CACHES[{name!r}]: OPTIONS['COPY_VALUES'] is {name == 'a'}, and {name != 'a'} in CACHES[")
        assert f"CACHES[{'b' if name == 'a' else 'a'!r}], which has the same LOCATION. Set it to the same in both" in told
        assert {alias for alias, found in read_aliases().items() if isinstance(found, ImproperlyConfigured)} == {"a", "b"}


@pytest.mark.parametrize("name", ["a", "b"])
def test_instances_that_share_a_store_must_agree_on_its_bytes(name):
    """However each writes them."""
    place = uuid.uuid4().hex
    made = {alias: {"BACKEND": LRU, "LOCATION": place, "OPTIONS": {"MAX_BYTES": "1MB"}} for alias in ("default", name)}
    with override_settings(CACHES=made | {"other": {**made[name], "OPTIONS": {"MAX_BYTES": 10**6}}}):
        caches[name].set("key", 1)
        assert caches["other"].get("key") == 1
    made["other"] = {"BACKEND": LRU, "LOCATION": place}
    told = r"CACHES\['other'\]: OPTIONS\['MAX_BYTES'\] is None, and 1000000 in CACHES"
    with override_settings(CACHES=made), pytest.raises(ImproperlyConfigured, match=told):
        caches["other"]


def test_instances_that_agree_share_a_store():
    """And overridden settings, which may have another option, keep theirs apart."""
    with override_settings(CACHES=aliases(a=True, b=True)):
        caches["a"].set("key", ["value"])
        assert caches["b"].get("key") == ["value"]
        with override_settings(CACHES=aliases(a=False, b=None)):
            assert caches["a"].get("key") is None
            caches["a"].set("key", value := [threading.Lock()])
            assert caches["b"].get("key") is value
            caches["a"].clear()
        assert caches["b"].get("key") == ["value"]
        caches["a"].clear()
