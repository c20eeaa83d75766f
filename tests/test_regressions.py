"""What once broke a promise, each under the promise's name."""

import asyncio
import enum
import pickle
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest
import redis
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from tests.conftest import LRU, TIERED
from tests.doubles import RemoteDouble
from tieredcache import fresh
from tieredcache.backends import lru
from tieredcache.readers.base import Reader
from tieredcache.registry import longest_bound, make_tiers

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.* on sharded client:UserWarning"),
]
LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}


class Colour(str, enum.Enum):  # noqa: UP042 - whose str() is not its value
    RED = "red"


def test_the_proof_of_immutability_is_linear(make_cache):
    """A value whose parts are shared has more paths than anybody can walk."""
    value = ("x",)
    for _ in range(200):
        value = (value, value)
    settings = {"default": {"BACKEND": TIERED, "LOCATION": "remote"}, "remote": {"BACKEND": LRU, "LOCATION": "deep"}}
    with override_settings(CACHES=settings):
        caches["remote"].set("key", value)
        assert caches["default"].get("key") is value
        assert caches["default"].get("key") is value


@pytest.mark.parametrize("kind", ["locmem", "memcached", "django", "django-redis", "django-redis-shard"])
def test_equal_keys_that_the_remote_tells_apart(kind, make_cache, mode):
    """One get_many of 1 and True, or of a string and an enum member equal to it: each key keeps its own value."""
    cache = make_cache(kind, LOCAL_TIMEOUT=60)
    pairs = [(1, True), ("red", Colour.RED)] if kind != "django-redis-shard" else [(1, True)]
    for one, other in pairs:
        cache.set(one, "one")
        cache.set(other, "other")
        mode(cache).get_many([one, other])
        assert mode(cache).get(one) == "one"
        assert mode(cache).get(other) == "other"


@pytest.mark.parametrize("kind", ["fakeredis", "django-redis-herd", "django-redis-shard"])
def test_made_keys_are_one_with_the_plain_ones(kind, make_cache):
    """What django-redis' client has made, it lets pass as it is, whichever client it is."""
    cache = make_cache(kind, LOCAL_TIMEOUT=60)
    made = cache.remote.client.make_key("key")
    cache.set("key", 1)
    assert cache.get("key") == 1
    cache.set(made, 2)
    assert cache.get("key") == 2
    cache.local.clear()
    assert cache.get(made) == 2
    assert cache.get(str(made)) is None
    cache.set("key", 3, version=2)
    assert cache.get("key", version=2) == 3
    if kind == "fakeredis":
        assert cache.incr_version(made) == 2
        assert cache.get("key", version=2) == 2


