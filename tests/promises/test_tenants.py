"""Keys by tenant: two tenants share a local entry exactly where they share a remote one."""

import contextvars
import uuid

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import default_key_func
from django.core.cache.backends.locmem import LocMemCache
from django.test import override_settings

from tests.support.bounded import Run
from tests.support.tables import refuses
from tieredcache.lookups import LookupTable

TIERED = "tieredcache.backends.TieredCache"
LRU = "tieredcache.backends.LRUCache"

tenant = contextvars.ContextVar("tenant", default=1)


class PrefixOfTenant(LocMemCache):
    """Puts the tenant before every key."""

    @property
    def key_prefix(self):
        return f"tenant{tenant.get()}"

    @key_prefix.setter
    def key_prefix(self, value):
        """Ignores what BaseCache assigns."""


class VersionOfTenant(LocMemCache):
    """Takes the tenant for the version."""

    @property
    def version(self):
        return tenant.get()

    @version.setter
    def version(self, value):
        """Ignores what BaseCache assigns."""


class MadeAndValidatedByTenant(LocMemCache):
    """Changes keys in the step that all of Django's methods go through."""

    def make_and_validate_key(self, key, version=None):
        return f"tenant{tenant.get()}:{super().make_and_validate_key(key, version=version)}"


class MadeByTenant(LocMemCache):
    """Changes keys where they are made."""

    def make_key(self, key, version=None):
        return f"tenant{tenant.get()}:{super().make_key(key, version=version)}"


def key_of_tenant(key, key_prefix, version):
    return f"{key_prefix}:{version}:tenant{tenant.get()}:{key}"


class NoTenant(LocMemCache):
    """One key for all tenants: what must be shared."""


REMOTES = {
    "key_prefix": {"BACKEND": f"{__name__}.PrefixOfTenant"},
    "version": {"BACKEND": f"{__name__}.VersionOfTenant"},
    "make_and_validate_key": {"BACKEND": f"{__name__}.MadeAndValidatedByTenant"},
    "make_key": {"BACKEND": f"{__name__}.MadeByTenant"},
    "KEY_FUNCTION": {"BACKEND": f"{__name__}.NoTenant", "KEY_FUNCTION": key_of_tenant},
    "none": {"BACKEND": f"{__name__}.NoTenant"},
}


@pytest.fixture(params=REMOTES)
def remote(request):
    return {**REMOTES[request.param], "LOCATION": uuid.uuid4().hex}


def by_get(cache):
    return [cache.set("key", f"of {tenant.get()}"), cache.get("key"), cache.get("key")][1:]


def by_get_of_another_version(cache):
    cache.set("key", f"of {tenant.get()}", version=7)
    return [cache.get("key", version=7), cache.get("key", version=7)]


def by_get_many(cache):
    cache.set_many({"a": f"a of {tenant.get()}", "b": f"b of {tenant.get()}"})
    return [cache.get_many(["a", "b"]), cache.get_many(["a", "b", "absent"])]


def by_get_or_set(cache):
    return [cache.get_or_set("key", lambda: f"of {tenant.get()}"), cache.get("key")]


def by_add(cache):
    return [cache.add("key", f"of {tenant.get()}"), cache.get("key")]


def by_counting(cache):
    cache.add("count", 10 * tenant.get())
    return [cache.incr("count"), cache.get("count")]


def by_deleting(cache):
    cache.set("key", f"of {tenant.get()}")
    return [cache.get("key"), cache.delete("key"), cache.get("key"), cache.has_key("key")]


WAYS = [by_get, by_get_of_another_version, by_get_many, by_get_or_set, by_add, by_counting, by_deleting]


def traffic(cache, way):
    """What two tenants are given one after the other, and then what is found by each of them and by a third."""
    given = []
    for each in (1, 2):
        tenant.set(each)
        given.append(way(cache))
    for each in (2, 1, 2, 3, 1):
        tenant.set(each)
        given.append([cache.get("key"), cache.get("count"), cache.get("key", version=7), cache.has_key("key")])
        given.append([cache.get_many(["key", "a", "b"]), cache.get_many(["a"]), cache.get("a"), cache.get("absent", 0)])
    return given


