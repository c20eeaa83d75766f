"""The circuit alone: which reads it admits as they fail and succeed, and what it says of that."""

import itertools
import sys
import weakref

import pytest
import redis

from tieredcache import RemoteOutage
from tieredcache.remote.circuit import ENOUGH, FIRST_PAUSE, LONGEST_ATTEMPT, QUIET, WHOLE, Circuit
from tieredcache.remote.failures import Swallowed

RETRY_AFTER = 4  # seconds
KEYS = "abcdefgh"[:ENOUGH]
REFUSED = ConnectionError("refused")


class Server:
    """A server whose reads a test lets fail and succeed, each at the time that the clock shows."""

    def __init__(self, clock, *, retry_after=RETRY_AFTER, circuit=None, name=WHOLE):
        self._clock, self.name = clock, name
        self.circuit = circuit or Circuit("remote", retry_after)

    def admits(self, key="a", *, has_copy=False):
        return self.circuit.admits(self.name, key, has_copy=has_copy)

    def fails(self, *keys, error=REFUSED, sent=None):
        for key in keys or KEYS:
            self.circuit.failed(self.name, key, self._clock() if sent is None else sent, error)

    def goes_down(self, *keys, error=REFUSED):
        """Let reads fail until the circuit is open."""
        self.fails(*keys, error=error)
        self._clock.move(RETRY_AFTER)
        self.fails(*keys, error=error)
        assert self.is_open()

    def ends(self, key="a"):
        self.circuit.ended(self.name, key)

    def succeeds(self):
        self.circuit.succeeded(self.name)

    def is_open(self):
        return self.circuit.is_open(self.name)

    def error(self):
        return self.circuit.error(self.name)


@pytest.fixture
def server(clock):
    return Server(clock)


# --- suspect ---


def test_all_reads_are_sent_when_some_have_failed_of_late(server, clock):
    """As without us; a reader that has a stale copy takes it while one of them asks."""
    server.fails()
    assert all(server.admits(key) for key in "abcdabcd")
    clock.move(FIRST_PAUSE - 0.01)
    assert not server.admits(has_copy=True)
    clock.move(0.02)
    assert [server.admits(has_copy=True) for _ in range(3)] == [True, False, False]
    assert server.admits()
    server.succeeds()
    assert all(server.admits(key, has_copy=True) for key in "abcdabcd")


def test_a_failure_counts_only_if_no_read_has_succeeded_since_it_was_sent(server, clock):
    """One slow value is no outage, however often it is read."""
    for _ in range(10):
        sent = clock()
        clock.move(RETRY_AFTER / 2)
        server.succeeds()
        clock.move(RETRY_AFTER)
        server.fails("slow", sent=sent)
        assert server.admits("slow", has_copy=True)
    assert not server.is_open()


def test_failures_long_after_each_other_are_not_one_outage(server, clock):
    """A site without traffic has learned nothing in between."""
    for _ in range(10):
        server.fails()
        clock.move(RETRY_AFTER + 0.1)
    assert not server.is_open()


# --- open ---


def test_it_opens_when_failures_have_gone_on_for_retry_after(server, clock):
    """Without one success in between; a success in between begins the count again."""
    for seconds in (0, 2, 1.9):
        clock.move(seconds)
        server.fails()
        assert not server.is_open()
    server.succeeds()
    for seconds in (0, 2, 1.9):
        clock.move(seconds)
        server.fails()
        assert not server.is_open()
    clock.move(0.2)
    server.fails()
    assert server.is_open()


def test_it_opens_when_the_clients_time_outs_are_longer_than_retry_after(server, clock):
    """Reads that follow each other are a row, however long each of them takes."""
    sent = clock()
    clock.move(3 * RETRY_AFTER)
    server.fails("a", sent=sent)
    assert not server.is_open()
    clock.move(3 * RETRY_AFTER)
    server.fails("b", sent=sent + 3 * RETRY_AFTER)
    assert server.is_open()


def test_one_read_at_a_time_is_sent_after_a_pause_that_doubles(server, clock):
    """Up to RETRY_AFTER; from the first success on all are sent again."""
    server.goes_down()
    for pause in (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 4, 4, 4):
        clock.move(pause - 0.01)
        assert not any(server.admits(key, has_copy=has_copy) for key in "abcd" for has_copy in (False, True))
        clock.move(0.02)
        assert [server.admits(key) for key in "dabc"] == [True, False, False, False]
        server.fails("d")
    server.succeeds()
    assert not server.is_open()
    assert all(server.admits(key) for key in "abcdabcd")


def test_no_pause_is_longer_than_retry_after(clock):
    """With 0, every reader that is not beside another one asks."""
    server = Server(clock, retry_after=0)
    server.fails()
    assert server.is_open()
    for _ in range(5):
        assert [server.admits() for _ in range(2)] == [True, False]
        server.fails("a")


def test_a_value_that_no_read_can_finish_holds_back_no_other_key(server, clock):
    """Until ENOUGH keys have failed, one more reader at a time asks for a key that has not."""
    server.goes_down("huge")
    assert not server.admits("huge")
    assert server.admits("b")
    assert not server.admits("c"), "another reader asks for a key that has not failed"
    server.fails("b")
    assert not server.admits("b")
    assert server.admits("c")
    server.fails("c")
    assert not server.admits("d"), "enough have failed"


