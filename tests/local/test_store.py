"""The store's rules: what a destructor or signal handler may do in the middle of a change."""

import dis

import pytest

from tests.support.copies import is_served
from tieredcache.local.entries import FOREVER, NEVER, BareEntry
from tieredcache.local.store import Store
from tieredcache.remote.prefetch import Prefetch


@pytest.fixture
def breaking_in(monkeypatch):
    """Calls a function in the middle of the next eviction, and asserts that it changes nothing in lru-dict itself."""

    def arrange(store, function):
        unlink = store._unlink

        def during(*args):
            unlink(*args)
            monkeypatch.setattr(store, "_unlink", unlink)
            assert store.busy
            before = sorted(map(str, store.lru.keys()))
            function()
            assert sorted(map(str, store.lru.keys())) == before, "lru-dict was changed during a change"

        monkeypatch.setattr(store, "_unlink", during)

    return arrange


def consistent(store):
    return len(store.index) == len(store.lru) and all(store.index[key] is store.lru[key] for key in store.lru.keys())  # noqa: SIM118


def test_a_destructor_that_writes_amid_a_change_goes_without(make_lru, breaking_in):
    """What it would keep is not kept; what it would remove is no longer served; what has its place already is changed."""
    cache = make_lru(OPTIONS={"MAX_ENTRIES": 4})
    store = cache._store
    cache.set_many({"evicted": 0, "a": 1, "b": 2, "c": 3})

    def break_in():
        cache.set("new", 10)
        assert cache.get("new") is None
        cache.add("other", 11)
        assert cache.has_key("other") is False
        assert cache.add("written", 12) is False, "the write that was broken into comes first"
        assert cache.incr("a") == 2
        assert cache.get("a") == 2
        assert cache.delete("b") is True
        assert cache.get("b") is None
        assert cache.delete("b") is False
        assert cache.touch("c", 0) is True
        assert cache.get("c") is None

    breaking_in(store, break_in)
    cache.set("written", 20)
    assert not store.busy
    assert consistent(store)
    assert cache.stats().entries == 4, "what was removed stays until it is met or evicted"
    assert cache.get_many(["evicted", "a", "b", "c", "written", "new", "other"]) == {"a": 2, "written": 20}
    assert cache.stats().entries == 2
    for key in "defgh":
        cache.set(key, key)
    assert consistent(store)
    assert cache.stats().entries == 4


def test_a_write_that_breaks_into_a_write_of_the_same_key_is_the_later_one(make_lru, breaking_in):
    """The entry has its place before the change is done, so the value in it is replaced."""
    cache = make_lru(OPTIONS={"MAX_ENTRIES": 1})
    cache.set("evicted", 0)
    breaking_in(cache._store, lambda: cache.set("key", "inner"))
    cache.set("key", "outer")
    assert cache.get("key") == "inner"
    assert consistent(cache._store)


def entry(value):
    made = BareEntry()
    made.value, made.deadline = value, FOREVER
    return made


def test_what_leaves_the_store_is_handed_to_the_caller():
    """So that its destructor runs when the caller lets it go, and not during the change. The key's, too."""
    store, keys, entries, values = Store(100, alone=False), [("a",), ("b",)], [], []
    removed = []
    for key in keys:
        values.append(object())
        entries.append(entry(values[-1]))
        assert store.put(key, entries[-1], 2, removed)
    assert removed == []
    assert store.put(keys[1], entry("new"), 2, removed)
    assert removed == [entries[1], values[1]], "what has been replaced"
    removed.clear()
    assert store.put(("c",), entry("c"), 2, removed)
    assert removed == [(keys[0], entries[0])], "what has been evicted"
    assert removed[0][0] is keys[0]
    assert entries[0].value is values[0]
    assert store.evictions == 1
    removed.clear()
    last = store.index["c",]
    store.discard(("c",), entries[0], removed)
    assert removed == [], "another entry has the place"
    store.discard(("c",), last, removed)
    assert removed == [last]
    assert [*store.index] == [*store.lru.keys()] == [keys[1]]


def test_nothing_is_changed_amid_a_change():
    """The store says so, and its caller goes without."""
    store, removed = Store(100, alone=False), []
    first = entry(1)
    assert store.put("a", first, 2, removed)
    store.busy = True
    assert store.put("b", entry(2), 2, removed) is False
    store.discard("a", first, removed)
    assert [*store.index] == [*store.lru.keys()] == ["a"]
    store.empty(removed)
    assert [*store.index] == [*store.lru.keys()] == ["a"]
    assert first.deadline == NEVER, "it is killed all the same"
    store.busy = False
    assert removed == [first, 1]
    store.empty(removed)
    assert len(store) == len(store.lru) == 0


class Changing:
    """A key whose hash is another one each time, a hundred times."""

    asked = 0

    def __hash__(self):
        self.asked += 1
        assert self.asked < 100, "without an end"
        return self.asked


def test_an_eviction_ends_when_the_hash_of_a_key_has_changed():
    """It cannot be taken out: that is an error, and not to be tried forever."""
    store, removed = Store(1, alone=True), []
    store.put(Changing(), entry("kept"), 1, removed)
    with pytest.raises(KeyError):
        store.put("key", entry("new"), 1, removed)


def test_a_clear_that_breaks_in_clears(make_lru, breaking_in):
    """What was there before is not served afterwards."""
    cache = make_lru(OPTIONS={"MAX_ENTRIES": 2})
    cache.set_many({"a": 1, "b": 2})
    breaking_in(cache._store, cache.clear)
    cache.set("c", 3)
    assert cache.get_many(["a", "b"]) == {}
    for key in "defg":
        cache.set(key, key)
    assert consistent(cache._store)


