"""Uses of get_or_set in which waiting for each other would never end, all at once, in a process that can be left behind.

python -m tests.promises.waits alone|tiered|lru

``alone`` is the remote without a tier. Prints a JSON object: for each scenario what its callers were given, or why they were
given nothing; and under "warnings" how many warnings the package has logged.
"""

import asyncio
import json
import logging
import os
import queue
import sys
import threading
import time

import django
from asgiref.sync import sync_to_async
from django.conf import settings

from tests.support.bounded import DaemonPool, Run

SECONDS = 10
"""How long all of them may take together: a caller waits for a few seconds at most."""


def cache():
    from django.core.cache import caches

    return caches["default"]


def a_row_lock():
    """The one who waits holds a lock that the callable of the one who computes asks for."""
    row, held, computing = threading.Lock(), threading.Event(), threading.Event()

    def compute():
        computing.set()
        with row:
            return "computed first"

    def hold():
        with row:
            held.set()
            computing.wait()
            return cache().get_or_set("row", lambda: "computed under the lock")

    holder = Run(hold)
    held.wait()
    return [cache().get_or_set("row", compute), holder.result(SECONDS)]


def a_lock_between_tasks():
    """The same with two tasks of one loop and an asyncio.Lock."""

    async def main():
        row, computing = asyncio.Lock(), asyncio.Event()

        async def compute():
            computing.set()
            async with row:
                return "computed first"

        async def simple():
            return "computed under the lock"

        await row.acquire()
        first = asyncio.ensure_future(cache().aget_or_set("tasks", compute))
        await computing.wait()
        second = await cache().aget_or_set("tasks", simple)
        row.release()
        return [await first, second]

    return asyncio.run(main())


def a_full_executor():
    """The one who waits occupies the only worker of the pool that the callable of the one who computes submits to."""
    pool, computing = DaemonPool(1), threading.Event()

    def occupy():
        computing.wait()
        return cache().get_or_set("executor", lambda: "computed in the pool")

    occupied = pool.submit(occupy)

    def compute():
        computing.set()
        return pool.submit(lambda: "computed first").result()

    return [cache().get_or_set("executor", compute), occupied.result()]


def a_second_event_loop():
    """The one who waits is sync code of one loop, in the only thread that asgiref has for the sync code of every loop."""
    computing = threading.Event()

    def occupy():
        computing.wait()
        return cache().get_or_set("loops", lambda: "computed in asgiref's thread")

    async def compute():
        computing.set()
        return await sync_to_async(lambda: "computed first")()

    async def first():
        # Not before the other loop has the thread.
        occupies.wait()
        return await cache().aget_or_set("loops", compute)

    async def second():
        work = asyncio.ensure_future(sync_to_async(occupy)())
        await asyncio.sleep(0.1)  # asgiref does not tell when the thread has begun
        occupies.set()
        return await work

    occupies = threading.Event()
    other = Run(asyncio.run, second())
    return [asyncio.run(first()), other.result(SECONDS)]


def a_lock_of_a_second_event_loop():
    """A task holds its loop's lock while it waits; the callable of the one who computes, in another loop, asks for it."""
    ready, computing = threading.Event(), threading.Event()
    shared = {}

    async def simple():
        return "computed under the lock"

    async def hold():
        row = asyncio.Lock()
        shared["loop"], shared["row"] = asyncio.get_running_loop(), row
        async with row:
            ready.set()
            while not computing.is_set():
                await asyncio.sleep(0.01)
            value = await cache().aget_or_set("loop-lock", simple)
        await asyncio.sleep(0.5)  # for the other loop's coroutine
        return value

    async def ask():
        async with shared["row"]:
            return "computed first"

    async def compute():
        computing.set()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(ask(), shared["loop"]))

    holder = Run(asyncio.run, hold())
    ready.wait()
    return [asyncio.run(cache().aget_or_set("loop-lock", compute)), holder.result(SECONDS)]


def a_thread_of_the_callable():
    """The callable waits for a thread that asks for the same key."""

    def compute():
        inner = threading.Thread(target=cache().get_or_set, args=["thread", lambda: "inner"], daemon=True)
        inner.start()
        inner.join()
        return "outer"

    return [cache().get_or_set("thread", compute)]


