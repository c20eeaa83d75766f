"""Promise 8: once the remote is known to be down one reader at a time waits for it, and recovery needs nobody."""

import asyncio
import contextlib
import pickle
import tempfile
import threading
import time
from collections import deque

import pytest
import redis
from django.core.cache import caches

from tests.support import servers
from tests.support.links import link
from tests.support.traffic import ALONE, TIER, WAYS, Outcome, aliases, get, in_threads, read_all, read_one, redis_alias
from tieredcache import RemoteOutage

THREADS = 6
RETRY_AFTER = 0.6
SLACK = 2  # seconds: for a machine that is busy
KEYS = [f"key{number}" for number in range(10)]
LIMIT = 30  # seconds that a test waits for what must come much earlier


@pytest.fixture
def url():
    """A server of the test's own, and so a connection pool of its own."""
    with servers.valkey() as address:
        yield f"{address}/1"


class Readers:
    """Threads that read through an alias until the block ends.

    ``fast``: set when a thread has been answered three times within ``timeout``, the client's, and so has not waited for it.
    """

    def __init__(self, alias, keys, timeout=0.0):
        self._alias, self._keys, self._timeout = alias, keys, timeout
        self.fast, self._over = threading.Event(), threading.Event()
        self.answers = [[] for _ in range(THREADS)]  # by thread: the values, or the errors' classes

    def __enter__(self):
        self._threads = [threading.Thread(target=self._read, args=[answers], daemon=True) for answers in self.answers]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self._over.set()
        for thread in self._threads:
            thread.join(LIMIT)
        assert not any(thread.is_alive() for thread in self._threads), "a reader still waits"

    def _read(self, answers):
        ends = deque(maxlen=3)
        while not self._over.is_set():
            for key in self._keys:
                try:
                    answers.append(caches[self._alias].get(key))
                except Exception as error:
                    answers.append(type(error))
                ends.append(time.monotonic())
                if len(ends) == 3 and ends[-1] - ends[0] < self._timeout:
                    self.fast.set()
                self._over.wait(0.002)


class Waits:
    """Counts the threads that wait for a reply at the same time; ``most``: a test sets it to 0 to count from then on.

    Counted at the client: on a busy machine a link is late to see that a reader has come, or has given up.
    """

    def __init__(self, monkeypatch):
        self.most, waiting, read = 0, set(), redis.Connection.read_response

        def counted(connection, *args, **kwargs):
            waiting.add(thread := threading.get_ident())
            self.most = max(self.most, len(waiting))
            try:
                return read(connection, *args, **kwargs)
            finally:
                waiting.discard(thread)

        monkeypatch.setattr(redis.Connection, "read_response", counted)


@pytest.fixture
def waits(monkeypatch):
    return Waits(monkeypatch)


@contextlib.contextmanager
def known_down(url, *, timeout=0.0, **options):
    """Yields a link to a server that cannot be reached, once the tier knows that.

    ``timeout``: the client's, where the server does not answer; without it, connections are reset.
    """
    client = {"SOCKET_TIMEOUT": timeout or 10, "SOCKET_CONNECT_TIMEOUT": timeout or 10}
    with (
        link(url) as broken,
        aliases(
            redis_alias(broken.url, **client),
            others={"direct": redis_alias(url)},
            RETRY_AFTER=RETRY_AFTER,
            JITTER=0,
            **options,
        ),
    ):
        caches["direct"].set_many(dict.fromkeys([*KEYS, "warm"], "value"))
        wait_until_answered("warm")
        if timeout:
            broken.hold()
            with Readers(TIER, KEYS, timeout) as readers:
                assert readers.fast.wait(LIMIT), "the tier never took the remote for down"
        else:
            broken.cut()
            with Readers(TIER, KEYS):
                time.sleep(RETRY_AFTER + 0.3)
        yield broken


def wait_until_answered(key=KEYS[0], way=get):
    """Read until an answer comes; returns the seconds that it took."""
    started = time.monotonic()
    while read_one(caches[TIER], key, way).lost:
        assert time.monotonic() - started < LIMIT, "the tier never found out that the remote is back"
        time.sleep(0.01)
    return time.monotonic() - started


# --- who waits ---


@pytest.mark.parametrize("options", [{}, {"REMOTE_ERRORS": "ignore"}], ids=["raise", "ignore"])
@pytest.mark.parametrize("timeout", [0.3, 0.8], ids=["short", "long"])
def test_one_reader_at_a_time_waits_when_the_remote_is_known_to_be_down(url, waits, timeout, options):
    """Alone, every thread waits for its time-outs; through the tier one does, and the rest are answered at once.

    ``timeout``: shorter and longer than RETRY_AFTER.
    """
    most, answers = {}, {}
    with known_down(url, timeout=timeout, **options):
        for alias in (ALONE, TIER):
            waits.most = 0
            with Readers(alias, KEYS) as readers:
                time.sleep(1.6)  # while the readers work: two time-outs of the longer kind
                answers[alias] = sorted(map(len, readers.answers))
            most[alias] = waits.most
    print(f"waiting at the same time: {most}; answers by thread: {answers}")
    assert most[ALONE] > 1
    assert most[TIER] == 1
    assert answers[TIER][1] > answers[ALONE][-1], "one thread may have waited, no other one"


