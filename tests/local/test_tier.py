"""The local tier by itself: no old value comes back, in whatever order readers, writers and evictions take their steps.

The steps are taken in one thread: what another thread, a signal handler or a destructor would do in between is called there.
"""

import pytest

from tests.support.copies import always
from tieredcache.config.options import TieredOptions
from tieredcache.local.entries import MISSING, UNKNOWN, Entry
from tieredcache.local.tier import MARKS, LocalTier


class Stepping(LocalTier):
    """A local tier that calls ``between[step]``, once, at that step of ``keep``."""

    def __init__(self, options):
        super().__init__(options)
        self.between = {}

    def step(self, name):
        self.between.pop(name, lambda: None)()

    def put(self, *args):
        self.step("before put")
        done = super().put(*args)
        self.step("after put")
        return done

    def _entry(self, *args):
        made = super()._entry(*args)
        tier = self

        class Watched(Entry):
            __slots__ = ()

            def publish(self, until):
                tier.step("before publish")
                super().publish(until)
                tier.step("after publish")

            def kill(self):
                tier.step("before kill")
                return super().kill()

        if made is not None:
            made.__class__ = Watched
        return made


@pytest.fixture
def make_tier(clock):
    """Makes a tier of which nothing expires by chance."""

    def make(**options):
        return Stepping(TieredOptions(**{"local_timeout": 60, "jitter": 0, **options}))

    return make


def served(tier, key="key"):
    return tier.serve(key, always)


def fill(tier, value, key="key", ttl=None):
    """Read ``key`` from a remote that has this value."""
    return tier.keep(tier.begin(key, None, key), value, ttl)


def consistent(tier):
    return sorted(tier.index, key=str) == sorted(tier.lru.keys(), key=str)


VALUES = pytest.mark.parametrize("value", ["text", ["list"], MISSING], ids=["shared", "pickled", "absent"])
FORGET = pytest.mark.parametrize(
    "forget", [lambda tier: tier.forget("key"), lambda tier: tier.forget_all()], ids=["forget", "forget_all"]
)


@VALUES
def test_what_is_kept_is_served_until_its_deadline(make_tier, clock, value):
    """Counted from before the remote was asked."""
    tier = make_tier(local_timeout=5, miss_timeout=5)
    read = tier.begin("key", None, "key")
    clock.move(3)
    assert tier.keep(read, value, None) is value
    assert served(tier) == value
    clock.move(1.875)
    assert served(tier) == value
    clock.move(0.125)
    assert served(tier) is UNKNOWN


@VALUES
@FORGET
def test_a_forget_between_begin_and_keep_publishes_nothing(make_tier, value, forget):
    """The answer may be older than the write. A reader that asks after it may keep what it gets."""
    tier = make_tier(miss_timeout=60)
    read = tier.begin("key", None, "key")
    forget(tier)
    assert tier.keep(read, value, None) is value
    assert served(tier) is UNKNOWN
    assert len(tier) == 0
    fill(tier, "new")
    assert served(tier) == "new"


@FORGET
@pytest.mark.parametrize("step", ["before put", "after put", "before publish", "after publish"])
@pytest.mark.parametrize("value", ["old", ["old"]], ids=["shared", "pickled"])
def test_a_forget_amid_a_fill_serves_nothing(make_tier, step, value, forget):
    """It replaces the mark before it kills: either the fill sees the mark, or its entry is dead when it is published."""
    tier = make_tier()
    tier.between[step] = lambda: forget(tier)
    assert fill(tier, value) is value
    assert tier.between == {}, "the step was not taken"
    assert served(tier) is UNKNOWN
    assert consistent(tier)
    fill(tier, "new")
    assert served(tier) == "new"


def test_a_copy_that_makes_way_is_not_served_after_a_forget(make_tier):
    """A fill replaces a live copy, as under ``fresh()``, and a write comes while the old one is killed."""
    tier = make_tier()
    fill(tier, "old")
    found = []
    tier.between["before kill"] = lambda: (tier.forget("key"), found.append(served(tier)))
    fill(tier, "read before the write")
    assert found == [UNKNOWN]
    assert served(tier) is UNKNOWN
    assert consistent(tier)