def chain(**options):
    return {
        "default": {"BACKEND": TIERED, "LOCATION": "middle", "OPTIONS": {"JITTER": 0, **options}},
        "middle": {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": {"JITTER": 0, **options}},
        "beside": {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": {"JITTER": 0, "LOCAL_TIMEOUT": 50}},
        "remote": {**LOCMEM, "LOCATION": uuid.uuid4().hex},
    }


def test_a_chain_does_not_remember_absence_anew(clock, mode):
    """What the tier below remembers of it is not made longer by the one above."""
    with override_settings(CACHES=chain(LOCAL_TIMEOUT=5, MISS_TIMEOUT=5)):
        top, middle = mode(caches["default"]), mode(caches["middle"])
        assert middle.get("key") is None
        assert middle.get_many(["many"]) == {}
        caches["remote"].set_many({"key": 1, "many": 1})
        clock.move(4.9)
        assert top.get("key") is None
        assert top.get_many(["many"]) == {}
        clock.move(0.1)
        assert top.get("key") == 1
        assert top.get_many(["many"]) == {"many": 1}
        assert caches["default"].get_many([1, True, "x"]) == {}


def test_a_chain_keeps_nothing_for_longer_than_what_it_read(clock, monkeypatch):
    """Below, the entry expires and is filled anew between the read of its value and of its deadline."""
    with override_settings(CACHES=chain(LOCAL_TIMEOUT=5)):
        top, middle = caches["default"], caches["middle"]
        caches["remote"].set("key", 1)
        middle.get("key")
        clock.move(4.9)
        get = type(middle).get

        def slow(self, key, *rest):
            value = get(self, key, *rest)
            monkeypatch.setattr(type(middle), "get", get)
            caches["remote"].set("key", 2)
            clock.move(0.2)
            get(middle, key)
            return value

        monkeypatch.setattr(type(middle), "get", slow)
        value, life, *_ = top._reader().get(middle, "key", None)
        assert value == 1
        assert life == 0


def test_a_chain_knows_how_old_its_copies_are(clock, mode):
    """From when the remote was read, not from when the tier below was: else a demand is met by what is older."""
    with override_settings(CACHES=chain(LOCAL_TIMEOUT=100)):
        top, middle = mode(caches["default"]), mode(caches["middle"])
        caches["remote"].set_many({"key": "old", "many": "old"})
        middle.get_many(["key", "many"])
        clock.move(2)
        caches["remote"].set_many({"key": "new", "many": "new"})
        assert top.get("key") == "old"
        assert top.get_many(["many"]) == {"many": "old"}
        clock.move(1)
        with fresh(max_age=2):
            assert top.get("key") == "new"
            assert top.get_many(["many"]) == {"many": "new"}
        assert caches["default"].stats().hits == 0


def test_a_chain_takes_no_old_answer_for_a_new_one(clock, monkeypatch):
    """Below, a copy past its deadline is served while another reader refills it: what was served is as old as it was."""
    with override_settings(CACHES=chain(LOCAL_TIMEOUT=5, STALE_WHILE_REVALIDATE=60)):
        top, middle = caches["default"], caches["middle"]
        caches["remote"].set("key", "old")
        middle.get("key")
        caches["remote"].set("key", "new")
        clock.move(6)
        middle._tier.tokens[middle.local_key("key")] = [None]  # of the reader that refills
        get = type(middle).get

        def served_while_refilled(self, key, *rest):
            value = get(self, key, *rest)
            monkeypatch.setattr(type(middle), "get", get)
            middle._tier.tokens.clear()
            with fresh():
                get(middle, key)
            return value

        monkeypatch.setattr(type(middle), "get", served_while_refilled)
        assert top.get("key") == "old"
        assert middle.get("key") == "new"
        with fresh(max_age=3):
            assert top.get("key") == "new"


def test_the_bound_of_a_chain_is_the_sum(clock):
    """For which the middleware's cookie lives."""
    with override_settings(CACHES=chain(LOCAL_TIMEOUT=30, STALE_WHILE_REVALIDATE=1)):
        make_tiers()
        assert longest_bound() == 62
    replicas = {**LOCMEM, "LOCATION": ["one", "two"]}
    with override_settings(CACHES={"default": {"BACKEND": TIERED, "LOCATION": "remote"}, "remote": replicas}):
        make_tiers()
        assert longest_bound() == 5


class Foreign(LocMemCache):
    """A backend of somebody else's that says how it is read, as ours does."""

    made = 0
    tieredcache_reader = Reader()

    def __init__(self, *arguments):
        super().__init__(*arguments)
        type(self).made += 1


def test_only_tiers_are_made_before_they_are_used():
    """Not whatever names a reader."""
    with override_settings(CACHES={"default": {"BACKEND": f"{__name__}.Foreign"}}):
        make_tiers()
    assert Foreign.made == 0


def refuse(key, prefix, version):
    """A KEY_FUNCTION that asks a server, which is down for some keys."""
    if key in refused:
        raise ConnectionError(key)
    return f"{prefix}:{version}:{key}"


refused: set[str] = set()


async def test_a_key_that_cannot_be_made_is_no_miss(make_cache, mode):
    """What raises before the remote is asked is raised, by get_many as by get, and begins no outage."""
    cache = make_cache({**LOCMEM, "LOCATION": uuid.uuid4().hex, "KEY_FUNCTION": refuse}, REMOTE_ERRORS="ignore")
    cache.set_many({"a": 1, "b": 2, "c": 3})
    refused.add("b")
    try:
        for keys in (["b", "a"], ["a", "b", "c"]):
            with pytest.raises(ConnectionError):
                cache.get_many(keys)
            with pytest.raises(ConnectionError):
                await cache.aget_many(keys)
    finally:
        refused.clear()
    assert cache.get_many(["a", "b"]) == {"a": 1, "b": 2}
    assert not cache._tier.tokens
    assert not cache.local.in_outage


class PickledOnce:
    """A value that a remote can hold, and the local tier cannot keep."""

    pickled = 0

    def __init__(self, name):
        self.name = name

    def __reduce__(self):
        if type(self).pickled >= 3:
            raise TypeError("no more")
        type(self).pickled += 1
        return type(self), (self.name,)


def test_what_a_demand_has_learned_is_not_forgotten(make_cache, mode, clock):
    """Its answer cannot be kept, but the older copy goes: the next read is not taken back behind it."""
    cache = make_cache("locmem", LOCAL_TIMEOUT=60)
    cache.set_many({"gone": "old", "many": "old"})
    cache.get_many(["gone", "many"])
    clock.move(1)
    cache.remote.delete_many(["gone", "many"])
    PickledOnce.pickled = 0
    cache.remote.set("value", PickledOnce("old"))  # pickled once by the remote, and once by the fill
    assert cache.get("value").name == "old"
    cache.remote.set("value", PickledOnce("new"))
    clock.move(1)
    with fresh():
        assert mode(cache).get("gone") is None
        assert mode(cache).get_many(["many"]) == {}
        assert mode(cache).get("value").name == "new"
    assert mode(cache).get("gone") is None
    assert mode(cache).has_key("gone") is False
    assert mode(cache).get_many(["many"]) == {}
    assert mode(cache).get("value").name == "new"


def test_who_comes_second_leaves_what_the_first_has_kept(make_cache, clock):
    """Two read a key at the same time, and one keeps its answer: the other, which began later, does not drop it."""
    cache = make_cache("locmem", LOCAL_TIMEOUT=60)
    cache.set("key", "value")
    first = cache._fill("key", "key", None)
    clock.move(1)
    second = cache._fill("key", "key", None)
    for fill in (first, second):
        with fill:
            fill.keep("value", None)
    assert cache.stats().skipped == 1
    assert cache.get("key") == "value"
    assert cache.stats().hits == 1


def lower(key, prefix, version):
    return f"{prefix}:{version}:{key.lower()}"


def test_a_stale_copy_that_has_two_names_is_refilled(make_cache, clock):
    """The reader that it sends may know it by a name that is never kept; it leaves no token, so the next is sent too."""
    remote = {**LOCMEM, "LOCATION": uuid.uuid4().hex, "KEY_FUNCTION": lower}
    cache = make_cache(remote, LOCAL_TIMEOUT=5, LOCAL_TIMEOUTS={"tmp:": 0}, STALE_WHILE_REVALIDATE=60, JITTER=0)
    cache.set("TMP:a", "old")
    assert cache.get("TMP:a") == "old"
    cache.remote.set("TMP:a", "new")
    clock.move(6)
    assert cache.get("tmp:a") == "new"
    assert not cache._tier.tokens
    assert cache.get("TMP:a") == "new"


def test_one_prefix_at_a_time(make_cache, mode):
    """LOCAL_TIMEOUT 0 keeps nothing but what LOCAL_TIMEOUTS names, as the page on adopting says."""
    cache = make_cache("locmem", LOCAL_TIMEOUT=0, LOCAL_TIMEOUTS={"geo.": 600})
    cache.set_many({"geo.country": "GB", "other": "x"})
    for _ in range(2):
        assert mode(cache).get_many(["geo.country", "other"]) == {"geo.country": "GB", "other": "x"}
        assert mode(cache).get("geo.country") == "GB"
        assert mode(cache).get("other") == "x"
    assert cache.stats().hits == 3
    assert len(cache.local) == 1


def test_looking_for_a_key_takes_nothing_away_that_was_set_meanwhile(monkeypatch):
    """``key in cache`` finds it expired; before it is taken out, another thread sets it anew."""
    with override_settings(CACHES={"default": {"BACKEND": LRU, "LOCATION": uuid.uuid4().hex}}):
        cache = caches["default"]
        cache.set("key", "old", 60)
        cache._store.index["key"].deadline = 0
        real = lru.clock

        def clock():
            monkeypatch.setattr(lru, "clock", real)
            now = real()
            cache.set("key", "new", 60)
            return now

        monkeypatch.setattr(lru, "clock", clock)
        assert not cache.has_key("key")  # it was looked at before it was set
        assert cache.get("key") == "new"


def test_writes_anywhere_in_a_chain_are_seen_everywhere():
    """Own writes hold over all the aliases that lead to one remote."""
    with override_settings(CACHES=chain(LOCAL_TIMEOUT=60)):
        aliases = ["default", "middle", "beside"]
        for writer in aliases:
            caches[writer].set("key", "before")
            assert [caches[alias].get("key") for alias in aliases] == ["before"] * 3
            caches[writer].set("key", writer)
            assert [caches[alias].get("key") for alias in aliases] == [writer] * 3


@pytest.mark.parametrize("kind", ["django-redis-herd"])
def test_herd_clients_keep_longer_than_they_serve(kind, make_cache, clock, mode):
    """The herd time-out is no part of the life, and what is due for refreshing is not kept."""
    cache = make_cache(kind, LOCAL_TIMEOUT=60, JITTER=0)
    cache.set("key", 1, timeout=3)
    assert mode(cache).get("key") == 1
    assert 1 < cache.local.times("key").deadline - clock() <= 3
    assert mode(cache).get_many(["key"]) == {"key": 1}


def test_a_signal_handler_that_raises_leaves_no_lock_held():
    """As a soft time limit does: others can go on. In a process of its own, without coverage, whose lock it breaks."""
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "tests.signals", "3"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_child_can_count_and_make_tiers(make_cache):
    """Whatever other threads were counting or making at the fork."""
    from tests.test_instances import in_child
    from tieredcache import registry
    from tieredcache.backends import TieredCache

    cache = make_cache(LOCAL_TIMEOUT=60)
    held, release = threading.Event(), threading.Event()

    def hold():
        with registry._lock:
            held.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)

    def check():
        cache.stats()
        TieredCache("remote", {"OPTIONS": {"LOCAL_TIMEOUT": 7}}).get("key")

    assert in_child(check)
    release.set()
    thread.join()


def test_the_remotes_own_mistakes_are_seen():
    """An AttributeError of the remote's is not taken for an attribute that is missing here."""
    broken = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:1", "OPTIONS": {"SERIALIZER": 5}}
    for remote, message in [({**LOCMEM, "OPTIONS": None}, "NoneType"), (broken, "rsplit")]:
        with override_settings(CACHES={"default": {"BACKEND": TIERED, "LOCATION": "remote"}, "remote": remote}):
            cache = caches["default"]
            for call in (lambda c: c.get("key"), lambda c: c.set("key", 1), lambda c: c.local.forget("key")):
                with pytest.raises(AttributeError, match=message):
                    call(cache)
            if "NoneType" in message:
                with pytest.raises(AttributeError, match=message):
                    cache.remote  # noqa: B018
            else:
                del caches["remote"]  # django-redis 6 fails in the same way when it is closed


class Changed:
    """Whose constructor wants more than when it was pickled."""

    error = None

    def __reduce__(self):
        return (make, ())


def make():
    if Changed.error:
        raise Changed.error
    return Changed()


@pytest.mark.parametrize("error", [TypeError("changed"), ValueError("changed"), KeyError("changed")], ids=repr)
@pytest.mark.parametrize("kind", ["locmem", "file", "django-redis", "django-redis-herd"])
def test_whatever_unpickling_raises_is_a_miss(kind, make_cache, mode, monkeypatch, error):
    """Not only what the pickle module lists."""
    cache = make_cache(kind, LOCAL_TIMEOUT=60)
    cache.set_many({"good": 1, "bad": [Changed()]})
    monkeypatch.setattr(Changed, "error", error)
    assert mode(cache).get("bad", "default") == "default"
    assert mode(cache).get_many(["good", "bad"]) == {"good": 1}


def test_a_torn_file_is_a_miss(make_cache, tmp_path):
    """FileBasedCache compresses, and half a file does not decompress."""
    cache = make_cache("file", LOCAL_TIMEOUT=60)
    cache.set("key", "x" * 10_000)
    (path,) = (tmp_path / "cache").glob("*.djcache")
    head = pickle.dumps(time.time() + 100, pickle.HIGHEST_PROTOCOL)
    path.write_bytes(head + b"not compressed at all")
    assert cache.get("key", "default") == "default"


def test_no_absence_is_remembered_of_a_remote_that_swallows_errors(make_cache, monkeypatch):
    """Its "no such key" may be an outage."""
    cache = make_cache("django-redis-herd", LOCAL_TIMEOUT=60, MISS_TIMEOUT=60)
    monkeypatch.setattr(cache.remote, "_ignore_exceptions", True)
    assert cache.get("key") is None
    assert cache.get_many(["key"]) == {}
    assert len(cache.local) == 0


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"OPTIONS": {"LOCAL_TIMEOUT": 10**400}}, ["CACHES['default']", "finite"]),
        ({"OPTIONS": {"MAX_ENTRIES": 10**400}}, ["CACHES['default']", "finite"]),
        ({"TIMEOUT": 10**400}, ["CACHES['default']", "TIMEOUT", "finite"]),
        ({"LOCATION": "inner"}, ["CACHES['inner']", "LOCATION is ['x']", "list"]),
        ({"LOCATION": "lost"}, ["CACHES['lost']", "LOCATION is 'nope'", "default, inner, lost, remote"]),
    ],
)
def test_mistakes_further_down(settings, parts):
    """Numbers beyond all floats, and mistakes of the tier below, under its own name."""
    config = {
        "default": {"BACKEND": TIERED, "LOCATION": "remote", **settings},
        "inner": {"BACKEND": TIERED, "LOCATION": ["x"]},
        "lost": {"BACKEND": TIERED, "LOCATION": "nope"},
        "remote": LOCMEM,
    }
    with override_settings(CACHES=config):
        with pytest.raises(ImproperlyConfigured) as error:
            caches["default"]
        for part in parts:
            assert part in str(error.value)


