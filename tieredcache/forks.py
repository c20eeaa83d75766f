"""What is made anew in a child process: locks that a thread of the parent may have held, and what counts for one process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def in_child(renew: Callable[[], None], *, before: Callable[[], None] | None = None) -> None:
    """Call ``renew`` in every child that this process forks, and ``before`` ahead of it in the parent.

    On a system without ``fork``, such as Windows, there is nothing to do.
    """
    if not hasattr(os, "register_at_fork"):
        return
    if before is not None:
        os.register_at_fork(before=before)
    os.register_at_fork(after_in_child=renew)
