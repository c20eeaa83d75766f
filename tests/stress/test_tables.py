"""Lookup tables under threads and tasks, in a process of its own: the short form of ``make stress``."""

import pytest

from tests.stress.test_stress import run


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "code"), [([], 0), (["--unserialised"], 1)])
def test_nobody_sees_rows_older_than_its_own_last_reload(arguments, code):
    """And nobody waits without an end. The program finds what it is for: reloads that simply read and write."""
    done = run("tests.stress.tables", "40000", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert ("0 violations" in done.stdout.splitlines()[0]) is (code == 0)
