"""Many keys are read by one script where the server runs it, and by a pipeline where it does not: the same answers."""

import contextlib

import pytest
import redis
import valkey

from tests.support import servers
from tests.support.bounded import Run
from tests.support.copies import deadline
from tests.support.trips import CountingConnection, counting
from tieredcache.remote import prefetch, script

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
KINDS = ["django-redis", "django", "django-valkey"]
KEYS = [f"key:{number}" for number in range(20)]
VALUES = {key: [key] for key in KEYS}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def pipelines(monkeypatch):
    """The pipelines that have been executed, by the number of their commands."""
    executed = []
    for client in (redis, valkey):
        execute = client.client.Pipeline.execute

        def counted(self, *args, execute=execute, **kwargs):
            executed.append(len(self.command_stack))
            return execute(self, *args, **kwargs)

        monkeypatch.setattr(client.client.Pipeline, "execute", counted)
    return executed


def filled(cache):
    """With all keys at the remote, none in the local tier, and the script known to the server."""
    for key in KEYS:
        cache.set(key, [key], 100)
    assert cache.get_many(KEYS) == VALUES
    cache.local.clear()
    return cache


def assert_read_by_pipelines(cache, pipelines, log):
    pipelines.clear()
    for _ in range(3):
        assert cache.get_many(KEYS) == VALUES
        cache.local.clear()
    assert len(pipelines) == 3
    assert len(log()) == 1


@pytest.mark.parametrize("kind", ["django-redis", "django"])
def test_many_keys_are_read_by_one_command(kind, make_cache, mode, valkey_url, pipelines):
    cache = filled(make_cache(counting(kind, valkey_url)))
    mode(cache).get("warm")  # a thread's first read opens its connection
    pipelines.clear()
    CountingConnection.trips = 0
    assert mode(cache).get_many([*KEYS, "absent"]) == VALUES
    assert CountingConnection.trips == 1
    assert pipelines == []


def test_what_is_brought_along_comes_by_the_same_command(make_cache, clock, pipelines):
    cache = filled(make_cache("django-redis", LOCAL_TIMEOUT=5, JITTER=0, PREFETCH=30))
    prefetch.begin_burst()
    assert cache.get_many(KEYS) == VALUES
    clock.move(6)
    prefetch.begin_burst()
    assert cache.get(KEYS[0]) == VALUES[KEYS[0]]
    assert cache.stats().prefetched == 19
    assert pipelines == []


@every_kind
def test_one_key_is_read_by_a_pipeline(kind, make_cache, pipelines):
    cache = filled(make_cache(kind))
    assert cache.get(KEYS[0]) == VALUES[KEYS[0]]
    assert cache.get_many(KEYS[1:2]) == {KEYS[1]: VALUES[KEYS[1]]}
    assert pipelines == [2, 2]


@every_kind
def test_no_copy_outlives_the_remotes_entry_when_a_script_has_read_it(kind, make_cache, clock, mode, pipelines):
    cache = filled(make_cache(kind, LOCAL_TIMEOUT=60, JITTER=0))
    cache.remote.set_many(dict.fromkeys(KEYS[:5], 1), timeout=20)
    cache.remote.set_many(dict.fromkeys(KEYS[5:], 1), timeout=None)
    cache.remote.touch(KEYS[6], -1)
    pipelines.clear()
    assert mode(cache).get_many(KEYS) == dict.fromkeys([*KEYS[:6], *KEYS[7:]], 1)
    left = {key: deadline(cache, key) - clock() for key in KEYS}
    assert all(5 < left[key] <= 20 for key in KEYS[:5])
    assert all(left[key] == 60 for key in KEYS[7:])
    assert left[KEYS[6]] < 0
    assert pipelines == []


@contextlib.contextmanager
def raw(kind, valkey_url):
    """A client of the database that a remote of this kind is in."""
    with redis.Redis.from_url(f"{valkey_url}/{dict(zip(KINDS, (1, 6, 7), strict=True))[kind]}") as server:
        yield server


