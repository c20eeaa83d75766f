"""Checks of ``ReadYourWritesMiddleware``, and of the per-site cache: it must not share one response between visitors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.core.checks import Warning  # noqa: A004 - Django's name
from django.middleware.cache import FetchFromCacheMiddleware, UpdateCacheMiddleware

from tieredcache.checks.caches import class_at, read_aliases
from tieredcache.config import LRUOptions, TieredOptions
from tieredcache.middleware import ReadYourWritesMiddleware

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

_PAGES: Final = "views.decorators.cache.cache_page."
"""How the keys of Django's page cache begin, those of the per-site one too."""
_HEADERS: Final = "views.decorators.cache.cache_header."
"""How those begin that hold what a page varies by."""


def check_middleware(**_: Any) -> list[CheckMessage]:
    """The place of ``ReadYourWritesMiddleware`` in ``MIDDLEWARE``."""
    paths = settings.MIDDLEWARE
    classes = [class_at(path) for path in paths]
    place = next((index for index, found in enumerate(classes) if issubclass(found, ReadYourWritesMiddleware)), None)
    # Those that answer from the cache on the way in. UpdateCacheMiddleware only writes, and only what a GET returned.
    before = [
        path for path, found in zip(paths, classes[:place], strict=False) if issubclass(found, FetchFromCacheMiddleware)
    ]
    options = read_aliases().get(alias := settings.CACHE_MIDDLEWARE_ALIAS)
    keeps_pages = isinstance(options, TieredOptions) and any(map(options.timeout_for, (_PAGES, _HEADERS)))
    if place is None or not before or not keeps_pages:
        return []
    return [
        Warning(
            f"{before[0]!r} stands before {paths[place]!r} in MIDDLEWARE, and answers from the local tier of "
            f"CACHES[{alias!r}]: a visitor whose write removed a page may still be shown it.",
            hint=f"Put {paths[place]!r} before {before[0]!r} in MIDDLEWARE: first of all.",
            id="tieredcache.W010",
        )
    ]


def check_pages(**_: Any) -> list[CheckMessage]:
    """Whether the per-site cache hands one response object to many visitors."""
    kinds = FetchFromCacheMiddleware, UpdateCacheMiddleware
    if not any(issubclass(class_at(path), kinds) for path in settings.MIDDLEWARE):
        return []  # cache_page names its alias in a view, where no check can see it
    options = read_aliases().get(alias := settings.CACHE_MIDDLEWARE_ALIAS)
    if isinstance(options, LRUOptions) and not options.copy_values:
        where, remedy = "an LRUCache without COPY_VALUES", "['COPY_VALUES'] to True"
    elif isinstance(options, TieredOptions) and options.shares(_PAGES) and options.timeout_for(_PAGES) > 0:
        where, remedy = "whose SHARE_VALUES covers them", "['SHARE_VALUES'] to the prefixes of what nobody changes"
    else:
        return []
    return [
        Warning(
            f"The per-site cache keeps its pages in CACHES[{alias!r}], {where}: every visitor is given the same response "
            f"object, and with it the cookies that middleware set on it for another visitor.",
            hint=f"Set CACHES[{alias!r}]['OPTIONS']{remedy}, or CACHE_MIDDLEWARE_ALIAS to another alias.",
            id="tieredcache.W013",
        )
    ]
