"""A trace that an application records itself: what is in it, and that it does no harm."""

import asyncio
import copy
import csv
import os
import subprocess
import sys
import threading
from unittest import mock

import pytest
from asgiref.sync import sync_to_async
from django.core.cache import cache, caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import ImproperlyConfigured, MiddlewareNotUsed
from django.test import override_settings

from tests.support.bounded import Run
from tests.support.caches import LRU, TIERED, remote_settings
from tests.support.plans import HEADER, plan, report
from tieredcache.plan import TraceRecorder, trace_middleware
from tieredcache.plan.monitor import watch

LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "recorded"}


@pytest.fixture(autouse=True)
def project():
    aliases = {"default": {"BACKEND": TIERED, "LOCATION": "remote"}, "remote": LOCMEM, "lru": {"BACKEND": LRU}}
    aliases["plain"] = {**LOCMEM, "LOCATION": "plain"}
    with override_settings(CACHES=aliases):
        caches["default"].clear()
        yield


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trace.csv"


def rows(path):
    """All but the head, without the times."""
    head, *rest = csv.reader(path.read_text().splitlines())
    assert head == HEADER
    return [row[1:] for row in rest]


def done(path):
    return [f"{operation} {key}" for _, operation, key, _ in rows(path)]


# Each call, and what is recorded of it.
CALLS = [
    (("set", "k", "value"), ["set k"]),
    (("get", "k", "default"), ["get k"]),
    (("add", "k", 1), []),
    (("get_or_set", "n", lambda: 3), ["miss n", "set n", "get n"]),
    (("incr", "n"), ["incr n"]),
    (("decr", "n", 2), ["incr n"]),
    (("get_many", ["k", "n"]), ["get k", "get n"]),
    (("set_many", {"a": 1, "b": 2}, None), ["set a", "set b"]),
    (("touch", "a", 9), ["touch a"]),
    (("delete", "k"), ["delete k"]),
    (("get", "k"), ["miss k"]),
    (("delete_many", ["a", "b"]), ["delete a", "delete b"]),
    (("get", "k", None, 2), []),
]
EXPECTED = [line for _, lines in CALLS for line in lines]


def use(cache):
    return [getattr(cache, name)(*arguments) for (name, *arguments), _ in CALLS]


async def ause(cache):
    return [await getattr(cache, f"a{name}")(*arguments) for (name, *arguments), _ in CALLS]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # clients that leave sockets to the garbage collector
@pytest.mark.parametrize("kind", ["django", "django-redis", "django-valkey"])
def test_it_records_what_monitor_shows(kind, request, path):
    """The same operations on the same keys, in the same order."""
    with override_settings(CACHES={"default": remote_settings(kind, request)}):
        caches["default"].clear()

        def recorded():
            with TraceRecorder(path).record():
                use(caches["default"])
            caches.close_all()

        timer = threading.Timer(0.3, recorded)
        timer.start()
        events, _ = watch(caches["default"], "default", 1, None)
        timer.join()
        caches.close_all()
    assert [f"{event.operation} {event.key}" for event in events] == done(path) == EXPECTED


@pytest.mark.parametrize("alias", ["default", "plain", "lru"])
def test_every_call_is_recorded_once(alias, path):
    """Whatever it calls; the answers are the same; awaitable methods are recorded, too; after the block nothing is."""
    answers = use(caches[alias])
    caches[alias].clear()
    recorder = TraceRecorder(path, alias=alias)
    before = caches[alias]
    with recorder.record():
        assert use(cache if alias == "default" else caches[alias]) == answers
        assert "a" not in caches[alias]
        assert caches[alias].version == 1
    assert caches[alias] is before
    assert done(path) == EXPECTED
    path.unlink()
    use(caches[alias])
    assert not path.exists()

    async def awaitable():
        await caches[alias].aclear()
        with recorder.record():
            return await ause(caches[alias])

    assert asyncio.run(awaitable()) == answers
    assert done(path) == EXPECTED


def test_two_recorders_do_not_meet(path, tmp_path):
    """Of two caches, or one within the other: each records its own."""
    inner = tmp_path / "inner.csv"
    with TraceRecorder(path).record(), TraceRecorder(inner, alias="plain").record(), TraceRecorder(inner).record():
        cache.get("k")
        caches["plain"].get("r")
    assert done(path) == ["miss k"]
    assert sorted(done(inner)) == ["miss k", "miss r"]


def test_awaitable_methods_that_are_plain_functions_are_recorded(path, monkeypatch):
    kind = type(caches["plain"])
    awaitable = kind.aget

    def aget(self, *args):
        return awaitable(self, *args)

    monkeypatch.setattr(kind, "aget", aget)
    with TraceRecorder(path, alias="plain").record():
        assert asyncio.run(caches["plain"].aget("k", 5)) == 5
    assert done(path) == ["miss k"]


