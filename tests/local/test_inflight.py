"""Values in flight: which caller waits for which, for how long, and what ends the sharing."""

import asyncio
import contextvars
import signal
import threading
from concurrent.futures import Future

import pytest

from tests.support.bounded import Run
from tieredcache.local import inflight
from tieredcache.local.inflight import Computation, Inflight, await_, wait


@pytest.fixture(autouse=True)
def nothing_left_to_others():
    """No test that follows is part of a computation that was begun here."""
    yield
    inflight._computing.set(None)


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """A wait that nothing ends is over at once. What these tests end is ended before it is waited for."""
    monkeypatch.setattr(inflight, "PATIENCE", 0.01)


@pytest.fixture
def flying():
    """The computations of one cache."""
    return Inflight()


@pytest.fixture
def elsewhere():
    """Calls a function in another thread. That lives until the test ends, so that no other thread has its number."""
    over = threading.Event()

    def call(function, *args):
        outcome = Future()

        def work():
            try:
                outcome.set_result(function(*args))
            except BaseException as error:
                outcome.set_exception(error)
            over.wait(60)

        threading.Thread(target=work, daemon=True).start()
        return outcome.result(30)

    yield call
    over.set()


def begin(flying, key="key", *, sync=True):
    """A caller of this thread that wants ``key``: its computation, and the one that it should wait for."""
    own = Computation(key)
    return own, flying.join(own, sync=sync)


@pytest.fixture
def begun_elsewhere(elsewhere, flying):
    """Begins a computation in another thread, which waits for nobody."""

    def begun(key="key"):
        own, other = elsewhere(begin, flying, key)
        assert other is None
        return own

    return begun


def test_a_later_caller_waits_for_the_first(flying, begun_elsewhere):
    """For the same key only."""
    first = begun_elsewhere()
    assert begin(flying)[1] is first
    assert begin(flying, "another key")[1] is None


def test_a_caller_that_leaves_lets_the_others_go(flying, begun_elsewhere):
    """All at once, and a caller that comes later begins a computation of its own."""
    first = begun_elsewhere()
    own, other = begin(flying)
    assert wait(other) is False
    flying.leave(first)
    assert wait(other) is True
    assert flying.finished == 1
    flying.leave(own)
    assert flying.finished == 2
    assert not flying.under_way
    assert begin(flying)[1] is None


def test_a_wait_in_a_thread_has_an_end(flying, begun_elsewhere):
    """It ends nothing but itself: the computation goes on, and is waited for by others."""
    first = begun_elsewhere()
    waiting = Run(wait, first)
    assert waiting.result() is False
    assert not first.ended
    assert begin(flying)[1] is first


async def test_a_wait_in_a_task_has_an_end(flying, begun_elsewhere):
    """As in a thread; and a task that is cancelled while it waits ends nothing either."""
    first = begun_elsewhere()
    assert await asyncio.wait_for(await_(first), 5) is False
    task = asyncio.ensure_future(await_(first, seconds=10))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not first.ended
    flying.leave(first)
    assert await asyncio.wait_for(await_(first), 5) is True


def test_a_time_limit_that_is_a_timeout_error_passes_through(flying, monkeypatch, begun_elsewhere):
    """A signal handler may raise one while the thread waits: it is the caller's, and not the end of our patience."""

    def strike(*_):
        raise TimeoutError("of the caller")

    monkeypatch.setattr(inflight, "PATIENCE", 30)
    first = begun_elsewhere()
    before = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(TimeoutError, match="of the caller"):
            wait(first)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_loop_that_is_closed_meanwhile_keeps_nobody(flying, begun_elsewhere):
    """The others that wait for the same computation are let go."""
    first = begun_elsewhere()
    loop = asyncio.new_event_loop()
    task = loop.create_task(await_(first, seconds=10))
    loop.run_until_complete(asyncio.sleep(0))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()
    waiting = Run(lambda: wait(first, seconds=10))
    flying.leave(first)
    assert waiting.result() is True


def test_callers_share_a_new_computation_when_the_key_was_written(flying, begun_elsewhere):
    """The older one is told that it is forgotten, and its end changes nothing for the newer one."""
    older = begun_elsewhere()
    beside = begun_elsewhere("another key")
    flying.overtake(["key"])
    assert older.forgotten
    assert not beside.forgotten
    newer = begun_elsewhere()
    assert begin(flying)[1] is newer
    flying.leave(older)
    assert begin(flying)[1] is newer
    assert not newer.forgotten
    assert begin(flying, "another key")[1] is beside


def test_what_is_forgotten_while_its_caller_waits_counts_for_nothing(flying, begun_elsewhere, elsewhere):
    """The caller has not begun to compute: it will see what was written."""
    begun_elsewhere()

    def waits_and_computes():
        own, other = begin(flying)
        assert other is not None
        flying.overtake(["key"])
        assert own.forgotten
        own.starts()
        return own.forgotten

    assert elsewhere(waits_and_computes) is False


