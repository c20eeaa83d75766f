"""Check of the per-site cache: its pages must not be shared by reference, since middleware changes them once stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.core.checks import Warning  # noqa: A004 - Django's name
from django.middleware.cache import FetchFromCacheMiddleware, UpdateCacheMiddleware
from django.utils.module_loading import import_string

from tieredcache.aliases import read_aliases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.checks import CheckMessage

    from tieredcache.aliases import Tier

PAGES: Final = "views.decorators.cache.cache_page."
"""How the keys of Django's page cache begin, those of the per-site one too."""

HEADERS: Final = "views.decorators.cache.cache_header."
"""How those begin that hold what a page varies by."""


def class_of(path: object) -> type:
    """The middleware class that ``path`` names; ``object`` where it names none."""
    try:
        found = import_string(path)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - Django's to tell
        return object
    return found if isinstance(found, type) else object


def check_pages(**_: Any) -> list[CheckMessage]:
    """Whether the per-site cache hands one response object to many visitors."""
    kinds = FetchFromCacheMiddleware, UpdateCacheMiddleware
    if not any(issubclass(class_of(path), kinds) for path in settings.MIDDLEWARE):
        return []  # cache_page names its alias in a view, where no check can see it
    return list(_check_alias(settings.CACHE_MIDDLEWARE_ALIAS))


def _check_alias(alias: str) -> Iterator[CheckMessage]:
    aliases = read_aliases()
    sharing = next((tier for tier in aliases.chain(alias) if _shares_pages(tier)), None)
    if alias in aliases.lru:
        where = f"CACHES[{alias!r}], an LRUCache"
        remedy = "Set CACHE_MIDDLEWARE_ALIAS to an alias that is no LRUCache."
    elif sharing is not None:
        where = f"CACHES[{sharing.alias!r}], whose SHARE_VALUES covers them"
        remedy = (
            f"Set CACHES[{sharing.alias!r}]['OPTIONS']['SHARE_VALUES'] to the prefixes of what nobody changes, or "
            f"CACHE_MIDDLEWARE_ALIAS to another alias."
        )
    else:
        return
    yield Warning(
        f"The per-site cache keeps its pages in {where}: every visitor is given the same response object, and with it the "
        f"cookies that middleware has set on it for another.",
        hint=remedy,
        id="tieredcache.W013",
    )


def _shares_pages(tier: Tier) -> bool:
    return tier.options.shares(PAGES) and tier.options.timeout_for(PAGES) > 0