@every_kind
def test_a_value_of_another_type_is_what_the_remote_calls_it(kind, make_cache, mode, valkey_url):
    """An error to django-valkey, a miss to the others, and absent to nobody."""
    cache = filled(make_cache(kind, MISS_TIMEOUT=60))
    with raw(kind, valkey_url) as server:
        server.delete(f":1:{KEYS[3]}")
        server.rpush(f":1:{KEYS[3]}", "item")
    if kind == "django-valkey":
        with pytest.raises(valkey.ResponseError, match="WRONGTYPE"):
            mode(cache).get_many(KEYS)
        return
    assert mode(cache).get_many(KEYS) == {key: [key] for key in KEYS if key != KEYS[3]}
    assert len(cache.local) == 19, "its absence is not remembered"


def test_a_value_of_another_type_is_a_miss_on_a_cluster(make_cache, mode):
    """As by the remote's own get_many, which is an MGET for each slot: ours is a GET for each key."""
    cache = make_cache("django-valkey-cluster", MISS_TIMEOUT=60)
    cache.set_many({"a": 1, "b": 2})
    cache.remote.client.get_client().rpush(cache.remote.make_key("list"), "item")
    assert cache.remote.get_many(["a", "list", "b"]) == {"a": 1, "b": 2}
    assert mode(cache).get_many(["a", "list", "b"]) == {"a": 1, "b": 2}
    assert len(cache.local) == 2, "its absence is not remembered"


@every_kind
def test_a_value_that_does_not_decode_is_a_miss_and_its_neighbours_are_none(kind, make_cache, mode, valkey_url):
    cache = filled(make_cache(kind))
    with raw(kind, valkey_url) as server:
        server.set(f":1:{KEYS[3]}", b"no pickle")
    assert mode(cache).get_many(KEYS) == {key: [key] for key in KEYS if key != KEYS[3]}
    assert len(cache.local) == 19


@every_kind
def test_the_script_is_loaded_when_the_server_has_lost_it(kind, make_cache, valkey_url, pipelines):
    cache = filled(make_cache(kind))
    with redis.Redis.from_url(valkey_url) as server:
        server.script_flush()
    pipelines.clear()
    assert cache.get_many(KEYS) == VALUES
    assert pipelines == []


@every_kind
@pytest.mark.parametrize(("count", "batches"), [(5_000, 0), pytest.param(8_500, 1, marks=pytest.mark.slow)])
def test_thousands_of_keys_are_read_at_once(kind, count, batches, make_cache, pipelines):
    """Or by a pipeline, where they are more than Lua passes to a function: each has its own value."""
    keys = [f"key:{number}" for number in range(count)]
    cache = filled(make_cache(kind, LOCAL_TIMEOUT=600, MAX_ENTRIES=10_000))
    cache.remote.set_many({key: key for key in keys[1:]})
    cache.remote.delete(keys[0])
    pipelines.clear()
    assert cache.get_many(keys) == {key: key for key in keys[1:]}
    assert len(pipelines) == batches
    assert len(cache.local) == count - 1


@every_kind
def test_many_keys_are_read_while_a_server_holds_writes_back(kind, make_cache, mode, valkey_url):
    """As in a failover: no read waits for that, and a script that might write would."""
    cache = filled(make_cache(kind))
    with redis.Redis.from_url(valkey_url) as server:
        server.script_flush()
        server.client_pause(20_000, all=False)
        try:
            run = Run(mode(cache).get_many, KEYS)
            assert run.result(5) == VALUES
        finally:
            server.client_unpause()


def test_large_values_are_read_by_a_pipeline_after_the_first_time(make_cache, pipelines):
    """Lua copies them, and the server is held up."""
    cache = filled(make_cache("django-redis"))
    for value, expected in (("x" * 40_000, []), ("x", [21]), ("x", [])):
        cache.set_many(dict.fromkeys(KEYS, value))
        pipelines.clear()
        assert cache.get_many(KEYS) == dict.fromkeys(KEYS, value)
        assert pipelines == expected


# --- servers that do not run scripts ---


