"""Checks of ``ReadYourWritesMiddleware``: its settings, and its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import Error, Warning  # noqa: A004 - Django's name
from django.middleware.cache import FetchFromCacheMiddleware

from tieredcache.aliases import read_aliases
from tieredcache.checks.pages import HEADERS, PAGES, class_of
from tieredcache.middleware import ReadYourWritesMiddleware, clock_margin, cookie_name
from tieredcache.options import Mistake

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.checks import CheckMessage

_SETTINGS = {"TIEREDCACHE_COOKIE_NAME": cookie_name, "TIEREDCACHE_CLOCK_MARGIN": clock_margin}


def check_middleware(**_: Any) -> list[CheckMessage]:
    """What is wrong with ``MIDDLEWARE`` and the settings of ours."""
    paths = settings.MIDDLEWARE
    classes = [class_of(path) for path in paths]
    ours = [index for index, found in enumerate(classes) if issubclass(found, ReadYourWritesMiddleware)]
    return [*_check_settings(listed=bool(ours)), *(_check_place(paths, classes, ours) if ours else ())]


def _check_settings(*, listed: bool) -> Iterator[CheckMessage]:
    for name, read in _SETTINGS.items():
        if not listed and hasattr(settings, name):
            yield Warning(
                f"{name} has no effect: ReadYourWritesMiddleware is not in MIDDLEWARE.",
                hint=f"Put 'tieredcache.middleware.ReadYourWritesMiddleware' first in MIDDLEWARE, or remove {name}.",
                id="tieredcache.W012",
            )
        elif listed:
            try:
                read()
            except Mistake as mistake:
                yield Error(f"{mistake.fault}.", hint=f"{name}: {mistake.remedy}", id="tieredcache.E003")


def _check_place(paths: Any, classes: list[type], ours: list[int]) -> Iterator[CheckMessage]:
    path = paths[ours[0]]
    # Those that answer from the cache on the way in. UpdateCacheMiddleware only writes, and only what a GET has made.
    before = [paths[index] for index in range(ours[0]) if issubclass(classes[index], FetchFromCacheMiddleware)]
    if before and _keeps_pages(settings.CACHE_MIDDLEWARE_ALIAS):
        yield Warning(
            f"{before[0]!r} stands before {path!r} in MIDDLEWARE, and answers from the local tier of "
            f"CACHES[{settings.CACHE_MIDDLEWARE_ALIAS!r}]: who has removed a page by a write may still be shown it.",
            hint=f"Put {path!r} before {before[0]!r} in MIDDLEWARE: first of all.",
            id="tieredcache.W010",
        )
    if len(ours) > 1:
        yield Warning(
            f"{' and '.join(repr(paths[index]) for index in ours)} are both in MIDDLEWARE: what one does is done twice.",
            hint=f"Leave only the first in MIDDLEWARE: {path!r}.",
            id="tieredcache.W011",
        )


def _keeps_pages(alias: str) -> bool:
    """Whether a local tier of ``alias`` keeps the pages of Django's cache middleware, or what it knows of them."""
    return any(tier.options.timeout_for(prefix) for tier in read_aliases().chain(alias) for prefix in (PAGES, HEADERS))