def test_a_mistake_in_a_call_is_the_backends_own(path):
    with TraceRecorder(path).record():
        for call in (cache.get, lambda: cache.get_or_set("k"), lambda: cache.get("k", 1, default=2)):
            with pytest.raises(TypeError) as caught:
                call()
            assert caught.value.__context__ is None, "it looks like a consequence of an error of ours"


class Particular(LocMemCache):
    """Takes some parameters by keyword only."""

    def get(self, key, default=None, **options):
        return super().get(key, default, **options)

    def set(self, key, value, **options):
        super().set(key, value, **options | {"timeout": min(options["timeout"], 60)})

    def get_many(self, keys, *, version=None):
        return super().get_many(keys, version=version)

    def get_or_set(self, key, *, default):
        return super().get_or_set(key, default)


def test_arguments_reach_the_backend_as_they_were_passed(path):
    """By position or by keyword."""
    caches["plain"] = Particular("particular", {})
    with TraceRecorder(path, alias="plain").record():
        recorded = caches["plain"]
        recorded.set("k", 1, timeout=5)
        assert (recorded.get("k"), recorded.get("k", version=1), recorded.get(key="m", default=4)) == (1, 1, 4)
        assert recorded.get_many(iter(["k", "m"]), version=1) == recorded.get_many(keys=["k"]) == {"k": 1}
        assert recorded.get_or_set("n", default=lambda: 5) == 5


def test_a_long_key_is_cut(path):
    """A visitor may have chosen it; a row of it could not be read, and nothing of the file."""
    with TraceRecorder(path, alias="lru").record():
        caches["lru"].get("k" * 200_000)
    assert done(path) == ["miss " + "k" * 10_000]


def test_a_constant_is_no_callable(path):
    """With which a value that is there may be computed again before it expires."""
    with TraceRecorder(path, alias="lru").record():
        seen = []
        with mock.patch.object(
            type(caches["lru"]._backend), "get_or_set", lambda *args, **_: seen.append(args[2]), create=True
        ):
            caches["lru"].get_or_set("k", 0)
    assert seen == [0]


def test_what_is_assigned_within_reaches_the_backend(path):
    real = caches["plain"]
    with TraceRecorder(path, alias="plain").record():
        caches["plain"].key_prefix = "tenant"
        caches["plain"].set("k", 1)
        with mock.patch.object(caches["plain"], "get", return_value=7):
            assert caches["plain"].get("k") == 7
        assert copy.copy(caches["plain"]).get("k") == 1
    assert (real.key_prefix, real.get("k"), "get" in vars(real)) == ("tenant", 1, False)


def test_nothing_is_recorded_when_the_block_has_ended(path):
    """A task that was started in it may go on."""
    with TraceRecorder(path).record():
        held, method = caches["default"], caches["default"].get
    assert (held.get("k", 3), method("k", 3)) == (3, 3)
    assert not path.exists()


def test_a_pipe_that_nobody_reads_holds_up_no_request(path, caplog):
    os.mkfifo(path)

    def request():
        with TraceRecorder(path).record():
            return cache.get("k", 3)

    assert Run(request).result(5) == 3
    assert "This process records no more" in caplog.text


def test_only_the_user_of_the_process_may_read_the_file(path):
    with TraceRecorder(path).record():
        cache.get("django.contrib.sessions.cache:abc")
    assert path.stat().st_mode & 0o777 == 0o600


def test_settings_that_change_meanwhile_stay_changed(path):
    with override_settings():
        with TraceRecorder(path).record(), override_settings(CACHES={"default": LOCMEM}):
            assert type(caches["default"]).__name__ == "LocMemCache"
        assert type(caches["default"]).__name__ == "TieredCache"


def test_the_remote_of_a_tier_is_refused(path):
    """The tier would not know it any more."""
    with pytest.raises(ImproperlyConfigured, match=r"alias is 'remote', the remote of a TieredCache\. Record 'default'\."):
        TraceRecorder(path, alias="remote")


def test_a_time_limit_that_strikes_while_a_value_is_measured_is_raised(path):
    class Slow:
        def __reduce__(self):
            raise TimeoutError

    with TraceRecorder(path, alias="lru").record(), pytest.raises(TimeoutError):
        caches["lru"].set("k", Slow())


def test_threads_and_tasks_are_recorded_with_their_context(path):
    """And other threads, which use the same backend, are not."""

    async def page():
        with TraceRecorder(path).record():
            await asyncio.gather(cache.aget("task"), sync_to_async(cache.get)("thread"))
            other = threading.Thread(target=lambda: cache.get("other"))
            other.start()
            other.join()

    asyncio.run(page())
    assert sorted(done(path)) == ["miss task", "miss thread"]


def test_sizes_are_recorded_and_values_are_not(path):
    """Of what is read as well; where there is no pickle, none."""
    with TraceRecorder(path, alias="lru").record():
        caches["lru"].set("text", "s3cret" * 100)
        caches["lru"].get("text")
        caches["lru"].set("lambda", lambda: None)
    sizes = [row[3] for row in rows(path)]
    assert 600 < int(sizes[0]) < 640
    assert sizes[1:] == [sizes[0], ""]
    assert "s3cret" not in path.read_text()