@every_kind
def test_a_user_that_may_not_run_scripts_reads_by_a_pipeline_from_then_on(kind, make_cache, valkey_url, log, pipelines):
    """Said once in the log."""
    with redis.Redis.from_url(valkey_url) as server:
        server.acl_setuser("plain", enabled=True, nopass=True, keys="*", channels="*", commands=["+@all", "-@scripting"])
        location = f"{valkey_url.replace('redis://', 'redis://plain:secret@')}/8"
        backend = {
            "django-redis": "django_redis.cache.RedisCache",
            "django": "django.core.cache.backends.redis.RedisCache",
            "django-valkey": "django_valkey.cache.ValkeyCache",
        }[kind]
        location = location.replace("redis:", "valkey:") if kind == "django-valkey" else location
        try:
            cache = make_cache({"BACKEND": backend, "LOCATION": location})
            filled(cache)
            server.acl_setuser("plain", commands=["+@scripting"])
            pipelines.clear()
            assert cache.get_many(KEYS) == VALUES
        finally:
            server.acl_deluser("plain")
    assert len(pipelines) == 1
    [message] = log()
    assert "'remote'" in message
    assert "secret" not in message


def test_a_server_without_scripts_is_read_by_a_pipeline(make_cache, log):
    cache = filled(make_cache("fakeredis"))
    assert cache.get_many(KEYS) == VALUES
    assert len(log()) == 1


REFUSED = [
    redis.ResponseError("unknown command 'EVALSHA_RO'"),
    redis.ResponseError("CROSSSLOT Keys in request don't hash to the same slot"),
    redis.exceptions.NoScriptError("No matching script"),
    redis.exceptions.NoPermissionError("this user has no permissions"),
    redis.exceptions.ReadOnlyError("You can't write against a read only replica."),
]
FAILED = [
    redis.TimeoutError("Timeout reading from socket"),
    redis.ConnectionError("Connection refused"),
    redis.exceptions.BusyLoadingError("Redis is loading the dataset in memory"),
    redis.exceptions.OutOfMemoryError("command not allowed"),
    redis.ResponseError("BUSY Redis is busy running a script"),
    TimeoutError("a time limit of the caller"),
]


def raising(monkeypatch, error, where="evalsha_ro"):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(redis.Redis, where, fail)


@pytest.mark.parametrize("error", REFUSED, ids=repr)
def test_a_refusal_is_answered_by_the_pipeline(error, make_cache, monkeypatch, log, pipelines):
    cache = filled(make_cache("django-redis"))
    with monkeypatch.context() as patch:
        raising(patch, error)
        assert cache.get_many(KEYS) == VALUES
    cache.local.clear()
    assert cache.get_many(KEYS) == VALUES
    assert pipelines == [21, 21]
    assert len(log()) == 1


@pytest.mark.parametrize("error", FAILED, ids=repr)
def test_a_failure_is_raised_and_the_script_is_sent_again(error, make_cache, monkeypatch, log, pipelines):
    cache = filled(make_cache("django-redis"))
    with monkeypatch.context() as patch:
        raising(patch, error)
        with pytest.raises(type(error)):
            cache.get_many(KEYS)
    assert cache.get_many(KEYS) == VALUES
    assert pipelines == []
    assert log() == []


