"""get_or_set of both backends: one caller of this process computes a value; no caller waits where that could not end."""

import asyncio
import gc
import threading
import uuid

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from tests.support.bounded import Run, until
from tests.support.doubles import RemoteDouble
from tieredcache.local import inflight

SECONDS = 10
"""How long a test waits at most for what is to happen at once."""


@pytest.fixture(params=["tiered", "lru"])
def cache(request, caplog):
    """Each backend; no test gives a wait up, which would be logged, or leaves a computation behind."""
    if request.param == "lru":
        cache = request.getfixturevalue("make_lru")(OPTIONS={"MAX_ENTRIES": 1000})
    else:
        cache = request.getfixturevalue("make_cache")(LOCAL_TIMEOUT=60)
    yield cache
    assert cache.inflight.under_way == set()
    assert cache.inflight._shared == {}
    assert warnings_in(caplog) == []


def warnings_in(caplog):
    return [record.getMessage() for record in caplog.get_records("call") if record.name.startswith("tieredcache")]


async def auntil(condition):
    """As ``until``, in a task."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0)


def callers(cache):
    """How many callers compute a value or wait for one."""
    return len(cache.inflight.under_way)


# --- one computes, the others wait ---


def test_one_of_many_threads_computes(cache):
    """All are given what the one call has returned."""
    calls = []

    def compute():
        calls.append(1)
        until(lambda: callers(cache) == 16)
        return [1]

    threads = [Run(cache.get_or_set, "key", compute) for _ in range(16)]
    assert [thread.result(SECONDS) for thread in threads] == [[1]] * 16
    assert len(calls) == 1


def test_one_of_many_tasks_computes(cache):
    """The same for tasks, whether the result of the callable is awaited or not."""
    calls = []

    async def acompute():
        calls.append(1)
        await auntil(lambda: callers(cache) == 8)
        return [1]

    def compute():
        calls.append(1)
        return [2]

    async def ask(key, default):
        return await asyncio.gather(*(cache.aget_or_set(key, default) for _ in range(8)))

    assert asyncio.run(ask("awaited", acompute)) == [[1]] * 8
    assert len(calls) == 1
    assert asyncio.run(ask("plain", compute)) == [[2]] * 8
    assert len(calls) == 2


def test_a_task_waits_for_a_thread(cache):
    """A value is computed once, whichever way it is asked for."""
    calls = []

    def compute():
        calls.append(1)
        until(lambda: callers(cache) == 2)
        return 1

    thread = Run(cache.get_or_set, "key", compute)
    until(lambda: calls)
    assert asyncio.run(cache.aget_or_set("key", compute)) == 1
    assert thread.result() == 1
    assert len(calls) == 1


def test_a_thread_waits_for_a_task(cache):
    """The other way round."""
    calls = []

    async def compute():
        calls.append(1)
        await auntil(lambda: callers(cache) == 2)
        return 2

    async def main():
        task = asyncio.ensure_future(cache.aget_or_set("key", compute))
        await auntil(lambda: calls)
        thread = Run(cache.get_or_set, "key", lambda: calls.append(1))
        return await task, await asyncio.to_thread(thread.result)

    assert asyncio.run(main()) == (2, 2)
    assert len(calls) == 1


def test_nothing_is_computed_when_another_caller_has_finished_since_the_key_was_missed(cache, mode, monkeypatch):
    """A caller that misses the key, and registers only when another one has added it, looks once more."""
    join, computed = cache.inflight.join, []

    def late(own, *, sync):
        monkeypatch.setattr(cache.inflight, "join", join)
        assert cache.get_or_set("key", lambda: "first") == "first"
        return join(own, sync=sync)

    monkeypatch.setattr(cache.inflight, "join", late)
    assert mode(cache).get_or_set("key", lambda: computed.append(1) or "second") == "first"
    assert computed == []


def test_each_computes_its_own_value_when_it_cannot_be_stored(cache):
    """With a timeout of 0 nobody finds what the first has computed, and the others compute at the same time."""
    together = threading.Barrier(3)

    def first():
        until(lambda: callers(cache) == 4)
        return "first"

    def compute(value):
        together.wait(SECONDS)
        return value

    leader = Run(cache.get_or_set, "key", first, 0)
    until(lambda: callers(cache) == 1)
    others = [Run(cache.get_or_set, "key", lambda value=value: compute(value), 0) for value in range(3)]
    assert leader.result(SECONDS) == "first"
    assert [other.result(SECONDS) for other in others] == [0, 1, 2]


def test_the_others_go_on_when_the_one_that_computes_is_cancelled(cache):
    """And a cancelled waiter leaves nothing behind."""

    async def main():
        async def hang():
            await asyncio.Event().wait()

        leader = asyncio.ensure_future(cache.aget_or_set("key", hang))
        await auntil(lambda: callers(cache) == 1)
        waiters = [asyncio.ensure_future(cache.aget_or_set("key", lambda: 3)) for _ in range(3)]
        await auntil(lambda: callers(cache) == 4)
        waiters[0].cancel()
        await asyncio.sleep(0)
        leader.cancel()
        results = await asyncio.gather(leader, *waiters, return_exceptions=True)
        return [type(result) if isinstance(result, BaseException) else result for result in results]

    assert asyncio.run(main()) == [asyncio.CancelledError, asyncio.CancelledError, 3, 3]


def test_the_others_go_on_when_the_task_that_computes_is_thrown_away(cache):
    """Its event loop is closed while it computes, and the garbage collector takes it."""
    entered = []
    loop = asyncio.new_event_loop()

    async def hang():
        entered.append(1)
        await asyncio.Event().wait()

    task = loop.create_task(cache.aget_or_set("key", hang))
    loop.run_until_complete(auntil(lambda: entered))
    assert callers(cache) == 1
    task._log_destroy_pending = False
    loop.close()
    del task
    gc.collect()
    assert Run(cache.get_or_set, "key", lambda: 1).result() == 1


def test_a_caller_computes_when_it_has_waited_long_enough(cache, mode, monkeypatch, caplog):
    """What the other one does may need something that this caller holds: it says so in the log, once."""
    monkeypatch.setattr(inflight, "PATIENCE", 0.01)
    entered, release = threading.Event(), threading.Event()

    def compute():
        entered.set()
        assert release.wait(SECONDS)
        return "late"

    slow = Run(cache.get_or_set, "key", compute)
    try:
        assert entered.wait(SECONDS)
        assert mode(cache).get_or_set("key", lambda: "computed meanwhile") == "computed meanwhile"
        (warning,) = warnings_in(caplog)
        assert warning.startswith("A caller has waited 0.01 s for another thread or task to compute 'key'")
        caplog.clear()
    finally:
        release.set()
    assert slow.result() == "computed meanwhile", "its add() finds a value"


# --- who does not wait, because the other could not end meanwhile ---


def test_a_callable_may_ask_for_its_own_key(cache, mode):
    """It is called again, and does not wait for itself."""
    depth = []

    def compute():
        depth.append(1)
        return 1 if len(depth) > 2 else cache.get_or_set("key", compute)

    assert mode(cache).get_or_set("key", compute) == 1


def test_a_callable_may_ask_for_its_own_key_in_another_context(cache):
    """From a task by way of asgiref's thread, and from a thread by way of an event loop."""

    async def outer():
        return await sync_to_async(cache.get_or_set)("outer", lambda: "inner")

    async def main():
        async with asyncio.timeout(SECONDS):
            return await cache.aget_or_set("outer", outer)

    assert asyncio.run(main()) == "inner"

    def deep():
        return async_to_sync(cache.aget_or_set)("deep", lambda: "deepest")

    assert Run(cache.get_or_set, "deep", deep).result(SECONDS) == "deepest"


