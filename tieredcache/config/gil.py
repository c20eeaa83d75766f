"""The refusal to run without the GIL."""

from __future__ import annotations

import sys

from django.core.exceptions import ImproperlyConfigured


def require_gil() -> None:
    """Raise ``ImproperlyConfigured`` where this process runs without the GIL.

    A hit takes no lock: it moves its entry to the head of lru-dict's linked list, and two at once would break that. So
    lru-dict relies on the GIL, and a free-threaded Python turns it on when it imports lru-dict, unless a setting forbids it.
    """
    if not getattr(sys, "_is_gil_enabled", lambda: True)():  # Python 3.13 is the first that can do without
        raise ImproperlyConfigured(
            "Python runs without the GIL: the lists of lru-dict, in which the local tiers are kept, would break, and the "
            "process with them. Remove -X gil=0 from the command line, and PYTHON_GIL=0 from the environment."
        )
