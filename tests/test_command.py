"""``manage.py tieredcache``: what it tells, what it leaves behind (nothing), and how it ends."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from django.core import checks
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.test import override_settings

from tests.conftest import LRU, TIERED
from tests.doubles import RemoteDouble
from tieredcache import fresh
from tieredcache.backends import TieredCache
from tieredcache.management.commands.tieredcache import MISCONFIGURED, UNREACHABLE, Command
from tieredcache.options import _LRU, _TIERED
from tieredcache.report import measurements
from tieredcache.report.measurements import PREFIX

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "command.md"
DOUBLE = {"BACKEND": "tests.doubles.RemoteDouble", "LOCATION": "command"}
DEAD = {
    "BACKEND": "django_redis.cache.RedisCache",
    "LOCATION": "redis://user:s3cret%2Fword@127.0.0.1:1/0",
    "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 0.1, "CONNECTION_POOL_KWARGS": {"retry": None}},
}


def run(*args):
    """What the command prints, and its exit code."""
    out = io.StringIO()
    try:
        call_command(Command(), *args, stdout=out, no_color=True)
    except CommandError as error:
        return out.getvalue(), error.returncode
    return out.getvalue(), 0


def report(*args):
    """The facts, and the exit code."""
    text, code = run("--json", *args)
    return json.loads(text), code


@contextlib.contextmanager
def settings(**aliases):
    """CACHES, with a default that is nobody's."""
    nobody = {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}
    with override_settings(CACHES={"default": nobody, **aliases}):
        yield
        for cache in caches.all(initialized_only=True):
            with contextlib.suppress(Exception):
                cache.clear()
        caches.close_all()


def tiered(location="remote", **options):
    return {"BACKEND": TIERED, "LOCATION": location, "OPTIONS": options}


@pytest.fixture
def double():
    """A tier over a remote that can be made to fail."""
    RemoteDouble.reads, RemoteDouble.pause, RemoteDouble.broken, RemoteDouble.broken_reads = 0, None, None, None
    with settings(default=tiered(), remote=DOUBLE):
        yield caches["default"]
    RemoteDouble.broken = RemoteDouble.broken_reads = None


# --- every kind of remote ---


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # clients that leave sockets to the garbage collector
@pytest.mark.filterwarnings("ignore:.* on sharded client:UserWarning")  # django-redis warns of its own calls
@pytest.mark.parametrize(
    ("kind", "life"),
    [
        ("locmem", "not told"),
        ("file", "not told"),
        ("memcached", "not told"),
        ("fakeredis", "with the value"),
        ("django", "with the value"),
        ("django-redis", "with the value"),
        ("django-redis-json", "with the value"),
        ("django-redis-herd", "in a second call"),
        ("django-redis-shard", "in a second call"),
        ("django-redis-sentinel", "with the value"),
        ("django-valkey", "with the value"),
        ("django-valkey-cluster", "with the value"),
    ],
)
def test_every_kind_of_remote(kind, life, make_cache, monkeypatch):
    """Is reached and measured, tells of lives what the docs say it does, and keeps nothing."""
    monkeypatch.setattr(measurements.secrets, "token_hex", lambda _: "known")
    cache = make_cache(kind)
    facts, code = report()
    remote = facts["remotes"]["remote"]
    assert (code, remote["error"], remote["reachable"]) == (0, None, True)
    assert remote["remaining_life"] == life
    assert remote["remote_read"]["median_seconds"] > 0
    assert 0 < remote["remote_read"]["reads"] <= 200
    assert 0 < facts["aliases"]["default"]["local_hit"]["median_seconds"] < 0.001
    assert cache.remote.get(PREFIX + "known") is None


@pytest.mark.parametrize("backend", ["django.core.cache.backends.redis.RedisCache", "django_redis.cache.RedisCache"])
def test_a_server_that_may_not_tell_lives(backend, make_cache, valkey_url):
    """Is reached, and said to have nothing of it kept."""
    with redis.Redis.from_url(valkey_url) as client:
        rights = {"categories": ["+@all"], "commands": ["-pttl"], "keys": ["*"]}
        client.acl_setuser("tieredcache", enabled=True, passwords=["+s3cret"], **rights)
    try:
        location = valkey_url.replace("//", "//tieredcache:s3cret@") + "/8"
        make_cache({"BACKEND": backend, "LOCATION": location})
        facts, code = report()
        assert (facts["remotes"]["remote"]["remaining_life"], code) == ("refused", 0)
        assert re.search(r"^  remaining life +refused: no value is kept locally", run()[0], re.MULTILINE)
    finally:
        caches.close_all()
        with redis.Redis.from_url(valkey_url) as client:
            client.acl_deluser("tieredcache")


# --- what it leaves behind ---


@contextlib.contextmanager
def monitored(url):
    """The commands that the server receives meanwhile, but for those of connecting."""
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
def test_what_the_server_is_sent(kind, make_cache, monkeypatch):
    """Reads of one key, one SET of it that expires and replaces nothing, and one DEL; nobody else's key is named."""
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


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ConnectionError("gone"), ValueError("a fault of ours")])
def test_a_measurement_that_fails_leaves_nothing(error, make_cache, monkeypatch):
    """However it is broken off, Ctrl-C too, the key is removed."""
    cache = make_cache("django-redis")
    held = []

    def broken(*_):
        held.extend(cache.remote.keys("*"))
        raise error

    monkeypatch.setattr(measurements, "_measure", broken)
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            run()
    else:
        with contextlib.suppress(ValueError, ConnectionError):  # the local hit is measured by the same means
            run()
    assert len(held) == 1
    assert held[0].startswith(PREFIX)
    assert cache.remote.keys("*") == []


class Interrupted(LocMemCache):
    """Is interrupted when it has written, and cannot remove either."""

    removable = True
    written = None

    def add(self, key, *args, **kwargs):
        type(self).written = key
        super().add(key, *args, **kwargs)
        raise KeyboardInterrupt

    def delete(self, key, version=None):
        if not self.removable:
            raise ConnectionError("gone")
        return super().delete(key, version)


@pytest.mark.parametrize("removable", [True, False])
def test_an_interrupted_write_may_have_been_done(removable, make_cache, monkeypatch):
    """So its key is removed too; and a removal that fails does not hide the interrupt."""
    cache = make_cache({"BACKEND": "tests.test_command.Interrupted", "LOCATION": "interrupted"})
    monkeypatch.setattr(type(cache.remote), "removable", removable)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert cache.remote.has_key(cache.remote.written) is not removable


class Failing(LocMemCache):
    """Does not do the one thing that ``broken`` names."""

    broken = ""

    def add(self, *args, **kwargs):
        if self.broken == "add":
            raise ConnectionError("READONLY")
        if self.broken == "answer":
            return not super().add(*args, **kwargs)
        return True if self.broken == "nothing kept" else super().add(*args, **kwargs)

    def delete(self, *args, **kwargs):
        if self.broken == "delete":
            raise ConnectionError("gone")
        return super().delete(*args, **kwargs)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("add", "a key could not be written, read and removed: ConnectionError: READONLY"),
        ("delete", f"{PREFIX}.*could not be removed, and expires within 30 s: ConnectionError: gone"),
        ("nothing kept", "what had been written to it could not be read back"),
    ],
)
def test_a_remote_that_can_only_be_read(broken, said, make_cache, monkeypatch):
    """Is said to be reached, with what failed; for scripts it counts as one that cannot be reached."""
    cache = make_cache({"BACKEND": "tests.test_command.Failing", "LOCATION": "failing"})
    monkeypatch.setattr(type(cache.remote), "broken", broken)
    facts, code = report()
    assert code == UNREACHABLE
    assert facts["remotes"]["remote"]["reachable"] is True
    assert re.search(said, facts["remotes"]["remote"]["error"])
    assert "reached, but" in run()[0]


def test_a_client_that_tries_twice(make_cache, monkeypatch):
    """Is told that its key is there already, by itself: the key is known by its value, and removed."""
    cache = make_cache({"BACKEND": "tests.test_command.Failing", "LOCATION": "failing"})
    monkeypatch.setattr(type(cache.remote), "broken", "answer")
    monkeypatch.setattr(measurements.secrets, "token_hex", lambda _: "known")
    assert report()[1] == 0
    assert not cache.remote.has_key(PREFIX + "known")


def one_key(key, prefix, version):
    return "the-only-one"


