"""get_or_set: the callable runs once per process, outside any lock, and nobody waits for ever."""

import asyncio
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from tests.doubles import RemoteDouble
from tieredcache.flights import Flights


@pytest.fixture(params=["tiered", "lru"])
def cache(request):
    if request.param == "lru":
        return request.getfixturevalue("make_lru")(OPTIONS={"MAX_ENTRIES": 1000})
    return request.getfixturevalue("make_cache")(LOCAL_TIMEOUT=60)


def clean(cache):
    return len(cache._flights) == 0


def test_sixty_four_threads_one_call(cache):
    """All get what the one call made."""
    calls = []
    barrier = threading.Barrier(64)
    release = threading.Event()

    def make():
        calls.append(1)
        release.wait(10)
        return [1]

    def work():
        barrier.wait()
        return cache.get_or_set("key", make)

    with ThreadPoolExecutor(64) as pool:
        futures = [pool.submit(work) for _ in range(64)]
        while not calls:
            threading.Event().wait(0.001)
        release.set()
        results = [future.result(10) for future in futures]
    assert len(calls) == 1
    assert results == [[1]] * 64
    assert clean(cache)


def test_a_thousand_tasks_one_call(cache):
    """With a callable that is awaited, and one that is not."""
    for name, asynchronous in [("a", True), ("b", False)]:
        calls = []

        async def amake(calls=calls):
            calls.append(1)
            await asyncio.sleep(0.01)
            return [1]

        def make(calls=calls):
            calls.append(1)
            return [1]

        async def work(name=name, default=amake if asynchronous else make):
            return await asyncio.gather(*(cache.aget_or_set(name, default) for _ in range(1000)))

        assert asyncio.run(work()) == [[1]] * 1000
        assert len(calls) == 1
        assert clean(cache)


def test_threads_and_tasks_share_a_flight(cache):
    """A thread leads, a task of another thread waits, and the other way round."""
    calls = []
    started, release = threading.Event(), threading.Event()

    def make():
        calls.append(1)
        started.set()
        release.wait(10)
        return 1

    leader = threading.Thread(target=cache.get_or_set, args=["key", make])
    leader.start()
    started.wait(10)

    async def follow():
        follower = asyncio.ensure_future(cache.aget_or_set("key", make))
        await asyncio.sleep(0.01)
        release.set()
        return await follower

    assert asyncio.run(follow()) == 1
    leader.join()
    assert len(calls) == 1
    calls.clear()

    async def lead():
        release = asyncio.Event()

        async def amake():
            calls.append(1)
            await release.wait()
            return 2

        leader = asyncio.ensure_future(cache.aget_or_set("other", amake))
        while not calls:
            await asyncio.sleep(0)
        with ThreadPoolExecutor(1) as pool:
            follower = asyncio.get_running_loop().run_in_executor(pool, cache.get_or_set, "other", make)
            await asyncio.sleep(0.01)
            release.set()
            return await leader, await follower

    assert asyncio.run(lead()) == (2, 2)
    assert len(calls) == 1
    assert clean(cache)


def test_a_failing_callable_fails_its_own_caller_and_the_next_takes_over(cache):
    """The error is not shared; the value of the next one is."""
    failing, release = threading.Event(), threading.Event()

    def fail():
        failing.set()
        release.wait(10)
        raise RuntimeError("not today")

    errors = []

    def lead():
        try:
            cache.get_or_set("key", fail)
        except RuntimeError as error:
            errors.append(error)

    leader = threading.Thread(target=lead)
    leader.start()
    failing.wait(10)
    calls = []
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(cache.get_or_set, "key", lambda: calls.append(1) or 5) for _ in range(8)]
        release.set()
        assert [future.result(10) for future in futures] == [5] * 8
    leader.join()
    assert len(errors) == 1
    assert len(calls) == 1
    assert clean(cache)


def test_a_callable_may_ask_for_its_own_key(cache, mode):
    """It makes the value itself, and nobody waits."""
    depth = []

    def make():
        depth.append(1)
        return 1 if len(depth) > 2 else cache.get_or_set("key", make)

    assert mode(cache).get_or_set("key", make) == 1
    assert clean(cache)


def test_callables_that_ask_for_each_others_keys(cache):
    """Two threads, two keys, crosswise: both end."""
    barrier = threading.Barrier(2)

    def first():
        barrier.wait(10)
        return cache.get_or_set("b", lambda: "b of a")

    def second():
        barrier.wait(10)
        return cache.get_or_set("a", lambda: "a of b")

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(cache.get_or_set, "a", first), pool.submit(cache.get_or_set, "b", second)]
        assert all(future.result(10) for future in futures)
    assert clean(cache)


def test_tasks_that_ask_for_each_others_keys(cache):
    """Three tasks in a ring; and a task that crosses over into threads."""

    async def ring():
        gate = asyncio.Event()
        started = []

        def make(number):
            async def run():
                started.append(number)
                if len(started) == 3:
                    gate.set()
                await gate.wait()
                return await cache.aget_or_set(f"key{(number + 1) % 3}", lambda: f"made by {number}")

            return run

        async with asyncio.timeout(10):
            return await asyncio.gather(*(cache.aget_or_set(f"key{number}", make(number)) for number in range(3)))

    assert all(asyncio.run(ring()))

    async def across():
        async def outer():
            return await sync_to_async(lambda: cache.get_or_set("outer", lambda: "inner"))()

        async with asyncio.timeout(10):
            return await cache.aget_or_set("outer", outer)

    assert asyncio.run(across()) == "inner"

    def deep():
        return async_to_sync(cache.aget_or_set)("deep", lambda: "deepest")

    assert cache.get_or_set("deep", deep) == "deepest"
    assert clean(cache)