@pytest.mark.parametrize("remote", [{}, {"BACKEND": "os.path.join"}, {"BACKEND": None}, {"BACKEND": "no.such.module"}])
def test_mistakes_of_the_remote_alias_are_djangos_to_tell(remote):
    """When that alias is used; they do not hide behind errors of ours."""
    with override_settings(CACHES={"default": {"BACKEND": TIERED, "LOCATION": "remote"}, "remote": remote}):
        cache = caches["default"]
        with pytest.raises(Exception) as bare:  # noqa: PT011 - whatever Django raises
            caches["remote"]
        with pytest.raises(type(bare.value)):
            cache.get("key")


def test_key_function_of_the_wrong_type():
    """LRUCache says what is wrong, where Django raises an AttributeError."""
    with (
        override_settings(CACHES={"default": {"BACKEND": LRU, "KEY_FUNCTION": 5}}),
        pytest.raises(ImproperlyConfigured, match=r"CACHES\['default'\]: KEY_FUNCTION is 5"),
    ):
        caches["default"]


def test_hits_of_any_simple_key_need_no_remote(make_cache, monkeypatch):
    """Numbers and explicit versions too: fetching the remote takes a lock."""
    cache = make_cache(LOCAL_TIMEOUT=60, remote_alias={"KEY_PREFIX": "p:1", "VERSION": 2})
    for key, version in [(1, None), (1.5, None), ("a", 3), ("a", "3:a"), (True, 1), (7, 2)]:
        cache.set(key, "value", version=version)
        cache.get(key, version=version)
        with monkeypatch.context() as context:
            context.setattr(type(cache), "_remote", None)
            assert cache.get(key, version=version) == "value"
            assert cache.get_many([key], version=version) == {key: "value"}