def test_a_value_is_stored_when_its_own_callable_has_written(cache, mode):
    """Even everything: what is computed is not older than what the same code has written."""

    def compute():
        cache.clear()
        cache.delete("key")
        return 1

    assert mode(cache).get_or_set("key", compute) == 1
    assert cache.get("key") == 1


def test_callables_of_two_threads_may_ask_for_each_others_keys(cache):
    """Crosswise, while both compute: both end."""
    together = threading.Barrier(2)

    def first():
        together.wait(SECONDS)
        return cache.get_or_set("b", lambda: "b of a")

    def second():
        together.wait(SECONDS)
        return cache.get_or_set("a", lambda: "a of b")

    threads = [Run(cache.get_or_set, "a", first), Run(cache.get_or_set, "b", second)]
    assert all(thread.result(SECONDS) for thread in threads)


def test_callables_of_three_tasks_may_ask_for_each_others_keys(cache):
    """In a ring, while all of them compute."""

    async def main():
        together = asyncio.Barrier(3)

        def make(number):
            async def compute():
                await together.wait()
                return await cache.aget_or_set(f"key{(number + 1) % 3}", lambda: f"computed by {number}")

            return compute

        async with asyncio.timeout(SECONDS):
            return await asyncio.gather(*(cache.aget_or_set(f"key{number}", make(number)) for number in range(3)))

    assert all(asyncio.run(main()))


