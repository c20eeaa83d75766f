"""Whether this machine stands still now and then: a virtual machine that shares its processors may, for seconds.

A server that answers within a millisecond then seems not to answer at all, and a test with real time limits fails with
nothing wrong.
"""

from time import monotonic

PAUSE = 0.1
"""Seconds for which a process does not stand still on a machine that is merely busy."""


def stands_still(seconds=2.0):
    """Look at the clock again and again for so many seconds: whether two looks were more than ``PAUSE`` apart."""
    start = last = monotonic()
    while last - start < seconds:
        now = monotonic()
        if now - last > PAUSE:
            return True
        last = now
    return False