@pytest.mark.parametrize("kind", ["django", "django-redis", "django-valkey"])
def test_a_server_that_does_not_tell_lives_is_read_all_the_same(kind, make_cache, valkey_url):
    """An ACL without PTTL: the value is returned, and not kept."""
    server = redis.Redis.from_url(valkey_url)
    server.acl_setuser("shy", enabled=True, nopass=True, keys="*", channels="*", commands=["+@all", "-pttl", "-ttl"])
    url = valkey_url.replace("redis://", "redis://shy:x@")
    backends = {
        "django": ("django.core.cache.backends.redis.RedisCache", url),
        "django-redis": ("django_redis.cache.RedisCache", url),
        "django-valkey": ("django_valkey.cache.ValkeyCache", url.replace("redis:", "valkey:")),
    }
    backend, location = backends[kind]
    cache = make_cache({"BACKEND": backend, "LOCATION": f"{location}/14"}, LOCAL_TIMEOUT=60)
    cache.set("key", 1)
    assert cache.get("key") == 1
    assert cache.get_many(["key"]) == {"key": 1}
    assert len(cache.local) == 0
    server.acl_deluser("shy")
    server.close()


def outcome(call, cache):
    try:
        return call(cache)
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("kind", ["django", "django-redis", "django-valkey"])
def test_a_key_of_another_type_is_the_error_it_is(kind, make_cache):
    """GET of a list is an error in every remote; what get_many makes of it is each remote's own."""
    cache = make_cache(kind, LOCAL_TIMEOUT=60)
    remote = cache.remote
    client = remote._cache.get_client(None, write=True) if kind == "django" else remote.client.get_client()
    client.rpush(cache._reader().make_key(remote, "key", None), "x")
    for call in (lambda c: c.get("key"), lambda c: c.get_many(["key"])):
        assert outcome(call, cache) == outcome(call, remote)