def test_a_key_that_is_somebodys_is_left_alone(make_cache):
    """Where a KEY_FUNCTION makes one key of all, the command neither overwrites nor removes it."""
    cache = make_cache("locmem", remote_alias={"KEY_FUNCTION": one_key})
    cache.set("theirs", "value")
    facts, code = report()
    assert (code, facts["remotes"]["remote"]["error"]) == (3, "what had been written to it could not be read back")
    assert cache.remote.get("theirs") == "value"
    assert facts["aliases"]["default"]["local_hit"]["reads"] > 0


# --- what the process has, it neither uses nor changes ---


def test_the_process_own_tiers_are_left_alone(make_cache):
    """No counter moves, no entry goes, though the tier is full; nor in an LRUCache."""
    lru = {"BACKEND": LRU, "LOCATION": "command", "OPTIONS": {"MAX_ENTRIES": 1}}
    with settings(default=tiered(MAX_ENTRIES=1), upper=tiered("default"), lru=lru, remote=DOUBLE):
        for alias in ("default", "upper", "lru"):
            caches[alias].set("kept", alias)
            caches[alias].get("kept")
            caches[alias].get("kept")
        before = {alias: caches[alias].stats() for alias in ("default", "upper", "lru")}
        assert run()[1] == 0
        assert {alias: caches[alias].stats() for alias in ("default", "upper", "lru")} == before
        reads = RemoteDouble.reads
        assert caches["default"].get("kept") == "upper"
        assert caches["lru"].get("kept") == "lru"
        assert RemoteDouble.reads == reads


def test_an_outage_of_the_process_is_not_believed(double):
    """The remote is tried past the gate, which would let nobody through, and the outage is left to end as outages do."""
    RemoteDouble.broken_reads = ConnectionError("gone")
    with pytest.raises(ConnectionError):
        double.get("key")
    RemoteDouble.broken_reads = None
    assert double.local.in_outage
    facts, code = report()
    assert (code, facts["remotes"]["remote"]["reachable"]) == (0, True)
    assert facts["aliases"]["default"]["local_hit"]
    assert double.local.in_outage


def test_a_local_hit_is_one(double):
    """The remote is read as often as its own measurement says, and once before; inside fresh() too."""
    with fresh():
        facts, _ = report()
    assert facts["remotes"]["remote"]["remote_read"]["reads"] + 1 == RemoteDouble.reads
    assert facts["aliases"]["default"]["local_hit"]["reads"] >= 200


def test_local_hits_where_keys_are_made_in_another_way():
    """Are measured too, on the way that these take."""
    own = {"KEY_FUNCTION": one_key}
    with settings(default=tiered(), lru={"BACKEND": LRU, "LOCATION": "own", **own}, remote={**DOUBLE, **own}):
        facts, _ = report()
        assert caches["lru"].stats().entries == caches["lru"].stats().hits == 0
    for alias in ("default", "lru"):
        assert facts["aliases"][alias]["local_hit"]["reads"] >= 200


def test_a_local_hit_takes_the_hit_path(double, monkeypatch):
    """And not the longer one, which would look for the entry once more."""
    monkeypatch.setattr(TieredCache, "_get", None)
    facts, _ = report()
    assert facts["aliases"]["default"]["local_hit"]["reads"] >= 200


def test_both_measurements_are_bounded(double, clock, monkeypatch):
    """In time: reads of 0.2 s are made until half a second is over. The first, which connects, is not counted."""
    monkeypatch.setattr(RemoteDouble, "_read", lambda self: clock.move(0.2))
    facts, _ = report()
    assert facts["remotes"]["remote"]["remote_read"] == {"median_seconds": pytest.approx(0.2), "reads": 3}
    assert facts["aliases"]["default"]["local_hit"] == {"median_seconds": 0, "reads": 10_000}


# --- the facts ---