def a_pool_of_the_callable():
    """The callable waits for workers of a pool that ask for the same key."""
    pool = DaemonPool(3)

    def compute():
        for inner in [pool.submit(lambda: cache().get_or_set("pool", lambda: "inner")) for _ in range(3)]:
            inner.result()
        return "outer"

    return [cache().get_or_set("pool", compute)]


def an_executor_of_an_async_callable():
    """The callable awaits sync code in an executor that asks for the same key."""

    async def compute():
        ask = asyncio.get_running_loop().run_in_executor
        await ask(DaemonPool(1), lambda: cache().get_or_set("awaited", lambda: "inner"))
        return "outer"

    return [asyncio.run(cache().aget_or_set("awaited", compute))]


def an_older_task():
    """The callable awaits the answer of a task that was started before, which asks for the same key."""

    async def main():
        questions = asyncio.Queue()

        async def inner():
            return "inner"

        async def work():
            answer = await questions.get()
            answer.set_result(await cache().aget_or_set("task", inner))

        async def compute():
            answer = asyncio.get_running_loop().create_future()
            await questions.put(answer)
            await answer
            return "outer"

        worker = asyncio.ensure_future(work())
        await asyncio.sleep(0)
        value = await cache().aget_or_set("task", compute)
        await worker
        return [value]

    return asyncio.run(main())


def an_older_thread():
    """The callable waits for the answer of a thread that was started before, which asks for the same key."""
    questions, answers = queue.SimpleQueue(), queue.SimpleQueue()

    def work():
        questions.get()
        answers.put(cache().get_or_set("older-thread", lambda: "inner"))

    Run(work)

    def compute():
        questions.put("what is it?")
        answers.get()
        return "outer"

    return [cache().get_or_set("older-thread", compute)]


def a_greenlet_of_the_callable():
    """The callable waits for a greenlet that asks for the same key."""
    import gevent

    def compute():
        gevent.spawn(cache().get_or_set, "greenlet", lambda: "inner").join()
        return "outer"

    return [cache().get_or_set("greenlet", compute)]


SCENARIOS = [
    a_row_lock,
    a_lock_between_tasks,
    a_full_executor,
    a_second_event_loop,
    a_lock_of_a_second_event_loop,
    a_thread_of_the_callable,
    a_pool_of_the_callable,
    an_executor_of_an_async_callable,
    an_older_task,
    an_older_thread,
]

GREEN = [a_row_lock, a_full_executor, a_thread_of_the_callable, a_pool_of_the_callable, a_greenlet_of_the_callable]
"""Those that mean something under gevent, where threads are greenlets."""


class Warnings(logging.Handler):
    """Counts."""

    count = 0

    def emit(self, record):
        self.count += 1


def configure(backend):
    """Set up Django with the cache named ``backend``."""
    remote = {"BACKEND": "tests.support.alone.AsyncLocMemCache", "LOCATION": "waits"}
    settings.configure(
        CACHES={
            "alone": {"default": remote},
            "tiered": {"default": {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": "remote"}, "remote": remote},
            "lru": {"default": {"BACKEND": "tieredcache.backends.LRUCache", "LOCATION": "waits"}},
        }[backend]
    )
    django.setup()


def main(backend, *, green=False):
    configure(backend)
    warnings = Warnings(logging.WARNING)
    logging.getLogger("tieredcache").addHandler(warnings)
    runs = {scenario.__name__: Run(scenario) for scenario in (GREEN if green else SCENARIOS)}
    deadline = time.monotonic() + SECONDS
    outcomes = {}
    for name, run in runs.items():
        try:
            outcomes[name] = run.result(max(0, deadline - time.monotonic()))
        except AssertionError:
            outcomes[name] = "never ended"
        except Exception as error:
            outcomes[name] = repr(error)
    outcomes["warnings"] = warnings.count
    print(json.dumps(outcomes), flush=True)
    os._exit(0)  # whatever still waits


if __name__ == "__main__":
    main(sys.argv[1])