def test_attributes_that_are_functions_do_not_clear(make_cache):
    """key_func is looked up on the remote, and only makes keys."""
    cache = make_cache(LOCAL_TIMEOUT=60, alias={"TIMEOUT": 7}, remote_alias={"TIMEOUT": 300})
    cache.set("key", 1)
    cache.get("key")
    assert cache.key_func("key", "", 1) == ":1:key"
    assert len(cache.local) == 1
    assert cache.default_timeout == 7


def test_a_remote_with_async_lives(make_cache, monkeypatch, clock):
    """apttl() is awaited where there is one; a life that cannot be learned keeps nothing."""

    async def apttl(self, key, version=None):
        await asyncio.sleep(0)
        if key == "shy":
            raise RuntimeError("not told")
        return 3000

    monkeypatch.setattr(RemoteDouble, "apttl", apttl, raising=False)
    cache = make_cache({"BACKEND": "tests.doubles.RemoteDouble", "LOCATION": "apttl"}, LOCAL_TIMEOUT=60, JITTER=0)
    cache.remote.set_many({"key": 1, "shy": 2})
    assert asyncio.run(cache.aget("key")) == 1
    assert asyncio.run(cache.aget_many(["key", "shy"])) == {"key": 1, "shy": 2}
    assert cache.local.times("key").deadline == clock() + 3
    assert len(cache.local) == 1


