"""Keeps Django's own checks from hiding ours: two of them make every cache, and so stop at the first that cannot be made.

``manage.py check`` would then show a traceback, in place of a message for each mistake with what to do about it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from django.core.checks.caches import check_cache_location_not_exposed, check_file_based_cache_is_absolute
from django.core.checks.registry import registry

from tieredcache.aliases import read_aliases

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.core.checks import CheckMessage


def let_mistakes_be_told() -> None:
    """Put those of Django's checks that make every cache behind ours; once, however often it is called."""
    for registered in (registry.registered_checks, registry.deployment_checks):
        for check, patient in _PATIENT.items():
            if check in registered:
                registered.remove(check)
                registered.add(patient)


def _patient(check: Callable[..., list[CheckMessage]]) -> Callable[..., list[CheckMessage]]:
    @functools.wraps(check)  # the tags too
    def wait(*args: Any, **kwargs: Any) -> list[CheckMessage]:
        try:
            return check(*args, **kwargs)
        except Exception:
            if read_aliases().mistakes:
                return []  # told as E001 or E002; Django's turn comes when that has been mended
            raise

    return wait


_PATIENT: Final[dict[Any, Any]] = {
    check: _patient(check) for check in (check_cache_location_not_exposed, check_file_based_cache_is_absolute)
}
