"""What ``CACHES`` leads to: every alias of this package, made on trial, and where its chain ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from tieredcache.backends import LRUCache, TieredCache
from tieredcache.options import Mistake, given, read_lru_options
from tieredcache.registry import on_trial

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tieredcache.options import TieredOptions


@dataclass(frozen=True, slots=True)
class Tier:
    """A tiered alias that can be made. ``remote``: the alias below it."""

    alias: str
    remote: str
    options: TieredOptions
    own_timeout: bool  # whether the alias has a TIMEOUT, and which, in seconds
    timeout: float | None


@dataclass(frozen=True, slots=True)
class Aliases:
    """The aliases of this package by name: those that can be made, and what keeps the others from it."""

    tiers: dict[str, Tier]
    lru: set[str]
    mistakes: dict[str, Mistake]

    def chain(self, alias: str) -> Iterator[Tier]:
        """The tiers that a read of ``alias`` goes through, from the top."""
        while alias in self.tiers:
            yield self.tiers[alias]
            alias = self.tiers[alias].remote

    def ends(self) -> dict[str, list[Tier]]:
        """The tiers by the remote alias at the end of their chain, where everything on the way can be made."""
        ends: dict[str, list[Tier]] = {}
        for alias, tier in sorted(self.tiers.items()):
            *_, last = self.chain(alias)
            if last.remote not in self.mistakes:
                ends.setdefault(last.remote, []).append(tier)
        return ends


def backend_of(alias: Any) -> type | None:
    """The class that ``BACKEND`` of ``alias`` names; ``None`` where it names none, which is Django's to tell."""
    try:
        found = import_string(caches.settings[alias]["BACKEND"])
    except Exception:  # noqa: BLE001 - a module that is being imported may raise anything
        return None
    return found if isinstance(found, type) else None


def options_of(alias: str) -> Mapping[str, Any]:
    """``OPTIONS`` of ``alias``; empty where they are no dict."""
    options = caches.settings[alias].get("OPTIONS")
    return options if isinstance(options, Mapping) else {}


def read_aliases() -> Aliases:
    """Make every alias of this package, without anything being left of it."""
    found = Aliases({}, set(), {})
    for alias in caches.settings:
        backend = backend_of(alias)
        if backend is None:
            continue
        tiered = issubclass(backend, TieredCache)
        if not tiered and not issubclass(backend, LRUCache):
            continue
        if not tiered:
            found.lru.add(alias)
        try:
            if tiered:
                found.tiers[alias] = _tier(alias, backend)
            else:
                _make_lru(alias, backend)
        except Mistake as mistake:
            found.mistakes[alias] = mistake
        except ImproperlyConfigured as error:
            found.mistakes[alias] = Mistake(f"{error}".rstrip("."), f"Correct CACHES[{alias!r}].")
        except Exception as error:  # noqa: BLE001 - a subclass's own
            fault = f"making the cache raises {type(error).__name__}: {error}".rstrip(".")
            found.mistakes[alias] = Mistake(fault, f"Correct CACHES[{alias!r}], or its backend.")
    return found


def _tier(alias: str, backend: type[TieredCache]) -> Tier:
    location, params = given(alias)
    with on_trial():
        cache = backend(location, params)
    own = vars(cache)
    return Tier(alias, own["_location"], own["_tier"].options, "default_timeout" in own, own.get("default_timeout"))


def _make_lru(alias: str, backend: type[LRUCache]) -> None:
    location, params = given(alias)
    if backend.__init__ is LRUCache.__init__:
        read_lru_options(location, params)
        BaseCache(params)  # and not an LRUCache, which would make a store
    else:
        backend(location, params)