def test_an_entry_that_makes_way_is_found_by_who_forgets_it(make_cache):
    """A fill replaces a live entry, as under fresh(); a write comes in between: the old copy is not served after it."""
    cache = make_cache(LOCAL_TIMEOUT=60)
    cache.set("key", "old")
    assert cache.get("key") == "old"
    tier, served = cache._tier, []
    entry = tier.index["key"]
    kill = type(entry).kill

    class Watched(type(entry)):
        __slots__ = ()

        def kill(self):
            type(self).kill = kill  # once
            cache.remote.set("key", "new")
            tier.forget("key")  # as another thread does, having written
            found = tier.lru["key"]
            served.append(found.is_live(time.monotonic()))
            kill(self)

    entry.__class__ = Watched
    with fresh():
        cache.get("key")
    assert served == [False]
    assert cache.get("key") == "new"


def test_an_instance_that_contexts_share_does_not_share_its_remote(make_cache):
    """The remote that is remembered is that of the context: a copied one has its own, as Django does."""
    import contextvars

    cache = make_cache()
    here = cache._remote()
    assert cache._remote() is here is caches["remote"]
    assert contextvars.Context().run(cache._remote) is not here
    assert contextvars.Context().run(lambda: cache._remote() is caches["remote"])
    assert contextvars.copy_context().run(cache._remote) is here
    assert cache._remote() is here
