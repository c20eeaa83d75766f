"""Any history of reads, writes, clock moves, evictions and failures, against a plain model of the promises.

The model knows, for each key the remote has ever held, what it held when. A read must return what the remote holds now, or,
where another process has written since, a value that was current at some time within the local timeout before the read; and
never one older than this process's own last write. That is all that a tier may do.
"""

import contextlib
import uuid

import pytest
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.test import override_settings
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.support.caches import TIERED, remote_settings
from tests.support.doubles import RemoteDouble

KEYS = st.sampled_from(["a", "b", "c", "d", 1])
VERSIONS = st.sampled_from([None, 1, 2])
VALUES = st.sampled_from([0, 1, None, "text", [1], {"a": [1]}, (1, 2)])
LOCAL_TIMEOUT, MISS_TIMEOUT, STALE_IF_ERROR = 5.0, 2.0, 3.0
ABSENT = "the key is absent"


class TieredMachine(RuleBasedStateMachine):
    """Over a real remote; the clock of the tier is ours. Values do not expire in the remote by themselves here."""

    clock = None
    values = VALUES
    counts = True
    reading = contextlib.nullcontext  # where no read fails

    def __init__(self):
        super().__init__()
        self.cache = caches["default"]
        self.remote = caches["remote"]
        self.cache.clear()
        # By (key, version): what the remote held, from when, and since when this process has known of nothing older.
        self.history = {}
        self.own = {}

    def place(self, key, version):
        return str(key), version or 1

    def now_holds(self, key, version, value, *, own):
        place = self.place(key, version)
        self.history.setdefault(place, [(float("-inf"), ABSENT)]).append((self.clock(), value))
        if own:
            self.own[place] = len(self.history[place]) - 1

    def held(self, key, version):
        return self.history.get(self.place(key, version), [(0, ABSENT)])[-1][1]

    def allowed(self, key, version):
        """What a read may return: what was current within the bound, and not before the own last write."""
        place = self.place(key, version)
        history = self.history.get(place, [(float("-inf"), ABSENT)])
        first = self.own.get(place, 0)
        found = []
        for number in range(len(history) - 1, first - 1, -1):
            found.append(history[number][1])
            if history[number][0] <= self.clock() - self.bound():
                break
        return found

    def bound(self):
        return LOCAL_TIMEOUT

    def check(self, key, version, value):
        allowed = self.allowed(key, version)
        assert any(value is ABSENT if one is ABSENT else (type(value), value) == (type(one), one) for one in allowed), (
            value,
            allowed,
        )

    @rule(key=KEYS, version=VERSIONS)
    def get(self, key, version):
        with self.reading():
            self.check(key, version, self.cache.get(key, ABSENT, version))

    @rule(keys=st.lists(KEYS, max_size=6), version=VERSIONS)
    def get_many(self, keys, version):
        with self.reading():
            found = self.cache.get_many(keys, version)
            for key in keys:
                self.check(key, version, found.get(key, ABSENT))

    @rule(key=KEYS, version=VERSIONS)
    def mutate_what_was_read(self, key, version):
        with self.reading():
            value = self.cache.get(key, None, version)
            if isinstance(value, list):
                value.append("mutated")
            elif isinstance(value, dict):
                value["mutated"] = True

    @rule(key=KEYS, version=VERSIONS)
    def has_key(self, key, version):
        with self.reading():
            found = self.cache.has_key(key, version)
            assert any((one is not ABSENT) is bool(found) for one in self.allowed(key, version))

    @rule(key=KEYS, version=VERSIONS, data=st.data())
    def set(self, key, version, data):
        value = data.draw(self.values)
        self.cache.set(key, value, None, version)
        self.now_holds(key, version, value, own=True)

    @rule(key=KEYS, version=VERSIONS, timeout=st.sampled_from([0, -1]))
    def set_for_no_time(self, key, version, timeout):
        self.cache.set(key, 5, timeout, version)
        self.now_holds(key, version, ABSENT, own=True)

    @rule(keys=st.lists(KEYS, min_size=1, max_size=4, unique=True), version=VERSIONS, data=st.data())
    def set_many(self, keys, version, data):
        value = data.draw(self.values)
        self.cache.set_many(dict.fromkeys(keys, value), None, version)
        for key in keys:
            self.now_holds(key, version, value, own=True)

    @rule(key=KEYS, version=VERSIONS, data=st.data())
    def add(self, key, version, data):
        value = data.draw(self.values)
        absent = self.held(key, version) is ABSENT
        assert bool(self.cache.add(key, value, None, version)) is absent
        self.now_holds(key, version, value if absent else self.held(key, version), own=True)

    @rule(key=KEYS, version=VERSIONS)
    def incr(self, key, version):
        held = self.held(key, version)
        if type(held) is int and self.counts:
            assert self.cache.incr(key, 2, version) == held + 2
            self.now_holds(key, version, held + 2, own=True)
        elif held is ABSENT and self.counts:
            with pytest.raises(ValueError, match="not found"):
                self.cache.incr(key, 2, version)

    @rule(key=KEYS, version=VERSIONS)
    def touch(self, key, version):
        held = self.held(key, version)
        assert bool(self.cache.touch(key, 1000, version)) is (held is not ABSENT)
        self.now_holds(key, version, held, own=True)

    @rule(key=KEYS, version=VERSIONS)
    def delete(self, key, version):
        self.cache.delete(key, version)
        self.now_holds(key, version, ABSENT, own=True)

    @rule(keys=st.lists(KEYS, max_size=4), version=VERSIONS)
    def delete_many(self, keys, version):
        self.cache.delete_many(keys, version)
        for key in keys:
            self.now_holds(key, version, ABSENT, own=True)

    @rule(key=KEYS, data=st.data())
    def get_or_set(self, key, data):
        value = data.draw(self.values)
        got = self.cache.get_or_set(key, lambda: value, None)
        if self.held(key, None) is ABSENT and self.remote.get(key, ABSENT) is not ABSENT:
            self.now_holds(key, None, value, own=True)
        self.check(key, None, got)

    @rule()
    def clear(self):
        self.cache.clear()
        for key, version in list(self.history):
            self.now_holds(key, version, ABSENT, own=True)

    @rule(key=KEYS, version=VERSIONS)
    def forget(self, key, version):
        self.cache.local.forget(key, version)
        place = self.place(key, version)
        self.own[place] = len(self.history.setdefault(place, [(float("-inf"), ABSENT)])) - 1

    @rule()
    def forget_all(self):
        self.cache.local.clear()
        for place, history in self.history.items():
            self.own[place] = len(history) - 1

    @rule(key=KEYS, version=VERSIONS, data=st.data())
    def another_process_sets(self, key, version, data):
        value = data.draw(self.values)
        self.remote.set(key, value, timeout=None, version=version)
        self.now_holds(key, version, value, own=False)

    @rule(key=KEYS, version=VERSIONS)
    def another_process_deletes(self, key, version):
        self.remote.delete(key, version=version)
        self.now_holds(key, version, ABSENT, own=False)

    @rule(seconds=st.sampled_from([0.1, 1.9, 2.0, 4.9, 5.0, 5.1]))
    def time_passes(self, seconds):
        self.clock.move(seconds)

    @invariant()
    def the_store_is_sound(self):
        tier = self.cache._tier
        assert len(tier.index) == len(tier.lru) <= tier.options.max_entries
        if tier.max_bytes:
            assert tier.bytes == sum(entry.size for entry in tier.index.values()) <= tier.max_bytes
        assert not self.cache.inflight.under_way