def test_a_sync_call_amid_a_task_of_the_same_loop_does_not_wait(cache):
    """It would keep the leader from running."""

    async def work():
        release = asyncio.Event()

        async def make():
            await release.wait()
            return 1

        leader = asyncio.ensure_future(cache.aget_or_set("key", make))
        await asyncio.sleep(0.01)
        value = cache.get_or_set("key", lambda: 2)
        release.set()
        return value, await leader

    assert asyncio.run(work()) == (2, 2)
    assert clean(cache)


def test_a_cancelled_leader_lets_the_others_go(cache):
    """And a cancelled follower leaves nothing."""

    async def work():
        async def hang():
            await asyncio.Event().wait()

        leader = asyncio.ensure_future(cache.aget_or_set("key", hang))
        await asyncio.sleep(0.01)
        followers = [asyncio.ensure_future(cache.aget_or_set("key", lambda: 3)) for _ in range(3)]
        await asyncio.sleep(0.01)
        followers[0].cancel()
        leader.cancel()
        results = await asyncio.gather(leader, *followers, return_exceptions=True)
        return [type(result) if isinstance(result, BaseException) else result for result in results]

    assert asyncio.run(work()) == [asyncio.CancelledError, asyncio.CancelledError, 3, 3]
    assert clean(cache)


def test_what_is_not_kept_is_made_by_each(cache, mode):
    """A timeout of 0: no waiting for a value that nobody will find."""
    calls = []
    for _ in range(2):
        assert mode(cache).get_or_set("key", lambda: calls.append(1) or 1, 0) == 1
    assert len(calls) == 2
    assert clean(cache)


def test_a_flight_between_the_look_and_the_lead(cache, mode, monkeypatch):
    """Somebody makes the value after the look has missed it, and before the lead is had: it is not made again."""
    other, made = Flights.other, []

    def late(self, key):
        monkeypatch.setattr(Flights, "other", other)
        found = other(self, key)
        assert cache.get_or_set("key", lambda: "first") == "first"
        return found

    monkeypatch.setattr(Flights, "other", late)
    assert mode(cache).get_or_set("key", lambda: made.append(1) or "second") == "first"
    assert made == []


def test_a_cold_key_takes_three_trips(make_cache, mode, monkeypatch):
    """As with Django's own: it is read, added, and read as another process may have added it."""
    monkeypatch.setattr(RemoteDouble, "reads", 0)
    cache = make_cache({"BACKEND": "tests.doubles.RemoteDouble", "LOCATION": uuid.uuid4().hex}, LOCAL_TIMEOUT=60)
    assert mode(cache).get_or_set("key", lambda: "made") == "made"
    assert RemoteDouble.reads == 2


def test_values_and_none(cache, mode):
    """A plain default is added as it is; a stored None is a value."""
    assert mode(cache).get_or_set("key", 5) == 5
    assert mode(cache).get_or_set("key", 6) == 5
    assert mode(cache).get_or_set("none", None) is None
    assert mode(cache).get_or_set("none", lambda: 7) is None
    assert mode(cache).get_or_set("key", lambda: 8, version=2) == 8
    assert cache.get("key") == 5


def test_a_task_that_is_thrown_away_lands(cache):
    """Its loop closed, and it collected: others do not wait for it."""
    import gc

    loop = asyncio.new_event_loop()

    async def hang():
        await asyncio.Event().wait()

    task = loop.create_task(cache.aget_or_set("key", hang))
    loop.run_until_complete(asyncio.sleep(0.1))
    assert len(cache._flights) == 1
    task._log_destroy_pending = False
    loop.close()
    del task
    gc.collect()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(cache.get_or_set, "key", lambda: 1).result(10) == 1
    assert clean(cache)


def test_sync_code_of_the_leaders_loop_does_not_wait(cache):
    """The leader may need the very thread that asgiref calls sync code in."""
    calls = []

    async def make():
        calls.append("task")
        await asyncio.sleep(0.1)
        return "by the task"

    async def work():
        async with asyncio.timeout(10):
            leader = asyncio.ensure_future(cache.aget_or_set("key", make))
            while not calls:
                await asyncio.sleep(0)
            follower = sync_to_async(lambda: cache.get_or_set("key", lambda: "by the thread"))()
            return await asyncio.gather(leader, follower)

    assert asyncio.run(work()) == ["by the thread", "by the thread"]
    assert clean(cache)


def test_a_sync_call_in_a_coroutine_does_not_keep_its_loop_from_running(cache):
    """The leader, in another thread, may need that loop."""

    async def hop():
        return 1

    async def work():
        loop = asyncio.get_running_loop()
        started = threading.Event()

        def make():
            started.set()
            return asyncio.run_coroutine_threadsafe(hop(), loop).result(10)

        leader = asyncio.ensure_future(asyncio.to_thread(cache.get_or_set, "key", make))
        while not started.is_set():
            await asyncio.sleep(0)
        mine = cache.get_or_set("key", lambda: 2)
        return mine, await leader

    mine, theirs = asyncio.run(work())
    assert mine in (1, 2)
    assert theirs in (1, 2)
    assert clean(cache)
