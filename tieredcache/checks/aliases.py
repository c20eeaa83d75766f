"""What ``CACHES`` says of this package's aliases, read without creating a cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.cache import caches
from django.utils.module_loading import import_string

from tieredcache.backends import LRUCache, TieredCache
from tieredcache.config import Mistake, given, read_lru_options, read_tiered_options

if TYPE_CHECKING:
    from tieredcache.config import LRUOptions, TieredOptions


def class_at(path: Any) -> type:
    """The class that a setting names; ``object`` where it names none, which Django reports."""
    try:
        found = import_string(path)
    except Exception:  # noqa: BLE001 - a module that is being imported may raise anything
        return object
    return found if isinstance(found, type) else object


def backend_of(alias: Any) -> type:
    """The class of the backend of ``alias``."""
    config: Any = caches.settings[alias]
    return class_at(config.get("BACKEND") if isinstance(config, dict) else None)


def read_aliases() -> dict[str, TieredOptions | LRUOptions | Mistake]:
    """The options of each alias of this package, or what is wrong with its settings.

    A subclass with an ``__init__`` of its own may read its settings in its own way, and is left out.
    """
    found: dict[str, TieredOptions | LRUOptions | Mistake] = {}
    for alias in caches.settings:
        backend: Any = backend_of(alias)
        try:
            if issubclass(backend, TieredCache) and backend.__init__ is TieredCache.__init__:
                found[alias] = read_tiered_options(TieredCache, *given(alias))
            elif issubclass(backend, LRUCache) and backend.__init__ is LRUCache.__init__:
                found[alias] = read_lru_options(LRUCache, *given(alias))
        except Mistake as mistake:
            found[alias] = mistake
    return found