def test_two_hashers_make_one_trace(path):
    """Of two processes: they hash a key alike, and nothing of it is left but the separators."""
    for _ in range(2):
        with TraceRecorder(path, hash_keys=True).record():
            caches["default"].get("product:7")
    (first, *_), (second, *_) = keys = [row[2].split(":") for row in rows(path)]
    assert first == second
    assert len({*map(tuple, keys)}) == 1
    assert "product" not in path.read_text()


@pytest.mark.slow
def test_several_processes_write_one_file(path):
    """Whole lines; each process has a name of its own; a plan is made of one file or several."""
    program = (
        f"import django; from django.conf import settings; settings.configure(CACHES={{'default': {LOCMEM!r}}})\n"
        "from django.core.cache import cache; from tieredcache.plan import TraceRecorder\n"
        f"recorder = TraceRecorder({str(path)!r})\n"
        "for _ in range(200):\n    with recorder.record():\n        [cache.get('k' * 100) for _ in range(20)]\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    shown = report("--trace", path, path)
    assert (shown["events"], shown["processes"]) == (2 * 3 * 200 * 20, 3)


@pytest.mark.parametrize("full", [True, False])
def test_a_full_disk_ends_it_with_one_line(full, path, caplog, monkeypatch):
    """And so does a file that is large enough; the requests go on."""
    monkeypatch.setattr("tieredcache.plan.recorder.MOST_BYTES", 100)
    path.write_text("x" * 101)
    recorder = TraceRecorder("/dev/full" if full else path)
    for _ in range(3):
        with recorder.record():
            assert caches["default"].get("k", 7) == 7
    (line,) = caplog.messages
    assert line.endswith("OSError: No space left on device" if full else "OSError: it has 0 MB")
    assert path.stat().st_size == 101


def test_an_answer_that_is_none_reaches_the_caller(path, monkeypatch):
    """Some backends ignore an outage, and answer None for many keys."""
    monkeypatch.setattr(type(caches["plain"]), "get_many", lambda *_: None, raising=False)
    with TraceRecorder(path, alias="plain").record():
        assert caches["plain"].get_many(["k"]) is None
    assert done(path) == ["miss k"]


# --- the middleware ---


def settings(path, **others):
    names = {f"TIEREDCACHE_TRACE_{name}": value for name, value in others.items()}
    return override_settings(TIEREDCACHE_TRACE_FILE=path, **names)


def test_the_middleware_records_requests(path):
    """Sync and async, and what failed."""

    async def view(request):
        return await caches["default"].aget("async")

    with settings(str(path)):
        trace_middleware(lambda request: caches["default"].get("sync"))(None)
        asyncio.run(trace_middleware(view)(None))
        with pytest.raises(ZeroDivisionError):
            trace_middleware(lambda request: caches["default"].get("failed") or 1 / 0)(None)
    assert done(path) == ["miss sync", "miss async", "miss failed"]


def test_a_share_of_the_requests_is_recorded_and_each_as_a_whole(path, monkeypatch):
    """With keys that are hashed, if the settings say so."""
    with settings(path, SHARE=0.3, HASH_KEYS=True):
        middleware = trace_middleware(lambda request: [caches["default"].get(f"{request}:{number}") for number in range(3)])
    draws = iter([0.1, 0.5, 0.29, 0.3])
    monkeypatch.setattr("tieredcache.plan.recorder.random", lambda: next(draws))
    for request in range(4):
        middleware(request)
    assert [key.partition(":")[0] for _, _, key, _ in rows(path)] == 3 * [rows(path)[0][2].partition(":")[0]] + 3 * [
        rows(path)[3][2].partition(":")[0]
    ]


def test_without_a_file_there_is_no_middleware():
    """So it costs nothing."""
    with settings(None), pytest.raises(MiddlewareNotUsed):
        trace_middleware(lambda request: None)


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("FILE", 7, "the path of a file"),
        ("SHARE", 1.5, "a finite number from 0 to 1"),
        ("HASH_KEYS", "no", "True or False"),
    ],
)
def test_a_mistake_in_a_setting_is_refused(path, name, value, remedy):
    """It is named, with the remedy."""
    with (
        settings(**{"path": path, name: value} if name != "FILE" else {"path": value}),
        pytest.raises(ImproperlyConfigured, match=f"TIEREDCACHE_TRACE_{name} is {value!r}. Set it to {remedy}"),
    ):
        trace_middleware(lambda request: None)


def test_what_is_recorded_makes_a_plan(path):
    """With sizes of all that was read."""
    with TraceRecorder(path).record():
        for _ in range(20):
            caches["default"].get_or_set("product:1", "x" * 900)
    assert report("--trace", path)["sizes_known"] == 1
    assert "That is a guess" not in plan("--trace", path)[0]
