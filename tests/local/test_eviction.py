"""Which entries of a tier stay when it is full: those of keys that are read again."""

import itertools
import random

import pytest

from tests.support.copies import always
from tieredcache.config.options import TieredOptions
from tieredcache.local.entries import UNKNOWN
from tieredcache.local.eviction import LIVES, TRIES
from tieredcache.local.tier import LocalTier

ROOM = 20
# Keys are even numbers: their hashes are the same in every run, and a table of ghosts has room for the last 64 or more.
AGAIN = 1_000_000


@pytest.fixture
def tier(clock):
    """A tier of which nothing expires by chance."""
    return LocalTier(TieredOptions(local_timeout=60, jitter=0, max_entries=ROOM))


def read(tier, key):
    """As a cache reads: from the tier, or else from a remote that has every key. Whether it was a hit."""
    if tier.serve(key, always) is not UNKNOWN:
        return True
    tier.keep(tier.begin(key, None, key), "value", None)
    return False


def once(tier, count=ROOM, numbers=itertools.count(10_000, 2)):  # noqa: B008 - so that no two are alike
    """Read so many keys that have never been read, and never will be again."""
    for number in itertools.islice(numbers, count):
        assert not read(tier, number)


def test_entries_that_are_never_read_again_leave_in_the_order_of_their_last_use(tier):
    """Without evidence the policy is LRU."""
    for key in "abc":
        read(tier, key)
    once(tier, ROOM - 3)
    assert read(tier, "a")
    once(tier, 2)
    assert [key in tier.index for key in "abc"] == [True, False, False]
    assert tier.evictions == 2


@pytest.mark.parametrize("how", ["evicted", "expired", "forgotten"])
def test_a_key_that_is_read_again_outlives_a_scan(tier, clock, how):
    """It had left, by whichever way, or its copy was past its deadline: the second fill says that it is read again."""
    once(tier, ROOM + 1)
    read(tier, AGAIN)
    if how == "evicted":
        once(tier)
        assert AGAIN not in tier.index
    elif how == "expired":
        clock.move(61)
    else:
        tier.forget(AGAIN)
    assert not read(tier, AGAIN)
    once(tier, 4 * ROOM)
    assert AGAIN in tier.index
    once(tier, 2 * LIVES * ROOM)
    assert AGAIN not in tier.index, "it is not kept without an end"


def test_a_hit_gives_all_lives_back(tier):
    """What is read in every pass stays, and nothing is noted when it is: the order of the entries tells."""
    tier.keep(tier.begin(AGAIN, None, AGAIN), "value", None)
    tier.keep(tier.begin(AGAIN, None, AGAIN), "value", None)
    for _ in range(3 * LIVES):
        once(tier, ROOM - 4)
        assert read(tier, AGAIN)
    lives = tier.index[AGAIN].lives
    once(tier, 2 * ROOM)
    assert AGAIN in tier.index
    assert tier.index[AGAIN].lives < lives


def test_an_entry_past_its_deadline_gets_no_second_chance(tier, clock):
    """It would take the room of one that can be served; its key is remembered."""
    once(tier, ROOM + 1)
    read(tier, AGAIN)
    tier.forget(AGAIN)
    read(tier, AGAIN)
    clock.move(61)
    once(tier)
    assert AGAIN not in tier.index
    assert not read(tier, AGAIN)
    once(tier, 2 * ROOM)
    assert AGAIN in tier.index


def test_one_eviction_looks_at_few_entries(tier):
    """However many have lives."""
    for _ in range(2):
        for number in range(ROOM):
            tier.keep(tier.begin(number, None, number), "value", None)
    assert {entry.lives for entry in tier.index.values()} == {LIVES}
    once(tier, 1)
    assert tier._policy.moved == TRIES
    assert len(tier) == ROOM


def test_what_the_policy_moves_counts_as_no_read(tier):
    """Hits are what callers have read, whatever is moved meanwhile."""
    draw, hits = random.Random(1), 0
    for number in draw.choices(range(500), [1 / (1 + number) for number in range(500)], k=5000):
        hits += read(tier, number)
    assert tier._policy.moved > 100
    assert tier.hits == hits
    assert sorted(tier.index) == sorted(tier.lru.keys())
    assert len(tier) == ROOM


def test_what_is_remembered_is_bounded(tier):
    """By the room there is, and in numbers: no key is held."""
    once(tier, 50 * ROOM)
    assert len(tier._policy._ghosts) * tier._policy._ghosts.itemsize <= 32 * ROOM + 64


def shares(keys, room=500):
    """The shares of hits: of a tier, and of exact LRU."""
    tier, lru, hits = LocalTier(TieredOptions(local_timeout=1e9, max_entries=room)), {}, [0, 0]
    for key in keys:
        hits[0] += read(tier, key)
        hits[1] += key in lru
        lru.pop(key, None)
        lru[key] = None
        if len(lru) > room:
            del lru[next(iter(lru))]
    return [count / len(keys) for count in hits]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("exponent", "scan", "drift", "gain"),
    [(0.8, 0, 0, 0.03), (1.0, 0, 0, 0.03), (1.0, 1000, 0, 0.02), (1.0, 0, 100, 0.02), (1.0, 0, 10, -0.005)],
    ids=["exponent 0.8", "exponent 1", "scans", "drift", "fast drift"],
)
def test_more_reads_are_hits_than_under_exact_lru(exponent, scan, drift, gain):
    """Keys are drawn by Zipf's law; benchmarks.figures.eviction measures more, and a peer. Fast drift: no less is enough."""
    weights = [*itertools.accumulate(rank**-exponent for rank in range(1, 100_001))]
    keys = random.Random(1).choices(range(100_000), cum_weights=weights, k=60_000)
    if scan:
        keys = [-number if number % 5000 < scan else key for number, key in enumerate(keys)]
    if drift:
        keys = [key + number // drift for number, key in enumerate(keys)]
    ours, exact = shares(keys)
    assert ours > exact + gain