def test_settings_and_defaults():
    """Every option with its value as it takes effect, and which are the default."""
    options = {"LOCAL_TIMEOUT": 2, "LOCAL_TIMEOUTS": {"geo.": 600, "rl:": 0}, "SHARE_VALUES": ["geo."], "JITTER": 0.1}
    with settings(default=tiered(**options), remote={**DOUBLE, "TIMEOUT": None}):
        (facts, _), (text, _) = report(), run()
    about = facts["aliases"]["default"]
    assert about["settings"] == {
        "local_timeout_seconds": 2,
        "local_timeouts_seconds": {"geo.": 600},
        "max_entries": 1000,
        "miss_timeout_seconds": 0,
        "jitter": 0.1,
        "share_values": ["geo."],
        "stale_while_revalidate_seconds": 0,
        "stale_if_error_seconds": 0,
        "remote_errors": "raise",
        "retry_after_seconds": 1,
    }
    assert set(about["settings"]) - set(about["defaults"]) == {
        "local_timeout_seconds",
        "local_timeouts_seconds",
        "share_values",
    }
    assert (about["timeout_seconds"], about["timeout_from"]) == (None, "remote")
    for option in _TIERED:
        assert re.search(rf"^  {option} +\S", text, re.MULTILINE), option
    assert re.search(r"^  LOCAL_TIMEOUT +2 s$", text, re.MULTILINE)
    assert re.search(r"^  JITTER +0.1 \(default\)$", text, re.MULTILINE)
    assert re.search(r"^  SHARE_VALUES +'geo.'$", text, re.MULTILINE)
    assert re.search(r"^  TIMEOUT +None: what is written does not expire \(of remote\)$", text, re.MULTILINE)


def test_the_timeout_of_writes():
    """The first alias on the way to the remote that sets one; else Django's."""
    with settings(a={**tiered(), "TIMEOUT": 60}, b=tiered("a"), c=tiered(), remote=DOUBLE):
        aliases = report()[0]["aliases"]
        texts = {name: run(name)[0] for name in aliases}
    found = {name: (about["timeout_seconds"], about["timeout_from"]) for name, about in aliases.items()}
    assert found == {"a": (60, "a"), "b": (60, "a"), "c": (300, None)}
    for name, text in (("a", "60 s"), ("b", "60 s (of a)"), ("c", "300 s (default)")):
        assert f"  TIMEOUT                 {text}\n" in texts[name]


BOUNDS = [
    ([{}], (5, 5, 5)),
    ([{"LOCAL_TIMEOUTS": {"geo.": 600}}], (600, 5, 600)),
    ([{"STALE_WHILE_REVALIDATE": 2, "STALE_IF_ERROR": 3600}], (7, 7, 3605)),
    ([{"STALE_WHILE_REVALIDATE": 20, "STALE_IF_ERROR": 3}], (25, 25, 25)),
    ([{"LOCAL_TIMEOUT": 0, "STALE_WHILE_REVALIDATE": 2, "STALE_IF_ERROR": 9}], (0, 0, 0)),
    ([{"LOCAL_TIMEOUT": 0, "LOCAL_TIMEOUTS": {"flag.": 1}, "STALE_WHILE_REVALIDATE": 2}], (3, 0, 3)),
    ([{"LOCAL_TIMEOUT": 1}, {"LOCAL_TIMEOUT": 10, "STALE_IF_ERROR": 60}], (11, 11, 71)),
    ([{"LOCAL_TIMEOUT": 1}, {"LOCAL_TIMEOUT": 2}, {"LOCAL_TIMEOUT": 4}], (7, 7, 7)),
    ([{"LOCAL_TIMEOUT": 5, "MISS_TIMEOUT": 2}, {"LOCAL_TIMEOUT": 0}], (2, 2, 2)),
]


@pytest.mark.parametrize(("tiers", "expected"), BOUNDS)
def test_the_staleness_bound(tiers, expected):
    """Of any key, of one without a prefix of its own, and in an outage; summed over a chain."""
    aliases = {f"tier{number}": tiered(f"tier{number + 1}", **options) for number, options in enumerate(tiers)}
    aliases["remote" if not tiers else f"tier{len(tiers)}"] = DOUBLE
    with settings(**aliases):
        facts, _ = report("tier0")
        text, _ = run("tier0")
    about = facts["aliases"]["tier0"]
    kinds = ("", "_without_prefix", "_in_outage")
    assert tuple(about[f"staleness_bound{kind}_seconds"] for kind in kinds) == expected
    assert about["chain"] == [f"tier{number}" for number in range(1, len(tiers) + 1)]
    assert re.search(rf"^  staleness bound +{expected[0]} s[:,]", text, re.MULTILINE)


