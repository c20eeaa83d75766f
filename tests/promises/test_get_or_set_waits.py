"""get_or_set: a caller that waits for another one of this process stops after a few seconds, whatever the two wait for."""

import functools
import importlib.util
import json
import subprocess
import sys

import pytest

from tests.promises import waits
from tests.support.bounded import Run

pytestmark = pytest.mark.slow  # the waits are real: they end after a few seconds


WITH_THREADS = "from tests.promises import waits; waits.main({!r})"
WITH_GREENLETS = (
    "from gevent import monkey; monkey.patch_all(); from tests.promises import waits; waits.main({!r}, green=True)"
)


def outcomes(code):
    """What every backend gives to the callers of every scenario; all of them run at the same time."""
    run = functools.partial(subprocess.run, check=True, stdout=subprocess.PIPE, text=True, timeout=300)
    running = {each: Run(run, [sys.executable, "-c", code.format(each)]) for each in ("alone", "tiered", "lru")}
    return {backend: json.loads(process.result(50).stdout) for backend, process in running.items()}


@pytest.fixture(scope="module")
def with_threads():
    return outcomes(WITH_THREADS)


@pytest.fixture(scope="module")
def with_greenlets():
    return outcomes(WITH_GREENLETS)


@pytest.mark.parametrize("backend", ["tiered", "lru"])
@pytest.mark.parametrize("scenario", [scenario.__name__ for scenario in waits.SCENARIOS])
def test_callers_are_given_what_the_remote_alone_gives_when_they_wait_for_each_other(with_threads, scenario, backend):
    """Where the remote alone goes on, so does a cache whose callers wait for each other."""
    assert with_threads["alone"][scenario] != "never ended"
    assert with_threads[backend][scenario] == with_threads["alone"][scenario]


@pytest.mark.skipif(importlib.util.find_spec("gevent") is None, reason="gevent is not installed")
@pytest.mark.parametrize("backend", ["tiered", "lru"])
@pytest.mark.parametrize("scenario", [scenario.__name__ for scenario in waits.GREEN])
def test_greenlets_are_given_what_the_remote_alone_gives_when_they_wait_for_each_other(with_greenlets, scenario, backend):
    """The same under gevent, where every thread is a greenlet."""
    assert with_greenlets["alone"][scenario] != "never ended"
    assert with_greenlets[backend][scenario] == with_greenlets["alone"][scenario]


@pytest.mark.parametrize("backend", ["tiered", "lru"])
def test_a_warning_is_logged_when_a_wait_is_given_up(with_threads, backend):
    """A wait that took seconds and led to nothing is a sign of a deadlock in the application, so it is logged."""
    assert with_threads["alone"]["warnings"] == 0
    assert 1 <= with_threads[backend]["warnings"] <= 3 * len(waits.SCENARIOS)
