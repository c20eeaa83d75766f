"""``manage.py tieredcache`` and the remotes: what it does to them, and to the process's own tiers: nothing that stays."""

import contextlib
import re

import pytest
import redis
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache

from tests.support.caches import KINDS, LRU
from tests.support.commands import DOUBLE, report, run, settings, tiered
from tests.support.doubles import RemoteDouble
from tieredcache import fresh
from tieredcache.management.commands.tieredcache import PREFIX


@pytest.fixture
def double():
    """A tier over a remote that can be told to fail."""
    with settings(default=tiered(), remote=DOUBLE):
        yield caches["default"]


# --- remotes ---


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # clients that leave sockets to the garbage collector
@pytest.mark.filterwarnings("ignore:.* on sharded client:UserWarning")  # django-redis warns of its own calls
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "redis-server"])
def test_every_kind_of_remote(kind, make_cache, monkeypatch):
    """Is reached and timed, and keeps nothing."""
    monkeypatch.setattr("tieredcache.management.commands.tieredcache.secrets.token_hex", lambda _: "known")
    cache = make_cache(kind)
    shown, code = report()
    about = shown["default"]
    assert (code, about["error"], about["remote"]) == (0, None, "remote")
    assert about["remote_read_seconds"] > 0
    assert 0 < about["local_hit_seconds"] < about["remote_read_seconds"] + 0.001
    assert cache.remote.get(PREFIX + "known") is None


@contextlib.contextmanager
def monitored(url):
    """The commands that the server receives meanwhile, without those of connecting."""
    commands = []
    with redis.Redis.from_url(url) as client, client.monitor() as monitor:
        yield commands
        with redis.Redis.from_url(url) as other:
            other.echo("that is all")
        for entry in monitor.listen():
            words = entry["command"].split()
            if words[0] == "ECHO":
                return
            if words[0] not in {"HELLO", "CLIENT", "SELECT", "MONITOR", "COMMAND"}:
                commands.append(words)


@pytest.mark.parametrize("kind", ["django", "django-redis"])
def test_what_the_server_is_sent(kind, make_cache):
    """Reads of one key, one SET of it that expires and replaces nothing, and one DEL; no other key is named."""
    cache = make_cache(kind)
    cache.set("theirs", "value", 3600)
    with monitored(caches.settings["remote"]["LOCATION"]) as commands:
        assert run()[1] == 0
    (key,) = {words[1] for words in commands}
    assert re.fullmatch(rf":1:{PREFIX}[0-9a-f]{{32}}", key)
    assert [words[0] for words in commands if words[0] not in {"GET", "PTTL"}] == ["SET", "DEL"]
    assert commands[-1][0] == "DEL"
    (stored,) = (words for words in commands if words[0] == "SET")
    assert "NX" in stored
    assert stored[stored.index("EX") + 1 if "EX" in stored else stored.index("PX") + 1] in {"30", "30000"}
    with monitored(caches.settings["remote"]["LOCATION"]) as again:
        run()
    assert again[0][1] != key, "two runs share a key"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ConnectionError("gone"), ValueError("a mistake of ours")])
def test_a_measurement_that_fails_leaves_nothing(error, make_cache, monkeypatch):
    """However it ends, Ctrl-C too, the key is deleted."""
    cache = make_cache("django-redis")
    held = []

    def broken(*_):
        held.extend(cache.remote.keys("*"))
        raise error

    monkeypatch.setattr("tieredcache.management.commands.tieredcache._time", broken)
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            run()
    else:
        assert run()[1] == 1
    assert len(held) == 1
    assert held[0].startswith(PREFIX)
    assert cache.remote.keys("*") == []


class Failing(LocMemCache):
    """Does not do the one thing that ``broken`` names."""

    broken = ""

    def add(self, *args, **kwargs):
        if self.broken == "add":
            raise ConnectionError("READONLY")
        if self.broken == "interrupted":
            super().add(*args, **kwargs)
            raise KeyboardInterrupt
        if self.broken == "answer":
            return not super().add(*args, **kwargs)
        return True if self.broken == "nothing kept" else super().add(*args, **kwargs)

    def delete(self, *args, **kwargs):
        if self.broken == "delete":
            raise ConnectionError("gone")
        return super().delete(*args, **kwargs)


