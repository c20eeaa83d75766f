"""``manage.py tieredcache plan`` on a running server: what MONITOR prints, and how it ends where that is not to be had."""

import contextlib
import csv
import os
import re
import signal
import subprocess
import sys
import threading
import time
from unittest import mock

import pytest
import redis
from django.core.cache import caches
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from tests.support import servers
from tests.support.caches import remote_settings
from tests.support.plans import plan, report
from tests.support.programs import need
from tieredcache.plan.monitor import Recorder, parse, unescape, watch

SECRET = "s3cret-value"


# --- the lines ---


@contextlib.contextmanager
def monitor(client):
    """A connection on which the server prints what it is sent; calling it gives the next line."""
    connection = client.connection_pool.connection_class(**client.connection_pool.connection_kwargs)
    try:
        connection.send_command("MONITOR")
        connection.read_response()
        yield lambda: connection.read_response(disable_decoding=True)
    finally:
        connection.disconnect()


@pytest.fixture(scope="module")
def watched(valkey_url):
    """A client, and the lines of what it sends."""
    with redis.Redis.from_url(valkey_url) as client:
        client.ping()
        with monitor(client) as lines:
            yield client, lines


@given(key=st.binary(min_size=1), value=st.binary())
def test_a_key_is_what_was_sent_and_a_value_as_long(watched, key, value):
    """Whatever bytes they are: quotes, newlines, backslashes, what is no UTF-8."""
    client, lines = watched
    client.set(key, value)
    line = lines()
    _, _, sender, arguments = parse(line)
    assert [unescape(argument) for argument in arguments] == [b"SET", key, value]
    assert sender.startswith("127.0.0.1:")
    recorder = Recorder({0}, lambda name: name)
    recorder.feed(line)
    (event,) = recorder.events
    assert (event.operation, event.key.encode(errors="surrogateescape"), event.bytes) == ("set", key, len(value))


def events(*commands, database=0):
    """What is recorded of lines as a server prints them: (time, client, command ...)."""
    recorder = Recorder({0}, lambda name: None if name.startswith("other:") else name)
    for when, client, *words in commands:
        arguments = " ".join(f'"{word}"' for word in words)
        recorder.feed(f"{when:.6f} [{database} {client}] {arguments}".encode())
    return [(event.process, event.operation, event.key, event.bytes) for event in recorder.events]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["GET", "k"], [("get", "k", None)]),
        (["mget", "k", "l"], [("get", "k", None), ("get", "l", None)]),
        (["SET", "k", "four", "EX", "3"], [("set", "k", 4)]),
        (["SETEX", "k", "3", r"f\x00\"r"], [("set", "k", 4)]),
        (["MSET", "k", "1", "l", "22"], [("set", "k", 1), ("set", "l", 2)]),
        (["DEL", "k", "other:x"], [("delete", "k", None)]),
        (["PEXPIRE", "k", "3"], [("touch", "k", None)]),
        (["INCRBY", "k", "3"], [("incr", "k", None)]),
        (["PING"], []),
        (["SCAN", "0"], []),
    ],
)
def test_commands(words, expected):
    """Those that read or write keys; of others' keys nothing."""
    assert [event[1:] for event in events((1, "a", *words))] == expected


def test_addresses():
    """Of both protocols, of a socket; other databases do not count, and what is no line of MONITOR neither."""
    clients = ["127.0.0.1:5", "[::1]:5", "unix:/run/valkey.sock"]
    assert [event[0] for event in events(*((1, client, "GET", "k") for client in clients))] == clients
    assert events((1, "a", "GET", "k"), database=2) == []
    assert parse(b"OK") is None


def test_a_script_reads_for_its_caller():
    """The server prints its commands after the call, and without the client."""
    found = events((1, "a", "GET", "x"), (2, "b", "EVALSHA", "0f", "1", "k"), (2, "lua", "GET", "k"), (3, "a", "GET", "x"))
    assert [(process, key) for process, _, key, _ in found] == [("a", "x"), ("b", "k"), ("a", "x")]


@pytest.mark.parametrize(
    ("commands", "operations"),
    [
        ([(1, "a", "GET", "k"), (1.5, "a", "SET", "k", "v")], "miss set"),  # what was computed
        ([(1, "a", "GET", "k"), (3, "a", "SET", "k", "v")], "get set"),
        ([(1, "a", "GET", "k"), (1.5, "b", "SET", "k", "v")], "get set"),
        ([(0, "b", "SET", "k", "v"), (1, "a", "GET", "k"), (1.5, "a", "SET", "k", "v")], "set get set"),  # it was there
        ([(0, "b", "DEL", "k"), (1, "a", "GET", "k")], "delete miss"),
        ([(0, "b", "SET", "k", "v", "EX", "9"), (8, "a", "GET", "k"), (10, "a", "GET", "k")], "set get miss"),
        ([(0, "b", "SET", "k", "v", "PX", "9"), (1, "a", "EXPIRE", "k", "9"), (2, "a", "GET", "k")], "set touch miss"),
        ([(0, "b", "SETEX", "k", "9", "v"), (1, "a", "EXPIRE", "k", "30"), (20, "a", "GET", "k")], "set touch get"),
        ([(0, "b", "SET", "k", "v"), (1, "a", "SET", "k", "w", "NX")], "set"),  # refused
    ],
)
def test_misses_are_told_from_what_is_known_of_a_key(commands, operations):
    """MONITOR prints no replies."""
    assert " ".join(event[1] for event in events(*commands)) == operations