def test_stale_copies_answer_when_the_remote_is_known_to_be_down(url, waits):
    """With STALE_IF_ERROR the reader that waits is answered too, in the end, and nobody is told of the outage."""
    with known_down(url, timeout=0.4, LOCAL_TIMEOUT=0.2, STALE_IF_ERROR=60):
        waits.most = 0
        with Readers(TIER, ["warm"]) as readers:
            time.sleep(2 * RETRY_AFTER)  # so that an attempt is among them
        print(f"waiting at the same time: {waits.most}; answers by thread: {sorted(map(len, readers.answers))}")
        assert waits.most <= 1
        assert {answer for answers in readers.answers for answer in answers} == {"value"}


def test_tasks_are_answered_at_once_when_the_remote_is_known_to_be_down(url, waits):
    """Tasks share Django's thread for the remote: one that waits there holds up the others no longer than itself."""

    async def answers():
        over, at_once = time.monotonic() + 3, []

        async def read():
            while time.monotonic() < over:
                try:
                    await caches[TIER].aget(KEYS[0])
                except Exception as error:
                    at_once.append(isinstance(error, RemoteOutage))
                await asyncio.sleep(0.002)

        await asyncio.gather(*(read() for _ in range(THREADS)))
        return at_once

    with known_down(url, timeout=0.4):
        waits.most = 0
        at_once = asyncio.run(answers())
    assert waits.most <= 1
    print(f"{at_once.count(False)} answers by the remote's time-out, {at_once.count(True)} at once")
    assert at_once.count(True) > at_once.count(False)  # many times as many, on a machine that does nothing else


# --- how it ends ---


@pytest.mark.parametrize("way", WAYS)
def test_all_reads_succeed_again_when_the_remote_is_back(url, way):
    """The readers themselves find out, within RETRY_AFTER and their time-outs, and then nobody is turned away."""
    with known_down(url) as broken:
        broken.release()
        seconds = wait_until_answered(way=way)
        lost = sum(in_threads(THREADS, lambda thread: read_all(TIER, KEYS, way=way)), Outcome()).lost
    print(f"answered again after {seconds:.2f} s")
    assert seconds < RETRY_AFTER + SLACK
    assert lost == 0


def test_the_first_read_succeeds_when_the_remote_came_back_while_nobody_read(url):
    """RETRY_AFTER after the last attempt the next reader makes one; nothing runs in between."""
    with known_down(url) as broken:
        broken.release()
        time.sleep(RETRY_AFTER + 0.1)
        assert caches[TIER].get(KEYS[0]) == "value"


def test_a_new_value_is_read_when_the_remote_is_back_and_a_stale_copy_had_answered(url):
    """The first reader that reaches the remote replaces the stale copy."""
    with known_down(url, LOCAL_TIMEOUT=0.2, STALE_IF_ERROR=60) as broken:
        assert caches[TIER].get("warm") == "value"
        caches["direct"].set("warm", "new")
        broken.release()
        started = time.monotonic()
        while caches[TIER].get("warm") != "new":
            assert time.monotonic() - started < RETRY_AFTER + SLACK
            time.sleep(0.01)


def test_all_reads_succeed_when_the_server_is_started_at_last():
    """A server that refused connections at first is found at its address, without a call by anybody."""
    port = servers.free_port()
    with (
        tempfile.TemporaryDirectory() as directory,
        aliases(redis_alias(f"redis://127.0.0.1:{port}/1"), RETRY_AFTER=RETRY_AFTER),
    ):
        command = servers.valkey_command(port, directory)
        with Readers(TIER, KEYS) as readers:
            time.sleep(2 * RETRY_AFTER)  # so that it counts as down
        assert "value" not in readers.answers[0]
        with servers.running(command, port):
            redis.Redis(port=port, db=1).set(caches[ALONE].make_key(KEYS[0]), pickle.dumps("value"))
            seconds = wait_until_answered()
            lost = sum(in_threads(THREADS, lambda thread: read_all(TIER, KEYS[:1] * 20)), Outcome()).lost
    print(f"answered again after {seconds:.2f} s")
    assert seconds < RETRY_AFTER + SLACK
    assert lost == 0


@pytest.mark.parametrize("swallowed", [False, True], ids=["raised", "swallowed by the remote"])
def test_a_stale_copy_says_that_the_key_exists(swallowed, make_cache, clock):
    """As it stands in for the value; and a caller of has_key finds out, too, that the remote is down."""
    with servers.valkey() as url:
        cache = make_cache(
            {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url, "OPTIONS": {"IGNORE_EXCEPTIONS": swallowed}},
            LOCAL_TIMEOUT=1,
            JITTER=0,
            STALE_IF_ERROR=60,
            RETRY_AFTER=1,
        )
        cache.set("key", "value", timeout=None)
        cache.get("key")
        clock.move(2)
        assert cache.has_key("key") is True
        assert len(cache.local) == 1, "that it exists is no newer value"
    for _ in range(4):
        assert cache.has_key("key") is True
        clock.move(0.6)
    assert cache.local.in_outage
    assert cache.get("key") == "value"
