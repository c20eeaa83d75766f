"""Locks that a signal handler cannot leave held, whatever it raises, and wherever that strikes."""

from __future__ import annotations

import functools
import sys
from typing import Any, Final

LEAKY: Final = sys.version_info >= (3, 14)
"""Whether Python looks for signals between an ``__enter__`` in C and the block that it guards. Before 3.14 it did not, and
it is not meant to: CPython's issue 148874. Where that is mended, the care taken here costs a tenth of a microsecond.
"""


def guard(lock: Any, patience: float | None = None) -> Any:
    """A context manager that takes ``lock``, an RLock, with ``patience`` within so many seconds, and yields whether it did.

    It consists of C functions alone, because a signal handler may raise after any call that Python makes: after a
    ``lock.acquire()`` it would leave the lock held for ever. Where the lock was not taken, leaving raises ``RuntimeError``.
    And it takes two thirds of the time of the lock itself as a context manager (110 ns for 160), whose ``__enter__`` parses
    keywords.
    """
    # A class of its own, because "with" looks there, and passes __enter__ nothing.
    enter = lock.acquire if patience is None else functools.partial(lock.acquire, True, patience)
    if LEAKY:
        enter = _careful(enter, lock.release)
    return type("Guard", (), {"__slots__": (), "__enter__": staticmethod(enter), "__exit__": staticmethod(lock.__exit__)})()


def _careful(acquire: Any, release: Any) -> Any:
    """``acquire``, but released where a signal handler raises on the way out of it.

    Returning from a function written in Python runs no signal handler: nothing strikes between this return and the block.
    """

    def enter() -> Any:
        try:
            return acquire()
        except BaseException:
            # Raised while it waited, or when it had the lock. In the first case nobody of this thread has it.
            try:  # noqa: SIM105 - suppress() is Python: another signal could strike there
                release()
            except RuntimeError:
                pass
            raise

    return enter