def test_what_the_pipeline_may_not_do_either_is_no_reason_to_give_the_script_up(make_cache, valkey_url, log, pipelines):
    """One key that the user may not read: an error, as it would be without us, and no more."""
    with redis.Redis.from_url(valkey_url) as server:
        server.acl_setuser("narrow", enabled=True, nopass=True, keys=[":1:key:*"], channels="*", commands=["+@all"])
        url = valkey_url.replace("redis://", "redis://narrow:x@")
        try:
            cache = make_cache({"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"{url}/8"})
            filled(cache)
            with pytest.raises(redis.exceptions.NoPermissionError):
                cache.get_many([*KEYS, "foreign"])
            pipelines.clear()
            assert cache.get_many(KEYS) == VALUES
        finally:
            server.acl_deluser("narrow")
    assert pipelines == []
    assert log() == []


def test_a_proxy_that_asks_one_server_for_all_keys_is_found_out(make_cache, monkeypatch, log, pipelines):
    """Envoy and its like send a script to the server of its first key, where the keys of other servers are missing."""
    cache = make_cache("django-redis")
    cache.remote.set_many(VALUES)
    evalsha_ro = redis.Redis.evalsha_ro

    def one_server(self, sha, count, *names):
        values, ttls = evalsha_ro(self, sha, count, *names)
        return [value if place % 2 else None for place, value in enumerate(values)], [
            ttl if place % 2 else -2 for place, ttl in enumerate(ttls)
        ]

    monkeypatch.setattr(redis.Redis, "evalsha_ro", one_server)
    assert_read_by_pipelines(cache, pipelines, log)


def test_a_key_that_is_written_meanwhile_is_no_reason_to_give_the_script_up(make_cache, monkeypatch, log, pipelines):
    cache = make_cache("django-redis")
    evalsha_ro = redis.Redis.evalsha_ro

    def overtaken(self, *args):
        found = evalsha_ro(self, *args)
        cache.remote.set_many(VALUES)
        return found

    cache.get_many(KEYS)
    with monkeypatch.context() as patch:
        patch.setattr(redis.Redis, "evalsha_ro", overtaken)
        assert cache.get_many(KEYS) == VALUES
    cache.local.clear()
    pipelines.clear()
    assert cache.get_many(KEYS) == VALUES
    assert pipelines == []
    assert log() == []


def test_a_proxy_that_closes_the_connection_on_a_script_is_asked_by_pipelines(make_cache, monkeypatch, log, pipelines):
    """As twemproxy does. Where the pipeline fails as well, it was not the script."""
    cache = make_cache("django-redis")
    cache.remote.set_many(VALUES)
    raising(monkeypatch, redis.ConnectionError("Connection closed by server."))
    with monkeypatch.context() as patch:
        patch.setattr(redis.client.Pipeline, "execute", redis.Redis.evalsha_ro)
        with pytest.raises(redis.ConnectionError):
            cache.get_many(KEYS)
    assert_read_by_pipelines(cache, pipelines, log)


def test_nobody_waits_twice_for_a_connection(make_cache, monkeypatch, pipelines):
    """Nor does a process that has not read anything yet."""
    cache = make_cache("django-redis")
    raising(monkeypatch, redis.exceptions.MaxConnectionsError("No connection available."))
    with pytest.raises(redis.ConnectionError):
        cache.get_many(KEYS)
    assert pipelines == []


# --- replicas ---


@pytest.fixture(scope="module")
def primary_and_replica():
    with servers.valkey("--repl-diskless-sync-delay", "0") as primary:
        host, port = primary.removeprefix("redis://").split(":")
        with servers.valkey("--replicaof", host, port) as replica:
            yield primary, replica


@pytest.mark.parametrize("kind", ["django-redis", "django"])
def test_a_replica_runs_the_script(kind, make_cache, primary_and_replica, log, pipelines):
    backend = {"django-redis": "django_redis.cache.RedisCache", "django": "django.core.cache.backends.redis.RedisCache"}
    cache = make_cache({"BACKEND": backend[kind], "LOCATION": list(primary_and_replica)})
    for key in KEYS:
        cache.set(key, [key], 100)
    primary, replica = map(redis.Redis.from_url, primary_and_replica)
    with primary, replica:
        primary.set("last", 1)
        assert primary.wait(1, 4_000) == 1
        replica.config_resetstat()
        for _ in range(30):  # each time of one of the replicas, drawn by lot, and to both clients the primary is one
            assert cache.get_many(KEYS) == VALUES
            cache.local.clear()
        assert replica.info("commandstats")["cmdstat_evalsha_ro"]["calls"] > 1
    assert pipelines == []
    assert log() == []


def test_the_script_is_used_on_when_keys_were_written_just_after_it(make_cache, pipelines, monkeypatch, caplog):
    """A cold cache that other processes fill: no proxy has sent the script to a server that has not all keys."""
    cache, run = make_cache("django"), script._run

    def filled_meanwhile(connection, names):
        answer = run(connection, names)
        if number < 5:
            cache.remote.set(f"{number}:0", "value")
        return answer

    monkeypatch.setattr(script, "_run", filled_meanwhile)
    for number in range(6):
        found = cache.get_many([f"{number}:{place}" for place in range(20)])
        assert found == ({f"{number}:0": "value"} if number < 5 else {})
    assert cache._tier.reader.scripts
    assert caplog.records == []