class FailingMachine(TieredMachine):
    """Over a remote that fails and comes back: writes may have been done, and reads may be served stale copies.

    Stale ones only from a failed read until the next one that succeeds, and never older than STALE_IF_ERROR allows. In that
    time ``get_or_set`` may return what it has computed without writing it.
    """

    def __init__(self):
        super().__init__()
        RemoteDouble.reset()
        self.cache._tier.after_fork()  # no outage left over from the example before
        self.outage = False
        self.reads = RemoteDouble.reads

    def bound(self):
        if RemoteDouble.reads > self.reads:  # the last one decides
            self.outage = RemoteDouble.broken_reads is not None
            self.reads = RemoteDouble.reads
        return LOCAL_TIMEOUT + (STALE_IF_ERROR if self.outage else 0)

    @contextlib.contextmanager
    def reading(self):
        try:
            yield
        except ConnectionError:
            self.bound()
            assert self.outage, "an error without an outage"

    @rule(key=KEYS, data=st.data())
    def get_or_set(self, key, data):
        value = data.draw(self.values)
        computed = []
        got = ABSENT
        with self.reading():
            got = self.cache.get_or_set(key, lambda: computed.append(value) or value, None)
        # Before anything else: an absence that was remembered may have been added to, and only the read after that failed.
        if self.held(key, None) is ABSENT and self.remote_holds(key) is not ABSENT:
            self.now_holds(key, None, value, own=True)
        if got is ABSENT:
            return
        self.bound()
        if self.outage and computed:
            assert (type(got), got) == (type(value), value)
        else:
            self.check(key, None, got)

    def remote_holds(self, key):
        return LocMemCache.get(self.remote, key, ABSENT)

    @rule(key=KEYS, version=VERSIONS, data=st.data())
    def a_failing_set(self, key, version, data):
        value = data.draw(self.values)
        RemoteDouble.broken = ConnectionError("gone")
        try:
            with pytest.raises(ConnectionError):
                self.cache.set(key, value, None, version)
        finally:
            RemoteDouble.broken = None
        self.now_holds(key, version, value, own=True)

    @rule()
    def reads_fail(self):
        self.bound()  # while it can still be told whether the last read succeeded
        RemoteDouble.broken_reads = ConnectionError("gone")

    @rule()
    def reads_succeed(self):
        self.bound()
        RemoteDouble.broken_reads = None