@pytest.mark.parametrize("tiers", [[{"LOCAL_TIMEOUT": 0}], [{}, {"LOCAL_TIMEOUT": 0}]])
def test_nothing_kept(tiers):
    """No local hit is measured where there can be none: a tier keeps nothing that the one below has not kept."""
    aliases = {f"tier{number}": tiered(f"tier{number + 1}", **options) for number, options in enumerate(tiers)}
    with settings(**aliases, **{f"tier{len(tiers)}": DOUBLE}):
        facts, code = report("tier0")
        text, _ = run("tier0")
    assert (facts["aliases"]["tier0"]["keeps_values"], facts["aliases"]["tier0"]["local_hit"], code) == (False, None, 0)
    assert "none to measure: no value is kept locally" in text


def test_a_prefix_that_catches_the_commands_own_key():
    """Does not keep the hit from being measured."""
    with settings(default=tiered(LOCAL_TIMEOUTS={PREFIX: 0}), remote=DOUBLE):
        facts, _ = report()
    assert facts["aliases"]["default"]["local_hit"]["reads"] == 10_000
    assert facts["remotes"]["remote"]["error"] is None


def test_built_in_prefixes():
    """Which are in force, and which LOCAL_TIMEOUTS has overridden, in whole or in part."""
    timeouts = {"throttle_": 2, "rl:login:": 3, "rl:": 0, "flag.": 1}
    with settings(default=tiered(LOCAL_TIMEOUTS=timeouts), remote=DOUBLE):
        facts, _ = report()
        text, _ = run()
    about = facts["aliases"]["default"]
    assert about["excluded_prefixes"] == ["django.contrib.sessions.cache", "django.contrib.sessions.cached_db", "rl:"]
    assert about["overridden_prefixes_seconds"] == {"throttle_": 2, "rl:login:": 3}
    assert re.search(r"^  overridden +'throttle_': 2 s, 'rl:login:': 3 s", text, re.MULTILINE)


def test_a_chain(make_cache):
    """Leads to the remote at its end, which is tried once for all aliases over it."""
    with settings(upper=tiered("lower"), lower=tiered(), remote=DOUBLE):
        RemoteDouble.reads = 0
        facts, _ = report()
        assert RemoteDouble.reads == facts["remotes"]["remote"]["remote_read"]["reads"] + 1
        text, _ = run("upper")
    assert facts["aliases"]["upper"]["chain"] == ["lower", "remote"]
    assert facts["aliases"]["upper"]["reader"] == "ChainReader"
    assert facts["aliases"]["lower"]["reader"] == "Reader"
    assert list(facts["remotes"]) == ["remote"]
    assert "; the sum over the chain\n" in text
    assert re.search(r"^  tiers below +lower$", text, re.MULTILINE)
    assert re.search(r"^  remote tier +remote, tests.doubles.RemoteDouble$", text, re.MULTILINE)


def test_an_lru_cache():
    """Has only a local tier, and is said to."""
    with settings(lru={"BACKEND": LRU, "LOCATION": "lookups", "OPTIONS": {"MAX_ENTRIES": 7}}):
        (facts, code), (text, _) = report(), run()
    about = facts["aliases"]["lru"]
    assert (code, facts["remotes"], about["kind"]) == (0, {}, "lru")
    assert about["settings"] == {"max_entries": 7, "cull_frequency": 3}
    assert about["defaults"] == ["cull_frequency"]
    assert about["timeout_seconds"] == 300
    assert about["local_hit"]["reads"] == 10_000
    assert "a local tier only" in text
    for option in _LRU:
        assert re.search(rf"^  {option} +\S", text, re.MULTILINE), option


# --- what is wrong ---


@pytest.mark.parametrize("options", [{"REMOTE_ERRORS": "ignore"}, {"REMOTE_ERRORS": "raise"}])
@pytest.mark.parametrize("swallowing", [False, True])
def test_a_dead_remote(options, swallowing):
    """Is told, with the client's error, whoever ignores it; the rest is still reported."""
    remote = {**DEAD, "OPTIONS": {**DEAD["OPTIONS"], "IGNORE_EXCEPTIONS": swallowing}}
    with settings(default=tiered(**options), lru={"BACKEND": LRU}, remote=remote):
        (facts, code), (text, _) = report(), run()
    assert code == UNREACHABLE == 3
    found = facts["remotes"]["remote"]
    assert (found["reachable"], found["remote_read"], found["remaining_life"]) == (False, None, None)
    assert re.match(r"ConnectionError: .*127.0.0.1:1", found["error"])
    assert "not reached: ConnectionError" in text
    assert facts["aliases"]["default"]["local_hit"]
    assert facts["aliases"]["lru"]["error"] is None


