"""Promise 9: what a signal handler raises leaves no lock held, at the moments that ``tests/signals.py`` hits by luck."""

import ast
import threading
from pathlib import Path

import pytest

import tieredcache
from tieredcache import locks


class Struck(Exception):
    pass


class Lock:
    """An RLock at which a signal handler raises: ``before`` it is had, or on the way out with it."""

    def __init__(self, *, before):
        self._lock = threading.RLock()
        self._before = before
        self.calm = False
        self.release = self._lock.release
        self.__exit__ = self._lock.__exit__

    def acquire(self, *arguments):
        if not self.calm and self._before:
            raise Struck
        taken = self._lock.acquire(*arguments)
        if not self.calm:
            raise Struck
        return taken

    def held(self):
        """Whether another thread could not have it."""
        taken = []
        thread = threading.Thread(target=lambda: taken.append(self._lock.acquire(blocking=False)))
        thread.start()
        thread.join()
        return not taken[0]


@pytest.fixture(autouse=True)
def as_on_python_3_14(monkeypatch):
    """Where signals are looked for between taking a lock and the block."""
    monkeypatch.setattr(locks, "LEAKY", True)


@pytest.mark.parametrize("patience", [None, 0.1])
@pytest.mark.parametrize("before", [True, False])
def test_what_a_handler_raises_gets_through_and_leaves_no_lock_held(before, patience):
    """While the lock is waited for, and between taking it and the block."""
    lock = Lock(before=before)
    with pytest.raises(Struck), locks.guard(lock, patience):
        raise AssertionError("the block was entered")
    assert not lock.held()


def test_the_lock_of_a_block_around_it_stays():
    """Of a destructor that runs while its own thread holds the lock."""
    lock = Lock(before=False)
    lock.calm = True
    guard = locks.guard(lock)
    with guard:
        lock.calm = False
        with pytest.raises(Struck), guard:
            raise AssertionError("the block was entered")
        assert lock.held()
    assert not lock.held()


def test_the_lock_of_another_thread_is_not_touched():
    """Where the time to wait for it is over, the block is told, and leaving says so."""
    lock = threading.RLock()
    entered, over = threading.Event(), threading.Event()

    def hold():
        with lock:
            entered.set()
            over.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(60)
    told = []
    with pytest.raises(RuntimeError), locks.guard(lock, 0.001) as taken:
        told.append(taken)
    assert told == [False]
    assert not lock.acquire(blocking=False)
    over.set()
    thread.join()


def test_every_lock_of_the_package_is_taken_in_this_way():
    """``with`` of a lock by itself would leave it held; the store's own is only handed to ``guard``."""
    bare = {}
    for path in Path(tieredcache.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text())
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        guarded = [argument for call in calls if ast.unparse(call.func) == "guard" for argument in call.args]
        made = [call for call in calls if ast.unparse(call.func).endswith(("Lock", "Condition", "Semaphore"))]
        if found := len([call for call in made if call not in guarded]):
            bare[path.name] = found
    assert bare == {"store.py": 1}