JSON = st.sampled_from([0, 1, "text", [1], {"a": [1]}])
REMOTES = {
    "locmem": (TieredMachine, VALUES),
    "by bytes": (TieredMachine, VALUES),
    "failing": (FailingMachine, VALUES),
    "fakeredis": (TieredMachine, VALUES),
    "django-redis": (TieredMachine, VALUES),
    "django-redis-json": (TieredMachine, JSON),
    "django": (TieredMachine, VALUES),
    "memcached": (TieredMachine, VALUES),
}


@pytest.mark.parametrize("kind", REMOTES)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_tier_does_what_the_model_allows(kind, request, clock):
    """Over every remote (fakeredis has no scripts, and so no incr), whatever happens in whichever order."""
    machine, values = REMOTES[kind]
    if kind == "failing":
        remote = {"BACKEND": "tests.support.doubles.RemoteDouble", "LOCATION": uuid.uuid4().hex}
    else:
        remote = remote_settings("locmem" if kind == "by bytes" else kind, request)
    options = {
        "LOCAL_TIMEOUT": LOCAL_TIMEOUT,
        "MISS_TIMEOUT": MISS_TIMEOUT,
        "MAX_ENTRIES": 3,
        "JITTER": 0,
        "STALE_IF_ERROR": STALE_IF_ERROR,
    }
    if kind == "by bytes":
        options |= {"MAX_ENTRIES": 12, "MAX_BYTES": 3800}  # eight or nine of fifteen keys
    tiered = {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": options}
    with override_settings(CACHES={"default": tiered, "remote": remote}):
        run_state_machine_as_test(
            type("Machine", (machine,), {"clock": clock, "values": values, "counts": kind != "fakeredis"}),
            settings=settings(
                max_examples=45 if kind in {"locmem", "by bytes", "failing"} else 20,  # with a server it is slow
                stateful_step_count=40,
                deadline=None,
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
        caches.close_all()