def test_a_misconfigured_alias():
    """Is shown with the message that its cache raises; the others are reported; and it weighs more than a dead remote."""
    aliases = {
        "bad": tiered(LOCAL_TIMEOUTT=3),
        "over": tiered("bad"),
        "url": tiered("redis://:s3cret@127.0.0.1:1"),
        "gone": tiered("lost"),
        "lost": {"BACKEND": "no.such.Backend"},
        "typo": {"BACKEND": "tieredcache.backends.TieredCach", "LOCATION": "remote"},
        "odd": tiered("options"),
        "options": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "OPTIONS": {"parser_class": "no.such.Parser"}},
        "fine": tiered(),
        "dead": tiered("deadremote"),
        "deadremote": DEAD,
    }
    with settings(**aliases, remote=DOUBLE):
        (facts, code), (text, _) = report(), run()
    assert code == MISCONFIGURED == 4
    errors = {alias: about["error"] for alias, about in facts["aliases"].items()}
    assert {alias for alias, error in errors.items() if error} == {"bad", "over", "url", "gone", "typo", "odd"}
    for alias in ("bad", "over"):
        assert "CACHES['bad']: OPTIONS['LOCAL_TIMEOUTT'] is 3, an unknown name. Did you mean LOCAL_TIMEOUT?" in errors[alias]
    assert "no.such" in errors["gone"]
    assert "TieredCach" in errors["typo"]
    assert "CACHES['odd']: its cache, or one below it, cannot be made: " in errors["odd"]
    assert errors["url"].startswith("CACHES['url']: LOCATION is 'redis://:***@127.0.0.1:1', not an alias in CACHES.")
    assert "Did you mean LOCAL_TIMEOUT?" in " ".join(text.split())
    assert facts["aliases"]["fine"]["local_hit"]
    assert not facts["remotes"]["deadremote"]["reachable"]
    assert "s3cret" not in text + json.dumps(facts)


class Demanding(LocMemCache):
    """Finds out what is wrong with its settings when it is first used."""

    def get(self, *args, **kwargs):
        raise ImproperlyConfigured("set SERVERS")


def test_a_remote_that_finds_fault_with_its_settings():
    """Makes its alias a misconfigured one, though it could be made."""
    with settings(default=tiered(), remote={"BACKEND": "tests.test_command.Demanding"}):
        facts, code = report()
    assert (facts["aliases"]["default"]["error"], facts["remotes"], code) == ("set SERVERS", {}, MISCONFIGURED)


def test_an_error_that_quotes_a_password():
    """A slash that is not quoted ends a URL's host, and redis-py names what it then takes for the port."""
    remote = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://:s3cret/word@127.0.0.1:1"}
    with settings(default=tiered(), remote=remote):
        (facts, code), (text, _) = report(), run()
    assert code == UNREACHABLE
    assert "'***'" in facts["remotes"]["remote"]["error"]
    assert "s3cret" not in text + json.dumps(facts)


def test_system_checks_do_not_keep_it_from_running(capsys, monkeypatch):
    """One that fails, as one for a misconfigured alias may: the others are to be reported."""

    def failing(**_):
        return [checks.Error("something is wrong")]

    with settings(lru={"BACKEND": LRU}):
        checks.register(failing)
        try:
            Command().run_from_argv(["manage.py", "tieredcache"])
        finally:
            checks.registry.registry.registered_checks.discard(failing)
    assert "lru: tieredcache.backends.LRUCache" in capsys.readouterr().out


def test_both_problems_are_named():
    """In the message that Django prints to stderr."""
    with settings(bad=tiered("no"), dead=tiered("remote"), remote=DEAD), pytest.raises(CommandError) as raised:
        call_command(Command(), stdout=io.StringIO())
    assert str(raised.value) == "Misconfigured: bad. Remotes that fail: remote."


def test_no_tiered_alias():
    """Is no error: the command says so; who wants one names it."""
    with settings():
        assert report() == ({"aliases": {}, "remotes": {}}, 0)
        assert run() == ("No alias in CACHES has a local tier: none is a TieredCache or an LRUCache.\n", 0)
        with pytest.raises(CommandError, match=r"'default' is no alias .* None in CACHES has one\.") as raised:
            call_command(Command(), "default")
    assert raised.value.returncode == 1


