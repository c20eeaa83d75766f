"""Promise 3 under threads and tasks, in processes of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OPERATIONS = 1_000_000 if os.environ.get("CI") else 100_000


def run(*command):
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


def test_own_writes_are_seen_by_all_threads_and_tasks():
    """Every read is compared with what had been written when it started."""
    done = run("tests.stress.races", str(OPERATIONS))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stress_finds_what_it_is_for():
    """Without the marks, slow readers put old values back, and it is noticed."""
    done = run("tests.stress.races", str(OPERATIONS), "--without-marks")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "violations [(" in done.stdout


def test_the_bound_across_processes():
    """The ten-second form of ``make staleness``."""
    done = run("benchmarks.load.staleness", "--seconds", "10")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 configurations: the bound holds" in done.stdout


def test_the_harness_finds_what_it_is_for():
    """With TTLs ignored, values are served past the remote's expiry, and it is noticed."""
    done = run("benchmarks.load.staleness", "--seconds", "20", "--break", "ttl")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="there a signal handler's exception may leave any lock held")
def test_a_signal_handler_that_raises_leaves_nothing_behind():
    """Neither a lock, nor a value in flight, nor a demand on freshness."""
    done = run("tests.stress.signals", "300")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing left behind" in done.stdout