def test_a_destructor_that_writes_at_the_end_of_a_clear_goes_without(make_lru, monkeypatch):
    """There the bytes are counted from the entries, whose number must not change meanwhile."""
    cache = make_lru(OPTIONS={"MAX_BYTES": 100_000})
    cache.set("before", 1)
    repair = cache._store._repair

    def during():
        cache.set("during", 2)
        repair()

    monkeypatch.setattr(cache._store, "_repair", during)
    cache.clear()
    assert cache.get_many(["before", "during"]) == {}
    assert (len(cache._store), cache._store.bytes) == (0, 0)
    cache.set("after", 3)
    assert cache.get("after") == 3
    assert consistent(cache._store)


def test_a_tier_is_forgotten_and_filled_amid_a_fill(make_cache, breaking_in):
    """A destructor that writes, reads and clears through the tier, while the tier makes room."""
    cache = make_cache(MAX_ENTRIES=2, LOCAL_TIMEOUT=60)
    tier = cache._tier
    cache.set_many({key: key for key in "abcd"})
    cache.get_many(["a", "b"])

    def break_in():
        cache.set("b", "new")
        assert cache.get("b") == "new"
        cache.set("c", "newer")
        assert cache.get("d") == "d"
        assert cache.get_many(["a", "b"]) == {"a": "a", "b": "new"}

    breaking_in(tier, break_in)
    assert cache.get("c") == "c", "it was read before the write"
    assert cache.get("c") == "newer"
    assert cache.get("b") == "new"
    assert consistent(tier)
    breaking_in(tier, cache.local.clear)
    cache.get("a")
    assert not is_served(cache, "b")
    assert not is_served(cache, "c")
    cache.get_many(list("abcd"))
    cache.get_many(list("abcd"))
    assert consistent(tier)
    assert len(cache.local) == 2


def test_stats_of_a_tier(make_cache, clock, mode):
    """Each counter counts what it says, whichever way a read is answered."""
    cache = make_cache(LOCAL_TIMEOUT=5, JITTER=0, MAX_ENTRIES=3, MISS_TIMEOUT=1, LOCAL_TIMEOUTS={"never": 0})
    cache.set_many({"text": "a", "list": [1], "never": 1, 1: "number"})
    reader = mode(cache)

    def counted():
        stats = cache.stats()
        return stats.hits, stats.remote_hits, stats.misses

    reader.get("text")
    reader.get("list")
    assert counted() == (0, 2, 0)
    reader.get("text")
    reader.get("list")
    reader.get("text", version=1)
    reader.has_key("list")
    assert counted() == (4, 2, 0)
    reader.get_many(["text", "list", "text", 1, "absent"])
    assert counted() == (7, 3, 1)
    reader.get("absent")
    reader.get_many(["absent"])
    assert counted() == (9, 3, 1)
    stats = cache.stats()
    assert (stats.evictions, stats.entries, stats.max_entries) == (1, 3, 3)
    reader.get("never")
    assert counted() == (9, 4, 1)
    assert cache.stats().skipped == 1
    clock.move(5)
    reader.get("text")
    assert counted() == (9, 5, 1)
    assert cache.stats().expired == 1
    before = cache.stats().forgotten
    cache.set("text", "b")
    assert cache.stats().forgotten == before + 1
    cache.set("text", "c")
    assert cache.stats().forgotten == before + 1
    entries = len(cache.local)
    cache.clear()
    stats = cache.stats()
    assert stats.forgotten == before + 1 + entries
    assert stats.hit_ratio == 9 / 15
    assert type(stats).__name__ == "Stats"
    with pytest.raises(AttributeError):
        stats.hits = 0


def test_the_hit_ratio_before_the_first_read():
    """Nothing divided by nothing is nothing."""
    from tieredcache import Stats

    assert Stats().hit_ratio == 0


class CutOff(Exception):
    """What a signal handler raises during a change."""


class Cut(dict):
    """An index that is struck when something has been set in it."""

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        raise CutOff


def test_a_change_that_is_cut_off_leaves_nothing_in_the_lru_alone():
    """Where lru-dict alone held an entry, its destructor would run in the middle of the next update."""
    store, removed = Store(100, alone=False), []
    store.put("a", entry(1), 2, removed)
    store.index = Cut(store.index)
    with pytest.raises(CutOff):
        store.put("a", entry(2), 2, removed)
    store.index = dict(store.index)
    assert all(store.index.get(key) is kept for key, kept in store.lru.items())
    last = entry(3)
    assert store.put("a", last, 2, removed)
    assert store.index["a"] is store.lru["a"] is last


@pytest.mark.parametrize("function", [Store.put, Store.resize, Store.discard, Store.empty, Prefetch.note])
def test_a_finally_is_not_passed_by_when_an_exception_strikes_at_the_end_of_a_loop(function):
    """Python 3.12 and 3.13 leave the jump back of a ``while`` that lies in a ``try`` out of the exception table."""
    covered = [(entry.start, entry.end) for entry in dis._parse_exception_table(function.__code__)]
    jumps = [each for each in dis.get_instructions(function) if "JUMP_BACKWARD" in each.opname]
    in_a_try = [jump for jump in jumps if any(start <= jump.argval < end for start, end in covered)]
    assert [jump for jump in in_a_try if not any(start <= jump.offset < end for start, end in covered)] == []