def test_aliases_by_name():
    """Limit what is told, and tried; an unknown one is told with those there are."""
    with settings(one=tiered(), two=tiered("deadremote"), remote=DOUBLE, deadremote=DEAD):
        facts, code = report("one")
        assert (list(facts["aliases"]), list(facts["remotes"]), code) == (["one"], ["remote"], 0)
        for unknown in ("three", "remote"):
            with pytest.raises(CommandError, match=rf"'{unknown}' is no alias .* Those that have one: one, two\."):
                call_command(Command(), "one", unknown)


# --- how it prints, and ends ---


def test_eighty_columns():
    """And nothing that only a terminal understands."""
    aliases = {
        "default": tiered(LOCAL_TIMEOUTS={f"prefix{number}.": number for number in range(20)}),
        "dead": tiered("gone"),
    }
    with settings(**aliases, bad=tiered(JITTERY=1), lru={"BACKEND": LRU}, remote=DOUBLE, gone=DEAD):
        text, _ = run()
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_the_durations_people_read(double, clock, monkeypatch):
    """Three digits, in the unit that has them before the point."""
    for seconds, text in ((2e-8, "20 ns"), (0.9996e-6, "1 µs"), (0.000123, "123 µs"), (0.0456, "45.6 ms"), (3, "3 s")):
        monkeypatch.setattr(RemoteDouble, "_read", lambda self, seconds=seconds: clock.move(seconds))
        clock.now = 0.0
        assert re.search(rf"^  remote read +{text}, the median of \d+$", run()[0], re.MULTILINE)


def manage(*args, **environment):
    """The command as Django finds it, in the shop."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "example_project.settings", **environment}
    command = [sys.executable, "-m", "django", "tieredcache", *args]
    return subprocess.run(command, check=False, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_exit_codes():
    """Of the command itself: those of the page, and told from Django's own. What is printed is JSON whatever they say."""
    dead = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    for args, code in ((["default"], UNREACHABLE), (["local"], 0)):
        done = manage("--json", *args, **dead)
        assert (done.returncode, list(json.loads(done.stdout)["aliases"])) == (code, args)
    assert "Remotes that fail: remote." in manage("default", **dead).stderr
    assert manage("nobody").returncode == 1
    assert manage("--no-such-option").returncode == 2


def test_the_page_shows_what_is_printed(valkey_url):
    """But for the figures that were measured."""
    done = manage("default", "local", REDIS_URL=f"{valkey_url}/8")
    assert (done.returncode, done.stderr) == (0, "")
    shown = re.search(r"^```text\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)[1]

    def without_figures(text):
        return re.sub(
            r"^(  (?:local hit|remote read) +)[\d.]+ (?:ns|µs|ms|s), the median of [\d,]+$", r"\1", text, flags=re.MULTILINE
        )

    assert without_figures(done.stdout) == without_figures(shown)
    assert without_figures(shown) != shown


def table(heading):
    """The first column of the table under a heading of the page."""
    section = PAGE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)


def names(value, path=""):
    """The names in the JSON, dotted; aliases and prefixes, which are the user's, as ``*``."""
    if path in {"aliases", "remotes"}:
        value = dict.fromkeys("*", *value.values())  # there is one at most
    if isinstance(value, dict) and not path.endswith(("local_timeouts_seconds", "overridden_prefixes_seconds")):
        for name, part in value.items():
            yield from names(part, f"{path}.{name}".lstrip("."))
    else:
        yield path


def test_the_page_names_everything():
    """The names in the JSON and the exit codes are those of the page, no more and no fewer."""
    aliases = {"default": tiered(), "lru": {"BACKEND": LRU}, "bad": tiered("no"), "remote": DOUBLE}
    found = set()
    with override_settings(CACHES=aliases):
        for alias in ("default", "lru", "bad"):
            found.update(names(report(alias)[0]))
    found -= {"remotes.*"}  # of an alias that has none
    assert table("JSON") == sorted(set(table("JSON")), key=table("JSON").index), "twice"
    assert set(table("JSON")) == found
    assert table("Exit codes") == ["0", "1", "2", str(UNREACHABLE), str(MISCONFIGURED)]