def over(config, run):
    """``run(cache)`` over these settings, with a context of its own."""
    with override_settings(CACHES=config):
        for alias in config:
            caches[alias].clear()
        return contextvars.copy_context().run(run, caches["default"])


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_tenants_are_served_what_the_remote_alone_serves_when_keys_depend_on_them(remote, way, mode):
    """Through the tier each tenant sees its own values, and where the remote has one value for all, that one."""
    tiered = {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": {"LOCAL_TIMEOUT": 60, "MISS_TIMEOUT": 60}}

    def run(cache):
        return traffic(mode(cache), way)

    alone = over({"default": remote}, run)
    assert over({"default": tiered, "remote": {**remote, "LOCATION": uuid.uuid4().hex}}, run) == alone


def test_what_decides_the_keys_is_noticed_when_it_is_assigned_to_the_remote(mode):
    """The next read or write that reaches the remote notices it; from then on the remote makes every key."""
    remote = {"BACKEND": f"{__name__}.NoTenant", "LOCATION": uuid.uuid4().hex}
    tiered = {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": {"LOCAL_TIMEOUT": 60}}

    key_funcs = default_key_func, lambda key, prefix, version: f"other:{prefix}:{version}:{key}"
    for name, first, second in (("key_prefix", "one", "two"), ("version", 1, 2), ("key_func", *key_funcs)):

        def run(cache, name=name, first=first, second=second):
            keys = getattr(cache, "remote", cache)
            given = []
            for value in (first, second, first, second):
                setattr(keys, name, value)
                given.append(mode(cache).get("absent"))
                given.append(mode(cache).get_or_set("key", lambda value=value: f"under {value}"))
                given.append(mode(cache).get("key"))
            return given

        alone = over({"default": remote}, run)
        assert over({"default": tiered, "remote": {**remote, "LOCATION": uuid.uuid4().hex}}, run) == alone


@pytest.fixture
def first_tenant():
    token = tenant.set(1)
    yield
    tenant.reset(token)


@pytest.fixture(params=[*(name for name in REMOTES if name != "none"), "lru"])
def tenants_cache(request, make_cache, make_lru, first_tenant):
    if request.param == "lru":
        return make_lru(KEY_FUNCTION=key_of_tenant)
    return make_cache({**REMOTES[request.param], "LOCATION": uuid.uuid4().hex}, LOCAL_TIMEOUT=5, JITTER=0)


def tenants_table(broken=None):
    def source():
        if broken:
            raise broken[0]
        return [{"code": "GB", "tenant": tenant.get()}]

    return LookupTable("table", source, key="code", timeout=60)


def test_each_tenant_has_its_rows(tenants_cache, mode):
    """However the cache tells tenants apart; cold, warm and reloaded."""
    table = tenants_table()
    for _ in range(2):
        for name in (1, 2):
            tenant.set(name)
            for _ in range(2):
                assert mode(table).get("GB").tenant == table["GB"].tenant == name
            mode(table).reload()
            assert table["GB"].tenant == name


def test_tenants_are_told_apart_while_the_source_fails(tenants_cache, clock):
    """A tenant whose rows this process has is served them; another one gets the error, and nobody else's rows."""
    broken = []
    table = tenants_table(broken)
    assert table["GB"].tenant == 1
    broken.append(RuntimeError("away"))
    tenants_cache.delete("table")
    clock.move(61)
    for _ in range(2):
        tenant.set(1)
        assert table["GB"].tenant == 1
        tenant.set(2)
        with pytest.raises(RuntimeError, match="away"):
            table["GB"]


def test_rows_that_the_cache_does_not_keep_are_held_by_tenant(make_cache, monkeypatch, first_tenant):
    """In an outage that is ignored."""
    cache = make_cache(REMOTE_ERRORS="ignore", remote_alias={"KEY_FUNCTION": key_of_tenant})

    refuses(monkeypatch, cache.remote, "get", "set", "add")
    table = tenants_table()
    for name in (1, 2, 1, 2):
        tenant.set(name)
        assert table["GB"].tenant == name


@pytest.mark.parametrize(("name", "value"), [("key_prefix", "other"), ("version", 2), ("key_func", key_of_tenant)])
def test_assigning_raises_and_names_the_remedy_when_it_belongs_to_the_remote(make_cache, name, value):
    """What the remote's keys are made with is the remote's, and a tiered alias that ignored it would mix up tenants."""
    cache = make_cache(LOCAL_TIMEOUT=60)
    before = getattr(cache, name)
    with pytest.raises(AttributeError, match="remote") as raised:
        setattr(cache, name, value)
    assert name in str(raised.value)
    assert getattr(cache, name) == before
    cache.set("key", "value")
    assert cache.get("key") == cache.remote.get("key") == "value"


def assigned(cache, name, values, mode):
    """What is found while ``name`` of ``cache`` changes, and by another instance with the same store."""
    given = []
    default = getattr(cache, name)
    for value in [*values, *values, default]:
        setattr(cache, name, value)
        given.append(mode(cache).get("key"))
        given.append(mode(cache).get_many(["key"]))
        given.append(mode(cache).add("key", f"under {value}"))
        given.append([mode(cache).get("key"), mode(cache).get("key", version=5), mode(cache).has_key("key")])
    given.append(caches["same"].get("key"))
    mode(cache).delete("key")
    given.append([mode(cache).get("key"), caches["same"].get("key")])
    return given


def of_one(key, key_prefix, version):
    return f"one:{key}"


def of_two(key, key_prefix, version):
    return f"two:{key}"


CHANGES = [("key_prefix", ["one", "two"]), ("version", [2, 3]), ("key_func", [of_one, of_two])]


@pytest.mark.parametrize(("name", "values"), CHANGES, ids=[name for name, _ in CHANGES])
def test_assigning_takes_effect_when_the_cache_is_an_lru_cache(name, values, mode):
    """As on Django's LocMemCache: keys are made with what the instance has when it is called."""

    def over_backend(backend):
        config = {"BACKEND": backend, "LOCATION": uuid.uuid4().hex}
        return over({"default": config, "same": config}, lambda cache: assigned(cache, name, values, mode))

    assert over_backend(LRU) == over_backend("django.core.cache.backends.locmem.LocMemCache")


def two_aliases():
    options = {"LOCAL_TIMEOUT": 3600}
    return override_settings(
        CACHES={
            "default": {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": options},
            "other": {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": dict(options)},
            "remote": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": uuid.uuid4().hex},
        }
    )


@pytest.mark.parametrize("read_before", [True, False])
def test_all_tiers_over_a_remote_notice_its_prefix(read_before):
    """What is written through one is forgotten by the others, however their keys were made before."""
    with two_aliases():
        one, other = caches["default"], caches["other"]
        one.set("key", "old")
        if read_before:
            assert other.get("key") == "old"

        def in_a_thread():
            caches["remote"].key_prefix = "tenant"  # of this thread's instance alone
            caches["default"].get("key")

        Run(in_a_thread).result()
        assert other.get("key") == "old"
        one.set("key", "new")
        assert other.get("key") == "new"
        one.delete("key")
        assert other.get("key") is None


def test_no_copy_is_kept_under_a_key_that_was_made_before_the_prefix_was_noticed(monkeypatch):
    """The hit path would go on finding it for every tenant."""
    with two_aliases():
        cache = caches["default"]
        cache.set("key", "of nobody")
        begin = cache._tier.begin

        def late(*asked):
            monkeypatch.undo()
            caches["remote"].key_prefix = "tenant"
            cache.get("another")
            del caches["remote"].key_prefix
            caches["remote"].key_prefix = ""
            return begin(*asked)

        monkeypatch.setattr(cache._tier, "begin", late)
        assert cache.get("key") == "of nobody"
        assert "key" not in cache._tier.index
