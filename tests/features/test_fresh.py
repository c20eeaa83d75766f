"""fresh(): the code inside sees no local copy older than it allows, and nobody else pays for it."""

import asyncio
import threading

import pytest

from tests.support.bounded import somebody_demands
from tests.support.processes import in_child
from tieredcache import fresh, freshness


@pytest.fixture
def cache(make_cache):
    cache = make_cache(LOCAL_TIMEOUT=60, MISS_TIMEOUT=60, JITTER=0)
    cache.set_many({"text": "old", "list": ["old"], 1: "old"})
    cache.get_many(["text", "list", 1, "absent"])
    cache.remote.set_many({"text": "new", "list": ["new"], 1: "new", "absent": "new"})
    return cache


KEYS = ["text", "list", 1, "absent"]


def read(reader):
    return [reader.get(key) for key in KEYS]


OLD = ["old", ["old"], "old", None]
NEW = ["new", ["new"], "new", "new"]


def test_nothing_old_is_served_inside(cache, mode):
    """By get, get_many and has_key; what is read inside is kept for those outside."""
    reader = mode(cache)
    assert read(reader) == OLD
    with fresh():
        assert reader.has_key("absent") is True
        assert reader.get_many(KEYS) == dict(zip(KEYS, NEW, strict=True))
    assert reader.get_many(KEYS) == dict(zip(KEYS, NEW, strict=True))
    cache.remote.set("text", "newer")
    with fresh():
        assert reader.get("text") == "newer"
        cache.remote.set("text", "newest")
        assert reader.get("text") == "newest"
    assert reader.get("text") == "newest"


def test_max_age(cache, mode, clock):
    """Copies younger than it are served, whatever their local timeout."""
    cache.local.clear()
    cache.remote.set("text", "old")
    reader = mode(cache)
    reader.get("text")
    cache.remote.set("text", "new")
    clock.move(9.9)
    with fresh(10):
        assert reader.get("text") == "old"
        clock.move(0.1)
        assert reader.get("text") == "new"
        clock.move(9)
        cache.remote.set("text", "newer")
        assert reader.get("text") == "new"
        with fresh(5):
            assert reader.get("text") == "newer"
            with fresh(1000):
                cache.remote.set("text", "newest")
                clock.move(5)
                assert reader.get("text") == "newest", "the stricter demand outside holds"


def test_decorators(cache):
    """Of functions and of coroutine functions, by any number of callers at once."""

    @fresh()
    def function(key):
        """Reads."""
        return cache.get(key)

    @fresh()
    async def coroutine(key):
        await asyncio.sleep(0)
        return await cache.aget(key)

    assert function.__doc__ == "Reads."
    assert function("text") == "new"
    assert asyncio.run(coroutine("list")) == ["new"]

    async def many():
        return await asyncio.gather(*(coroutine("text") for _ in range(10)), cache.aget(1))

    assert asyncio.run(many()) == ["new"] * 10 + ["old"]
    with pytest.raises(TypeError, match="generator"):

        @fresh()
        def generator():
            yield

    with pytest.raises(TypeError, match="generator"):

        @fresh()
        async def asyncgenerator():
            yield


def test_one_instance_in_many_contexts(cache):
    """Entered by threads and tasks at once, and again inside."""
    guard = fresh()

    async def task():
        with guard:
            await asyncio.sleep(0.001)
            with guard:
                assert await cache.aget("text") == "new"
            return await cache.aget("list")

    async def tasks():
        return await asyncio.gather(*(task() for _ in range(20)))

    results = []
    threads = [threading.Thread(target=lambda: results.extend(asyncio.run(tasks()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [["new"]] * 80
    assert not freshness.demands


def test_others_are_served_as_before(cache):
    """A demand is of its own thread; the others go on hitting, and the fast path comes back afterwards."""
    with somebody_demands(fresh()):
        before = cache.stats()
        assert read(cache) == OLD
        assert cache.get_many(KEYS) == {"text": "old", "list": ["old"], 1: "old"}
        after = cache.stats()
        assert after.hits == before.hits + 8
        assert after.remote_hits == before.remote_hits
    assert not freshness.demands
    assert read(cache) == OLD


def test_an_exception_ends_it(cache):
    """As any context manager."""
    with pytest.raises(RuntimeError), fresh():
        raise RuntimeError
    assert cache.get("text") == "old"


@pytest.mark.parametrize("value", [-1, True, "1", None, float("nan")])
def test_what_is_no_age(value):
    """Told at once, with the remedy."""
    with pytest.raises(ValueError, match="at least 0"):
        fresh(value)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_child_owes_nothing_to_the_threads_of_its_parent(cache):
    """Only the demands of the code that forked are left, whatever another thread demanded at the fork."""

    def check():
        assert not freshness.demands
        with fresh():
            assert freshness.demands
        assert cache.get_or_set("made", lambda: 1) == 1

    with somebody_demands(fresh()):
        assert in_child(check)

    def check_inside():
        assert freshness.demands

    with fresh(), fresh():
        assert in_child(check_inside)
    assert not freshness.demands


def test_a_context_keeps_nothing_of_what_has_ended(cache):
    """Thousands of demands leave no variable and no memory."""
    import contextvars
    import tracemalloc

    def enter(count):
        for _ in range(count):
            with fresh():
                pass

    enter(10)
    variables = len(contextvars.copy_context())
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    enter(5_000)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(contextvars.copy_context()) == variables
    assert after - before < 10_000


def test_generators_that_are_interleaved(cache):
    """Each is inside its own demand until it ends, in whichever order, context or thread they do."""

    def generator():
        with fresh():
            yield
            yield cache.get("text")

    first, second = generator(), generator()
    next(first)
    next(second)
    first.close()
    assert next(second) == "new"
    second.close()
    box = []
    thread = threading.Thread(target=lambda: (box.append(generator()), next(box[0])))
    thread.start()
    thread.join()
    box[0].close()
    assert not freshness.demands
    assert cache.get("list") == ["old"]


def test_a_task_that_outlives_the_demand(cache):
    """Started inside, it is bound until the demand ends, and not afterwards."""

    async def work():
        go = asyncio.Event()

        async def task():
            inside = await cache.aget("list")
            await go.wait()
            cache.remote.set("list", ["newest"])
            return inside, await cache.aget("list")

        with fresh():
            running = asyncio.ensure_future(task())
            await asyncio.sleep(0)
            await asyncio.sleep(0.05)
        go.set()
        return await running

    assert asyncio.run(work()) == (["new"], ["new"])


def test_functions_that_return_coroutines(cache):
    """A wrapper of a coroutine function, a partial, an object with an async __call__."""
    import functools

    async def coroutine(key):
        await asyncio.sleep(0)
        return await cache.aget(key)

    class Called:
        __name__ = __qualname__ = "Called"

        async def __call__(self, key):
            return await coroutine(key)

    def wrapper(key):
        return coroutine(key)

    for function in (wrapper, functools.partial(coroutine), Called()):
        cache.remote.set("text", "old")
        cache.local.clear()
        cache.get("text")
        cache.remote.set("text", "new")
        assert asyncio.run(fresh()(function)("text")) == "new"
