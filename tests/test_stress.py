"""Promise 3 under threads and tasks, in processes of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
OPERATIONS = 1_000_000 if os.environ.get("CI") else 100_000


def run(*command):
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


def test_own_writes_are_seen_by_all_threads_and_tasks():
    """Every read is compared with what had been written when it started."""
    done = run("tests.stress", str(OPERATIONS))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stress_finds_what_it_is_for():
    """Without tokens, slow readers put old values back, and it is noticed."""
    done = run("tests.stress", str(OPERATIONS), "--without-tokens")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "violations [(" in done.stdout


def test_the_bound_across_processes():
    """The ten-second form of ``make staleness``."""
    done = run("benchmarks.staleness", "--seconds", "10")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 configurations: the bound holds" in done.stdout


def test_the_harness_finds_what_it_is_for():
    """With lives ignored, values are served past the remote's expiry, and it is noticed."""
    done = run("benchmarks.staleness", "--seconds", "20", "--break", "life")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout
