"""Any history of reads, writes and clock moves on an LRUCache, against a dict in order of use."""

import pytest
from django.core.cache import caches
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

KEYS = st.sampled_from(["a", "b", "c", "d", "1"])
VALUES = st.sampled_from([0, 1, None, "text", [1], {"a": [1]}, (1, 2)])
ABSENT = "the key is absent"


class LRUMachine(RuleBasedStateMachine):
    """LRUCache against a list of what is in it, in order of use, with deadlines."""

    clock = None
    capacity = None

    def __init__(self):
        super().__init__()
        self.cache = caches["default"]
        self.cache.clear()
        self.model = {}  # in order of use; the last is the most recently used

    def live(self, key):
        found = self.model.get(key)
        if found is not None and found[1] is not None and found[1] <= self.clock():
            return None
        return found

    def put(self, key, value, timeout):
        self.model.pop(key, None)
        if timeout is not None and timeout <= 0:
            return
        self.model[key] = (value, None if timeout is None else self.clock() + timeout)
        if len(self.model) > self.capacity:
            del self.model[next(iter(self.model))]

    TIMEOUTS = st.sampled_from([None, 0, -1, 0.5, 1, 10])

    @rule(key=KEYS, value=VALUES, timeout=TIMEOUTS)
    def set(self, key, value, timeout):
        self.cache.set(key, value, timeout)
        self.put(key, value, timeout)

    @rule(key=KEYS, value=VALUES, timeout=TIMEOUTS)
    def add(self, key, value, timeout):
        absent = self.live(key) is None
        assert self.cache.add(key, value, timeout) is absent
        if absent:
            self.put(key, value, timeout)

    @rule(key=KEYS)
    def get(self, key):
        found = self.live(key)
        assert self.cache.get(key, ABSENT) is (ABSENT if found is None else found[0])
        self.model.pop(key, None)
        if found is not None:
            self.model[key] = found

    @rule(key=KEYS)
    def has_key(self, key):
        found = self.live(key)
        assert self.cache.has_key(key) is (found is not None)

    @rule(key=KEYS, timeout=TIMEOUTS)
    def touch(self, key, timeout):
        found = self.live(key)
        assert self.cache.touch(key, timeout) is (found is not None)
        if found is not None:
            ended = timeout is not None and timeout <= 0
            self.model[key] = (found[0], None if timeout is None else float("-inf") if ended else self.clock() + timeout)

    @rule(key=KEYS)
    def incr(self, key):
        found = self.live(key)
        if found is None:
            with pytest.raises(ValueError, match="not found"):
                self.cache.incr(key)
        elif type(found[0]) is int:
            assert self.cache.incr(key, 3) == found[0] + 3
            self.model.pop(key)
            self.model[key] = (found[0] + 3, found[1])

    @rule(key=KEYS)
    def delete(self, key):
        assert self.cache.delete(key) is (self.live(key) is not None)
        self.model.pop(key, None)

    @rule(keys=st.lists(KEYS, max_size=4))
    def get_many(self, keys):
        expected = {}
        for key in keys:
            found = self.live(key)
            self.model.pop(key, None)
            if found is not None:
                expected[key] = found[0]
                self.model[key] = found
        assert self.cache.get_many(keys) == expected

    @rule()
    def clear(self):
        self.cache.clear()
        self.model.clear()

    @rule(seconds=st.sampled_from([0.25, 0.5, 5]))
    def time_passes(self, seconds):
        self.clock.move(seconds)

    @invariant()
    def the_bytes_are_those_of_the_entries(self):
        store = self.cache._store
        assert store.bytes == sum(entry.size for entry in store.index.values())

    @invariant()
    def the_order_is_exact(self):
        assert list(reversed(self.cache._store.lru.keys())) == list(self.model)
        assert set(self.cache._store.index) == set(self.model)


@pytest.mark.parametrize("capacity", [1, 3])
def test_an_lru_cache_does_what_the_model_does(capacity, clock, make_lru):
    """Values, timeouts, order and evictions, exactly."""
    make_lru(OPTIONS={"MAX_ENTRIES": capacity, "MAX_BYTES": "1MB"})
    run_state_machine_as_test(
        type("Machine", (LRUMachine,), {"clock": clock, "capacity": capacity}),
        settings=settings(max_examples=100, stateful_step_count=40, suppress_health_check=list(HealthCheck)),
    )