def test_a_sync_call_in_a_coroutine_does_not_wait_for_a_task_of_its_loop(cache):
    """The task could not go on."""

    async def main():
        release = asyncio.Event()

        async def compute():
            await release.wait()
            return 1

        task = asyncio.ensure_future(cache.aget_or_set("key", compute))
        await auntil(lambda: callers(cache) == 1)
        value = cache.get_or_set("key", lambda: 2)
        release.set()
        return value, await task

    assert asyncio.run(main()) == (2, 2)


def test_a_sync_call_in_a_coroutine_does_not_wait_for_a_thread(cache):
    """The callable of that thread may need the loop."""

    async def hop():
        return 1

    async def main():
        loop, entered = asyncio.get_running_loop(), []

        def compute():
            entered.append(1)
            return asyncio.run_coroutine_threadsafe(hop(), loop).result(SECONDS)

        thread = Run(cache.get_or_set, "key", compute)
        await auntil(lambda: entered)
        value = cache.get_or_set("key", lambda: 2)
        return value, await asyncio.to_thread(thread.result)

    value, others = asyncio.run(main())
    assert value in {1, 2}, "the loop is not run meanwhile, so it is 2 unless the thread was before it"
    assert others == value


def test_sync_code_of_a_task_does_not_wait_for_another_task_of_its_loop(cache):
    """The other task may need the very thread that asgiref runs sync code in."""

    async def main():
        entered, release = [], asyncio.Event()

        async def compute():
            entered.append(1)
            await release.wait()
            return "by the task"

        task = asyncio.ensure_future(cache.aget_or_set("key", compute))
        async with asyncio.timeout(SECONDS):
            await auntil(lambda: entered)
            value = await sync_to_async(cache.get_or_set)("key", lambda: "by the thread")
            release.set()
            return value, await task

    assert asyncio.run(main()) == ("by the thread", "by the thread")


# --- what is stored and read ---


def test_a_cold_key_takes_three_trips(make_cache, mode):
    """As with Django's own: it is read, added, and read again, because another process may have added it."""
    cache = make_cache({"BACKEND": "tests.support.doubles.RemoteDouble", "LOCATION": uuid.uuid4().hex}, LOCAL_TIMEOUT=60)
    assert mode(cache).get_or_set("key", lambda: "computed") == "computed"
    assert RemoteDouble.reads == 2


def test_a_plain_default_is_added_and_none_is_a_value(cache, mode):
    """A default that is no callable is added as it is; versions are apart."""
    assert mode(cache).get_or_set("key", 5) == 5
    assert mode(cache).get_or_set("key", 6) == 5
    assert mode(cache).get_or_set("none", None) is None
    assert mode(cache).get_or_set("none", lambda: 7) is None
    assert mode(cache).get_or_set("key", lambda: 8, version=2) == 8
    assert cache.get("key") == 5
