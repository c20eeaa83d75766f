"""What the package needs of the interpreter: its global lock, the GIL."""

from __future__ import annotations

import os
import sys


def require_gil() -> None:
    """Raise ``ImproperlyConfigured`` where this process runs without the GIL. Call it when lru-dict has been imported.

    A hit takes no lock: it moves its entry to the head of lru-dict's linked list, and two at once would break that. So
    lru-dict relies on the GIL, and a free-threaded Python turns it on when it imports lru-dict, unless it was told not to.
    """
    enabled = getattr(sys, "_is_gil_enabled", None)  # Python 3.13 is the first that can do without
    if enabled is None or enabled():
        return
    from django.core.exceptions import ImproperlyConfigured

    # In this order, because the command line has the last word.
    name, value = "-X gil", sys._xoptions.get("gil")  # noqa: SLF001 - documented by that name
    if value is None:
        name, value = "PYTHON_GIL", os.environ.get("PYTHON_GIL")
    raise ImproperlyConfigured(
        f"{name} is {value!r}, and Python runs without the GIL: the lists of lru-dict, in which the local tiers are kept, "
        f"would break, and the process with them. Set {name} to 1."
    )