def test_two_keys_of_one_mark_cost_each_other_a_refill(make_tier):
    """And nothing else: what has been kept of the one stays when the other is forgotten."""
    tier = make_tier()
    one, other = 1, 1 + MARKS
    assert tier.mark(one) is tier.mark(other)
    read = tier.begin(one, None, one)
    tier.forget(other)
    assert tier.keep(read, "value", None) == "value"
    assert served(tier, one) is UNKNOWN
    fill(tier, "value", one)
    tier.forget(other)
    assert served(tier, one) == "value"


def test_a_forget_of_a_key_of_another_mark_costs_nothing(make_tier):
    """The test above would pass if every forget replaced all marks."""
    tier = make_tier()
    read = tier.begin(1, None, 1)
    tier.forget(2)
    tier.keep(read, "value", None)
    assert served(tier, 1) == "value"


@pytest.mark.parametrize("step", ["after put", "before publish"])
def test_an_entry_that_is_evicted_before_it_is_published_is_gone(make_tier, step):
    """Another fill takes its place; it is published all the same, and nobody finds it."""
    tier = make_tier(max_entries=1)
    tier.between[step] = lambda: fill(tier, "other value", "other")
    assert fill(tier, "value") == "value"
    assert tier.between == {}
    assert served(tier) is UNKNOWN
    assert served(tier, "other") == "other value"
    assert tier.evictions == 1
    assert consistent(tier)


def test_a_fill_whose_entry_was_evicted_leaves_the_newer_one(make_tier):
    """A write came in between, so it takes its own entry out again: another has the place by then."""
    tier = make_tier(max_entries=1)

    def evict_and_write():
        fill(tier, "other value", "other")
        tier.forget("key")
        fill(tier, "new")

    tier.between["after put"] = evict_and_write
    assert fill(tier, "old") == "old"
    assert served(tier) == "new"
    assert consistent(tier)


@pytest.mark.parametrize("order", ["first, second", "second, first"])
def test_of_two_reads_the_one_that_began_later_is_kept(make_tier, clock, order):
    """Whichever ends first: the later one cannot have seen an older value."""
    tier = make_tier()
    reads = {"first": tier.begin("key", None, "key")}
    clock.move(1)
    reads["second"] = tier.begin("key", None, "key")
    for name in order.split(", "):
        assert tier.keep(reads[name], f"of the {name}", None) == f"of the {name}"
    assert served(tier) == "of the second"


class Unpicklable:
    """A mutable value that only the remote can hold."""

    def __reduce__(self):
        raise TypeError("not me")


@pytest.mark.parametrize(
    ("answer", "ttl"),
    [(MISSING, None), (Unpicklable(), None), ("gone at once", 0)],
    ids=["absent", "unpicklable", "expired"],
)
def test_an_answer_that_cannot_be_kept_takes_the_older_copy_away(make_tier, clock, answer, ttl):
    """A reader that demanded freshness has seen the newer value: the next one is not taken back behind it."""
    tier = make_tier()
    fill(tier, "old")
    clock.move(1)
    assert fill(tier, answer, ttl=ttl) is answer
    assert served(tier) is UNKNOWN
    assert len(tier) == 0


def test_an_answer_that_cannot_be_kept_leaves_a_newer_copy(make_tier, clock):
    """It was asked for before that."""
    tier = make_tier()
    read = tier.begin("key", None, "key")
    clock.move(1)
    fill(tier, "new")
    assert tier.keep(read, MISSING, None) is MISSING
    assert served(tier) == "new"


def test_a_fill_amid_a_change_is_returned_and_not_kept(make_tier):
    """As in a destructor that the garbage collector runs there."""
    tier = make_tier()
    tier.busy = True
    assert fill(tier, "value") == "value"
    tier.busy = False
    assert len(tier) == 0
    assert tier.skipped == 1


@pytest.mark.parametrize(("ttl", "end"), [(None, 8), (7, 7)], ids=["the option", "the remote entry"])
def test_one_reader_refreshes_a_stale_copy_and_the_others_are_served_it(make_tier, clock, ttl, end):
    """Until STALE_WHILE_REVALIDATE or the remote entry ends, whichever is first; every RETRY_AFTER another one asks."""
    tier = make_tier(local_timeout=5, stale_while_revalidate=3, retry_after=1)
    fill(tier, "stale", ttl=ttl)
    clock.move(5)
    for _ in range(5, end):
        assert served(tier) is UNKNOWN, "this reader asks"
        assert served(tier) == "stale"
        clock.move(0.875)
        assert served(tier) == "stale"
        clock.move(0.125)
    assert served(tier) is served(tier) is UNKNOWN