@pytest.fixture
def failing(make_cache, monkeypatch):
    """A remote with one fault, and the key that the command will use."""
    monkeypatch.setattr("tieredcache.management.commands.tieredcache.secrets.token_hex", lambda _: "known")
    remote = make_cache({"BACKEND": "tests.features.test_command_remotes.Failing", "LOCATION": "failing"}).remote

    def break_(what):
        monkeypatch.setattr(type(remote), "broken", what)
        return remote

    return break_


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ("add", "ConnectionError"),
        ("delete", "ConnectionError"),
        ("nothing kept", "a key that was written to the remote could not be read back"),
    ],
)
def test_a_remote_that_can_only_be_read(broken, error, failing):
    """Is shown with what failed, and counts as one that failed."""
    failing(broken)
    shown, code = report()
    assert (code, shown["default"]["error"]) == (1, error)


def test_an_interrupted_write_may_have_been_done(failing):
    """So its key is deleted too."""
    remote = failing("interrupted")
    with pytest.raises(KeyboardInterrupt):
        run()
    assert not remote.has_key(PREFIX + "known")


def test_a_client_that_tries_twice(failing):
    """Is answered that its key is there already: its value shows that it is the command's, and it is deleted."""
    remote = failing("answer")
    assert report()[1] == 0
    assert not remote.has_key(PREFIX + "known")


def one_key(key, prefix, version):
    return "the-only-one"


def test_a_key_of_somebody_else_is_left_alone(make_cache):
    """Where a KEY_FUNCTION maps all keys to one, the command neither overwrites nor deletes it."""
    cache = make_cache("locmem", remote_alias={"KEY_FUNCTION": one_key})
    cache.set("theirs", "value")
    shown, code = report()
    assert (code, shown["default"]["error"]) == (1, "a key that was written to the remote could not be read back")
    assert cache.remote.get("theirs") == "value"


# --- the process's own tiers are neither used nor changed ---


def test_the_tiers_of_the_process_are_left_alone():
    """No counter moves, and no entry goes, though the tier is full; nor in an LRUCache."""
    lru = {"BACKEND": LRU, "LOCATION": "command", "OPTIONS": {"MAX_ENTRIES": 1}}
    with settings(default=tiered(MAX_ENTRIES=1), lru=lru, remote=DOUBLE):
        for alias in ("default", "lru"):
            caches[alias].set("kept", alias)
            caches[alias].get("kept")
            caches[alias].get("kept")
        before = {alias: caches[alias].stats() for alias in ("default", "lru")}
        assert run()[1] == 0
        assert {alias: caches[alias].stats() for alias in ("default", "lru")} == before
        reads = RemoteDouble.reads
        assert caches["default"].get("kept") == "default"
        assert caches["lru"].get("kept") == "lru"
        assert RemoteDouble.reads == reads


def test_a_local_hit_is_one(double):
    """Most of the reads of a hit's measurement do not reach the remote."""
    shown, _ = report()
    assert shown["default"]["local_hit_seconds"] < shown["default"]["remote_read_seconds"]
    assert RemoteDouble.reads < 100


def test_within_a_demand_on_freshness(double):
    """There are no local hits, and so none is shown."""
    with fresh():
        shown, code = report()
    assert (code, shown["default"]["local_hit_seconds"]) == (0, None)
    assert shown["default"]["remote_read_seconds"] > 0


def test_an_outage_of_the_process_is_not_believed(double, clock):
    """The remote is tried past the circuit, which is left as it is."""
    RemoteDouble.broken_reads = ConnectionError("gone")
    for _ in range(3):
        with pytest.raises(ConnectionError):
            double.get("key")
        clock.move(0.6)
    assert double.local.in_outage
    RemoteDouble.broken_reads = None
    shown, code = report()
    assert (code, shown["default"]["error"]) == (0, None)
    assert double.local.in_outage