@pytest.mark.parametrize("key", ["a", "d"])
def test_an_attempt_that_tells_nothing_is_followed_by_another_one(server, clock, key):
    """A reader was cancelled, or its value does not decode: the next one asks after the same pause."""
    server.goes_down()
    for _ in range(3):
        clock.move(FIRST_PAUSE + 0.01)
        assert server.admits(key)
        server.ends(key)
        assert not server.admits(key)
    assert server.is_open()


def test_an_attempt_that_began_before_the_outage_is_followed_by_another_one(server, clock):
    """A task may have waited for its thread since then: its failure does not count, but its turn is over."""
    began = clock()
    clock.move(1)
    server.succeeds()
    server.goes_down()
    clock.move(RETRY_AFTER)
    assert server.admits()
    server.fails("a", sent=began)
    clock.move(RETRY_AFTER)
    assert server.admits()


def test_an_attempt_that_does_not_end_is_not_waited_for(server, clock):
    """A client without a time-out may hang: after LONGEST_ATTEMPT another reader finds out that the server is back."""
    server.goes_down()
    clock.move(RETRY_AFTER)
    assert server.admits()
    clock.move(LONGEST_ATTEMPT - 0.1)
    assert not server.admits("b")
    clock.move(0.2)
    assert [server.admits("b"), server.admits("c")] == [True, False]
    server.fails("a")
    assert not server.admits("c"), "the second attempt is still under way"


@pytest.mark.parametrize("is_due", [True, False])
def test_no_two_readers_are_admitted_when_one_breaks_in_on_the_other(clock, is_due):
    """Wherever in the way of the first one another thread comes to ask: one of them is sent, if it is time for one."""

    def run(number):
        """Let another reader come before this line of the first one's way; whether the way has so many lines."""
        server, lines, admitted = Server(clock), itertools.count(), []
        server.goes_down()
        clock.move(FIRST_PAUSE + 0.01 if is_due else 0)

        def trace(frame, event, argument):
            if event == "line" and next(lines) == number:
                admitted.append(server.admits("b"))
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            admitted.append(server.admits("a"))
        finally:
            sys.settrace(before)
        assert admitted.count(True) == is_due, f"another reader came before line {number}"
        return len(admitted) == 2

    count = next(number for number in range(100) if not run(number))
    assert count > 5


# --- servers ---


def test_servers_that_fail_one_by_one_have_a_circuit_each(clock):
    """What one does tells nothing of another."""
    circuit = Circuit("remote", RETRY_AFTER)
    one, other = Server(clock, circuit=circuit, name="one"), Server(clock, circuit=circuit, name="other")
    one.goes_down()
    other.succeeds()
    assert one.is_open()
    assert not one.admits("d")
    assert not other.is_open()
    assert all(other.admits(key, has_copy=True) for key in "abcd")


def test_a_server_that_nobody_asks_any_more_is_forgotten(clock):
    """After a failover its keys are elsewhere: a minute later, a success there ends the outage."""
    circuit = Circuit("remote", RETRY_AFTER)
    gone, other = Server(clock, circuit=circuit, name="gone"), Server(clock, circuit=circuit, name="other")
    gone.goes_down()
    clock.move(QUIET - 0.1)
    other.succeeds()
    assert gone.is_open()
    clock.move(0.2)
    other.succeeds()
    assert not gone.is_open()
    assert not circuit.failing


def test_an_outage_leaves_nothing_behind(server, clock):
    """However many keys have failed, no error, key or server of it is held."""

    class Refused(ConnectionError):
        pass

    error = Refused("refused")
    held = weakref.ref(error)
    server.goes_down(*(f"key{number}" for number in range(100)), error=error)
    del error
    assert held() is None
    assert len(server.circuit.failing[WHOLE].keys) == ENOUGH
    server.succeeds()
    assert not server.circuit.failing


# --- what it says ---


def test_an_outage_is_one_line_when_it_begins_and_one_when_it_ends(server, clock, log):
    """With the cause, and the length from the first failure on; failures that are no outage are not logged."""
    server.fails()
    server.succeeds()
    assert log() == []
    server.goes_down(error=redis.ConnectionError("Error 111\nconnecting"))
    for _ in range(100):
        clock.move(RETRY_AFTER)
        server.fails()
    server.succeeds()
    server.succeeds()
    assert log() == [
        "Outage of the remote cache 'remote': ConnectionError: Error 111 connecting. One read at a time tries it.",
        "The remote cache 'remote' answers again after 404.0 s.",
    ]


def test_the_error_of_a_reader_that_is_held_back_names_the_outage(server, clock):
    """It says since when and why, and is an instance of the class of the client's error."""
    server.goes_down(error=redis.ConnectionError("refused"))
    clock.move(2)
    error = server.error()
    assert isinstance(error, RemoteOutage)
    assert isinstance(error, redis.ConnectionError)
    assert str(error) == "The remote cache 'remote' has been down for 6.0 s: ConnectionError: refused"
    assert server.error() is not error, "readers would share a traceback"


def test_what_the_remote_would_have_called_a_miss_is_one(server):
    """The log and the error name the client's error, not our own mark of a swallowed one."""
    assert not server.circuit.swallows(WHOLE)
    swallowed = Swallowed()
    swallowed.__cause__ = redis.ConnectionError("refused")
    server.goes_down(error=swallowed)
    assert server.circuit.swallows(WHOLE)
    assert "ConnectionError: refused" in str(server.error())
    server.succeeds()
    server.goes_down()
    assert not server.circuit.swallows(WHOLE)
