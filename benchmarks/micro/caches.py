"""Caches to measure: Django set up with them, a remote that costs nothing, a clock that is moved."""

from __future__ import annotations

import functools
import sys
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.cache.backends.base import BaseCache

if TYPE_CHECKING:
    from collections.abc import Callable

TIERED = "tieredcache.backends.TieredCache"
LRU = "tieredcache.backends.LRUCache"
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
DJANGO_REDIS = "django_redis.cache.RedisCache"


def set_up(aliases: dict[str, Any], **settings: Any) -> Any:
    """Django with these ``CACHES``, in a process that has none yet; its ``caches``."""
    import django
    from django.conf import settings as djangos

    djangos.configure(CACHES=aliases, **settings)
    django.setup()
    from django.core.cache import caches

    return caches


def tiered(location: str = "remote", /, **options: Any) -> dict[str, Any]:
    """The settings of a ``TieredCache`` over the alias ``location``."""
    return {"BACKEND": TIERED, "LOCATION": location, "OPTIONS": options}


class Echo(BaseCache):
    """A remote that has what ``values`` has, and hands it over as it is."""

    values: ClassVar[dict[str, Any]] = {}

    def __init__(self, _: str, params: dict[str, Any]) -> None:
        super().__init__(params)

    def get(self, key: str, default: Any = None, version: Any = None) -> Any:  # noqa: ARG002 - Django's signature
        """The value itself."""
        return self.values.get(key, default)


ECHO = {"BACKEND": f"{__name__}.Echo"}


def over_echo(name: str, **options: Any) -> dict[str, Any]:
    """The settings of an alias over a remote of its own that costs nothing."""
    return {f"{name} remote": ECHO, name: tiered(f"{name} remote", **{"JITTER": 0, **options})}


@functools.cache
def moving_clock(base: Callable[[], float] = monotonic) -> Callable[[float], None]:
    """Give the package the clock ``base``, and more: what is returned moves it on by so many seconds.

    The package's modules read the clock by a name of their own: those that are imported later are not changed.
    """
    moved = [0.0]
    for name, module in list(sys.modules.items()):
        if name.startswith("tieredcache.") and hasattr(module, "clock"):
            module.clock = lambda: base() + moved[0]  # type: ignore[attr-defined]

    def move(seconds: float) -> None:
        moved[0] += seconds

    return move