# --- the servers ---


@contextlib.contextmanager
def busy(cache):
    """Somebody who uses ``cache`` all the time, from a thread, and so over a connection of his own."""
    ended = threading.Event()
    cache.set("product:1", SECRET)

    def use():
        while not ended.wait(0.005):
            cache.get("product:1")
            cache.get_many(["product:1", "product:2"])
            cache.set("flag.x", SECRET, 60)

    thread = threading.Thread(target=use)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def clients(cache):
    """How many connections the server of this cache has."""
    client = getattr(cache, "client", None) or cache._cache
    return len(client.get_client(write=True).client_list())


KINDS = ["django", "django-redis", "django-redis-sentinel", "django-redis-shard", "django-valkey", "django-valkey-cluster"]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # clients that leave sockets to the garbage collector
@pytest.mark.filterwarnings("ignore:.* on sharded client:UserWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_every_client_is_watched(kind, request):
    """Over connections made as its own are; keys are named as the application names them; none is left."""
    with override_settings(CACHES={"default": remote_settings(kind, request) | {"KEY_PREFIX": "shop"}}):
        cache = caches["default"]
        try:
            with busy(cache):
                found, _ = watch(cache, "default", 0.5, None)
            names = {(event.operation, event.key) for event in found}
            assert {("get", "product:1"), ("set", "flag.x")} <= names
            assert {key for _, key in names} == {"product:1", "product:2", "flag.x"}
            if kind not in {"django-redis-shard", "django-valkey-cluster"}:
                before = clients(cache)
                watch(cache, "default", 0.05, None)
                assert clients(cache) == before
        finally:
            caches.close_all()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_server_with_tls_and_a_password(tmp_path):
    """Both from the settings of the alias."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    port = servers.free_port()
    options = ["--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    options += ["--tls-auth-clients", "no", "--requirepass", "s3cret"]
    config = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "OPTIONS": {"ssl_ca_certs": str(certificate)}}
    with (
        servers.valkey(*options, binary=need("redis-server")),
        override_settings(CACHES={"default": config | {"LOCATION": f"rediss://:s3cret@127.0.0.1:{port}/2"}}),
    ):
        with busy(caches["default"]):
            found, _ = watch(caches["default"], "default", 0.5, None)
        caches.close_all()
    assert ("get", "product:1") in {(event.operation, event.key) for event in found}


@pytest.fixture
def site(valkey_url):
    """The settings of a project with plain django-redis."""
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    with override_settings(CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"{valkey_url}/9"}}):
        yield valkey_url
        caches.close_all()


def keys_in(trace):
    return {row[3] for row in list(csv.reader(trace.read_text().splitlines()))[1:]}


def test_from_a_server_to_a_plan(site, tmp_path):
    """What was watched is written, and makes the same plan; other keys are left out."""
    path = tmp_path / "watched.csv"
    with redis.Redis.from_url(f"{site}/9") as other, busy(caches["default"]):
        thread = threading.Timer(0.3, lambda: other.set("sessions", "x"))
        thread.start()
        shown = report("--yes", "--seconds", "1", "--record", path)
        thread.join()
    assert (shown["processes"], shown["others"]) == (1, 1)
    assert {row["prefix"] for row in shown["prefixes"]} == {"product:", "flag."}
    assert keys_in(path) == {"product:1", "product:2", "flag.x"}
    again = report("--trace", path)
    assert again["events"] == shown["events"]
    assert SECRET not in path.read_text()


def test_connections_with_a_name_are_one_process(site):
    """On one host; without one each is a process, and ``--processes`` overrides."""
    cache = caches["default"]
    pool = {"connection_pool": redis.ConnectionPool.from_url(f"{site}/9", client_name="web-1")}
    with redis.Redis(**pool) as one, redis.Redis.from_url(f"{site}/9", client_name="web-1") as two:
        named = [one, two]
        with redis.Redis.from_url(f"{site}/9") as other:
            for client in (*named, other):
                client.ping()

            def read():
                for client in (*named, other):
                    client.get(":1:product:1")

            for processes, expected in ((None, 2), (1, 1), (3, 3)):
                timer = threading.Timer(0.2, read)
                timer.start()
                found, _ = watch(cache, "default", 0.5, processes)
                timer.join()
                assert (len(found), len({event.process for event in found})) == (3, expected)


# --- secrets ---


def test_with_hashed_keys_neither_values_nor_keys_reach_a_file(site, tmp_path):
    """Nor the output; the prefixes of keys still go together."""
    trace, page = tmp_path / "watched.csv", tmp_path / "plan.html"
    with busy(caches["default"]):
        out, messages, code = plan("--yes", "--seconds", "0.5", "--hash-keys", "--record", trace, "--html", page, "--json")
    assert code == 0
    for text in (trace.read_text(), page.read_text(), out, messages):
        assert SECRET not in text
        assert not re.search("product|flag", text)
    keys = keys_in(trace)
    assert len(keys) == 3
    assert len({key.partition(":")[0] for key in keys if ":" in key}) == 1


# --- how it ends ---


def test_it_asks_first(site, monkeypatch):
    """Where stdin is no terminal it wants --yes; it says what MONITOR does."""
    _, messages, code = plan("--seconds", "1")
    assert code == 1
    assert "Pass --yes" in messages
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer in (["n"], []):  # Ctrl-D
        monkeypatch.setattr("builtins.input", mock.Mock(side_effect=[*answer, EOFError]))
        _, messages, code = plan("--seconds", "1")
        assert code == 1
        assert "MONITOR makes the server send every command" in messages
        assert "Nothing was done." in messages


@pytest.mark.parametrize("forbidden", ["renamed", "acl"])
def test_a_server_that_forbids_it_is_refused_with_the_remedy(forbidden):
    """Renamed, or not allowed for this user, whose password is in no message."""
    options = ["--rename-command", "MONITOR", ""] if forbidden == "renamed" else []
    with servers.valkey(*options) as url:
        if forbidden == "acl":
            with redis.Redis.from_url(url) as client:
                client.acl_setuser(
                    "shop", enabled=True, passwords=["+s3cret"], categories=["+@all"], keys=["*"], commands=["-monitor"]
                )
        location = url.replace("//", "//shop:s3cret@") if forbidden == "acl" else url
        with override_settings(CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": location}}):
            out, messages, code = plan("--yes", "--seconds", "1")
            caches.close_all()
    assert (out, code) == ("", 1)
    assert "does not let this user run MONITOR" in messages
    assert "--trace FILE" in messages
    assert "s3cret" not in messages


def failing(url, **options):
    config = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url, "OPTIONS": {"SOCKET_TIMEOUT": 1, **options}}
    with override_settings(CACHES={"default": config}):
        out, messages, code = plan("--yes", "--seconds", "20")
        caches.close_all()
    assert (out, code) == ("", 1)
    assert "could not be watched" in messages
    assert "s3cret" not in messages
    return messages


def test_a_server_that_cannot_be_reached(valkey_url):
    """Nobody listens; the password is wrong. No secret is quoted."""
    assert "Connection refused" in failing("redis://user:s3cret@127.0.0.1:1/0", CONNECTION_POOL_KWARGS={"retry": None})
    assert "AuthenticationError" in failing(valkey_url.replace("//", "//user:s3cret@"))


def test_a_server_that_ends_meanwhile():
    """A broken connection ends it, at once."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(servers.valkey())
        timer = threading.Timer(0.5, stack.close)
        timer.start()
        began = time.monotonic()
        assert "ConnectionError" in failing(url)
        timer.join()
        assert time.monotonic() - began < 15


def test_nothing_was_read(site):
    """It says so."""
    _, messages, code = plan("--yes", "--seconds", "0.1")
    assert code == 1
    assert "Nothing was read from this cache meanwhile." in messages


def test_a_cache_of_another_kind_is_refused():
    """It has no MONITOR."""
    with override_settings(CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}):
        _, messages, code = plan("--yes")
    assert code == 1
    assert "'default' is no cache of django-redis, django-valkey or Django's RedisCache." in messages


def test_interrupted(valkey_url):
    """Ctrl-C ends it with 130, one line, and no connection left."""
    program = (
        "import sys, django; from django.conf import settings; from django.core.management import execute_from_command_line;"
        f"settings.configure(INSTALLED_APPS=['tieredcache'], CACHES={{'default': {{'BACKEND':"
        f" 'django.core.cache.backends.redis.RedisCache', 'LOCATION': {valkey_url!r}}}}});"
        "execute_from_command_line(['manage.py', 'tieredcache', 'plan', '--yes', '--seconds', '60'])"
    )
    with redis.Redis.from_url(valkey_url) as client:

        def monitors():
            return sum(each["cmd"] == "monitor" for each in client.client_list())

        before, watching = len(client.client_list()), monitors()
        process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, env=os.environ)
        try:
            while monitors() == watching:
                assert process.poll() is None
                time.sleep(0.02)  # until it watches; it does not tell
            process.send_signal(signal.SIGINT)
            _, messages = process.communicate(timeout=20)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 130, messages
        assert messages.splitlines()[-1] == "CommandError: Interrupted: no connection is left, and no plan was made."
        assert len(client.client_list()) == before
