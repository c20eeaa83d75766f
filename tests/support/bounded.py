"""Threads and pools whose end a test can demand: one that does not end is a failure, not a suite that hangs."""

import contextlib
import queue
import sys
import threading
import time
import traceback
from concurrent.futures import Future


class Run(threading.Thread):
    """Calls ``function(*args)`` at once in a daemon thread; ``result()`` returns or raises what it did."""

    def __init__(self, function, *args):
        super().__init__(daemon=True)
        self._function, self._args = function, args
        self._value = self._error = None
        self.start()

    def run(self):
        try:
            self._value = self._function(*self._args)
        except BaseException as error:
            self._error = error

    def result(self, seconds=30):
        """The outcome; fails the test if there is none after ``seconds`` seconds."""
        self.join(seconds)
        if self.is_alive():
            frame = sys._current_frames().get(self.ident)  # a greenlet has none
            stack = "".join(traceback.format_stack(frame)) if frame else ""
            raise AssertionError(f"did not end within {seconds} s:\n{stack}")
        if self._error is not None:
            raise self._error
        return self._value


@contextlib.contextmanager
def somebody_demands(demand):
    """Another thread is inside ``demand``."""
    inside, leave = threading.Event(), threading.Event()

    def work():
        with demand:
            inside.set()
            assert leave.wait(20)

    other = Run(work)
    try:
        assert inside.wait(5)
        yield
    finally:
        leave.set()
        other.result()


class DaemonPool:
    """An executor of ``size`` daemon threads: Python waits for those of its own executors before it exits."""

    def __init__(self, size):
        self._jobs = queue.SimpleQueue()
        for _ in range(size):
            threading.Thread(target=self._work, daemon=True).start()

    def submit(self, function, *args):
        future = Future()
        self._jobs.put((future, function, args))
        return future

    def _work(self):
        while True:
            future, function, args = self._jobs.get()
            try:
                future.set_result(function(*args))
            except BaseException as error:
                future.set_exception(error)


def wait_until_all_block(threads, seconds=10):
    """Wait until none of ``threads`` has moved for a tenth of a second: each waits for something."""
    deadline = time.monotonic() + seconds
    still = 0
    before = None
    while still < 5:
        assert time.monotonic() < deadline, "the threads did not come to rest"
        frames = sys._current_frames()
        now = [(id(frame), frame.f_lasti) for frame in map(frames.get, (thread.ident for thread in threads)) if frame]
        still = still + 1 if now == before else 0
        before = now
        time.sleep(0.02)  # no event tells that another thread waits


def until(condition, seconds=10):
    """Wait for ``condition()`` in this thread; fails where it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.001)  # no event tells that another caller has begun to wait
