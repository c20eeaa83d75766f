"""What docs/performance.md computes is what the package does."""

import pytest
from django.core.cache import caches
from django.test import override_settings

from benchmarks.figures import sizing
from benchmarks.micro.caches import Echo, over_echo

pytestmark = pytest.mark.slow


@pytest.fixture
def make(monkeypatch):
    """Makes a cache over a remote that has these keys and costs nothing."""
    overrides = []

    def cache(keys, **options):
        monkeypatch.setattr(Echo, "values", dict.fromkeys(keys, 1))
        overrides.append(override_settings(CACHES=over_echo("default", **options)))
        overrides[-1].enable()
        return caches["default"]

    yield cache
    while overrides:
        overrides.pop().disable()


@pytest.mark.parametrize(("rate", "timeout", "jitter"), [(0.1, 5, 0), (1, 1, 0), (1, 5, 0.5), (0.01, 60, 0)])
def test_hits_by_timeout(rate, timeout, jitter, make, clock):
    """Of a key that is read at random times: within two percent of all reads."""
    cache = make(["key"], LOCAL_TIMEOUT=timeout, JITTER=jitter)
    counted = sizing.measured_by_timeout(cache, rate, clock.move, reads=10_000)
    assert counted == pytest.approx(sizing.hits_by_timeout(rate, timeout, jitter), abs=0.02)


@pytest.mark.parametrize(("exponent", "capacity"), [(0.7, 1000), (0.9, 100), (1.1, 3000)])
def test_hits_by_capacity(exponent, capacity, make):
    """Of keys drawn by Zipf's law, near what exact LRU hits: the policy hits more, and in a large tier a little less."""
    cache = make([f"key{number}" for number in range(sizing.KEYS)], LOCAL_TIMEOUT=1e9, MAX_ENTRIES=capacity)
    shares = sizing.popularity(exponent)
    counted = sizing.measured_by_capacity(cache, shares, reads=20_000)
    assert -0.04 < counted - sizing.hits_by_capacity(shares, capacity) < 0.1


def test_remote_reads_a_second(make, clock):
    """Each worker asks for each hot key once per local timeout, which a jitter shortens by half of itself on average."""
    keys = [f"key{number}" for number in range(50)]
    cache = make(keys, LOCAL_TIMEOUT=5, JITTER=0.1)
    seconds = 500
    for _ in range(seconds * 20):
        clock.move(0.05)
        cache.get_many(keys)
    assert cache.stats().remote_hits / seconds == pytest.approx(50 / (5 * 0.95), rel=0.02)