def test_a_computation_that_writes_its_own_key_is_not_forgotten(flying, elsewhere):
    """What it writes is no newer than what it returns; others go on waiting for it."""

    def computes():
        own, _ = begin(flying)
        own.starts()
        flying.overtake(["key"])
        return own

    own = elsewhere(computes)
    assert not own.forgotten
    assert begin(flying)[1] is own


def test_a_computation_waits_for_nobody(flying, begun_elsewhere, elsewhere):
    """So no two computations wait for each other, whatever keys they ask for. Afterwards its thread waits as before."""
    other = begun_elsewhere("other")

    def computes():
        own, _ = begin(flying)
        own.starts()
        nested, waited_for = begin(flying, "other")
        nested.starts()
        flying.leave(nested)
        again = begin(flying, "other")[1]
        flying.leave(own)
        return waited_for, again, begin(flying, "other")[1]

    assert elsewhere(computes) == (None, None, other)


def test_a_caller_does_not_wait_for_its_own_thread(flying):
    """Sync code that computes, and is interrupted by a destructor that wants the same key."""
    begin(flying)
    assert begin(flying)[1] is None


async def test_tasks_of_one_loop_wait_for_each_other_and_sync_code_in_it_does_not(flying, begun_elsewhere):
    """It would keep the loop from running, and with it the task that computes."""
    first = begin(flying, sync=False)[0]
    assert begin(flying, sync=False)[1] is first
    assert begin(flying, sync=True)[1] is None
    begun = begun_elsewhere("of a thread")
    assert begin(flying, "of a thread", sync=False)[1] is begun
    assert begin(flying, "of a thread", sync=True)[1] is None


def test_a_computation_whose_end_was_cut_off_keeps_nobody(flying, begun_elsewhere, elsewhere):
    """An exception came between its end and its place among those that are shared."""
    cut = begun_elsewhere()
    cut.end()
    own, other = begin(flying)
    assert other is None
    assert elsewhere(begin, flying)[1] is own
    flying.leave(cut)
    assert elsewhere(begin, flying)[1] is own


def test_only_a_computation_that_is_not_forgotten_stores(flying, begun_elsewhere):
    """It asks when it has its value."""
    first = begun_elsewhere()
    assert first.stores() is True
    second = begun_elsewhere("another key")
    flying.overtake(["another key"])
    assert second.stores() is False


@pytest.mark.parametrize("keys", [["key"], None], ids=["its key", "all keys"])
def test_a_write_waits_for_what_is_being_stored(flying, begun_elsewhere, keys):
    """What is still computed is forgotten instead, and what is stored under other keys is none of its business."""
    first = begun_elsewhere()
    assert flying.overtake(["another key"], sync=True) == []
    assert not first.forgotten
    assert flying.overtake(keys, sync=True) == []
    assert first.forgotten
    flying.leave(first)
    second = begun_elsewhere()
    assert Run(second.stores).result() is True
    assert flying.overtake(["another key"], sync=True) == []
    assert flying.overtake(keys, sync=True) == [second.storing] != [None]


def test_a_write_does_not_wait_for_what_its_own_thread_stores(flying, begun_elsewhere):
    """As where a task of the event loop stores that this thread runs."""
    other = begun_elsewhere()
    assert other.stores() is True
    assert flying.overtake(["key"], sync=True) == []
    assert flying.overtake(["key"], sync=False) == [other.storing] != [None], "a task can wait for it"


def test_writes_wait_for_a_thread_that_stores_though_its_task_has_been_cancelled(flying, begun_elsewhere):
    """Until it has stored the value; and then nothing of it is left behind."""
    own = begun_elsewhere()
    Run(own.stores).result()
    flying.leave(own)
    (step,) = flying.overtake(["key"], sync=True)
    assert not wait(step, seconds=0.01)
    flying.stored(own)
    assert wait(step, seconds=0.01)
    assert flying.under_way == set()


def test_code_that_outlives_a_computation_is_no_part_of_it(flying, begun_elsewhere):
    """A task that was started in it, say, goes on in its context: it waits for others, and its writes tell them."""
    own, _ = begin(flying)
    own.starts()
    own.stores()
    inside = contextvars.copy_context()
    flying.leave(own)
    other = begun_elsewhere()
    assert inside.run(begin, flying)[1] is other
    assert inside.run(flying.overtake, ["key"], sync=True) == []
    assert other.forgotten


def test_a_computation_that_goes_on_after_its_end_stores_nothing(flying):
    """Its caller was cancelled, and the thread goes on: nobody tells it of writes any more."""
    own, _ = begin(flying)
    flying.leave(own)
    own.starts()
    assert own.stores() is False


def test_an_early_computation_is_left_to_the_one_that_is_under_way(flying):
    """Also where it could not wait for that: in the same thread, and inside it."""
    first, _ = begin(flying)
    assert flying.join(Computation("key", old=1), sync=True) is first
    first.starts()
    assert flying.join(Computation("key", old=1), sync=True) is first
