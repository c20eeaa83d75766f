"""What ``CACHES`` says of this package's aliases, read without creating a cache."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.core.cache import caches
from django.utils.module_loading import import_string

from tieredcache.backends import LRUCache, TieredCache
from tieredcache.config.options import Complaint, Mistake, given, read_lru_options, read_tiered_options
from tieredcache.config.registry import check_location

if TYPE_CHECKING:
    from tieredcache.config.options import LRUOptions, TieredOptions


@dataclass(frozen=True, slots=True)
class Aliases:
    """The aliases of this package: the options of the valid ones, and what is wrong with the others.

    A subclass with an ``__init__`` of its own may read its settings in its own way, and is left out.
    """

    tiered: dict[str, TieredOptions] = field(default_factory=dict)
    lru: dict[str, LRUOptions] = field(default_factory=dict)
    mistakes: dict[str, Mistake] = field(default_factory=dict)


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


def read_aliases() -> Aliases:
    """Validate the settings of each alias."""
    found = Aliases()
    for alias in caches.settings:
        backend: Any = backend_of(alias)
        try:
            if issubclass(backend, TieredCache) and backend.__init__ is TieredCache.__init__:
                location, params = given(alias)
                complaint = Complaint("TieredCache", location, params)
                check_location(TieredCache, location, complaint)
                found.tiered[alias] = read_tiered_options(params, complaint)
            elif issubclass(backend, LRUCache) and backend.__init__ is LRUCache.__init__:
                found.lru[alias] = read_lru_options(*given(alias))
        except Mistake as mistake:
            found.mistakes[alias] = mistake
    return found
