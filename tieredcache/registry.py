"""The local tiers of this process: one for each configuration, because Django makes a backend for each thread or request."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from django.core.cache import caches
from django.utils.module_loading import import_string

from tieredcache.options import Complaint, read_tiered_options
from tieredcache.tier import LocalTier

if TYPE_CHECKING:
    from collections.abc import Mapping

_lock = threading.Lock()
_tiers: dict[tuple[str, str], LocalTier] = {}
_settings: object = None


def tier_for(backend: type, location: Any, params: Mapping[str, Any]) -> LocalTier:
    """The local tier for an alias, made and validated at its first sight; raises ``ImproperlyConfigured``.

    ``backend``: the class whose aliases may not form a circle. Tiers do not survive a change of ``CACHES`` (which only tests
    do): the same alias may lead to another server then.
    """
    key = (location, repr(params))
    if _settings is caches.settings:
        try:
            return _tiers[key]
        except (KeyError, TypeError):
            pass  # new, or a LOCATION that is not even hashable
    return _make(backend, location, params)


def _make(backend: type, location: Any, params: Mapping[str, Any]) -> LocalTier:
    global _settings  # noqa: PLW0603 - what the registry belongs to
    complaint = Complaint("TieredCache", location, params)
    options = read_tiered_options(params, complaint)
    _check_location(backend, location, complaint)
    with _lock:
        if _settings is not caches.settings:
            _tiers.clear()
            _settings = caches.settings
        tier = _tiers.get((location, repr(params)))
        if tier is None:
            tier = LocalTier(options)
            for (other_location, _), other in _tiers.items():
                if other_location == location:
                    tier.siblings = other.siblings
            tier.siblings.append(tier)
            _tiers[location, repr(params)] = tier
    return tier


def _check_location(backend: type, location: Any, complaint: Complaint) -> None:
    known = f"Set it to one of the other aliases in CACHES: {', '.join(sorted(caches.settings))}."
    if not isinstance(location, str):
        complaint.raise_("LOCATION", location, f"of type {type(location).__name__}, not the name of an alias", known)
    if not location:
        complaint.raise_("LOCATION", location, "missing", known)
    path = [location]
    while True:
        if path[-1] not in caches.settings:
            complaint.raise_("LOCATION", path[-1], "not an alias in CACHES", known)
        config = caches.settings[path[-1]]
        try:
            found = import_string(config["BACKEND"])
        except ImportError:
            return  # Django says so, and better, when that alias is used
        if not issubclass(found, backend):
            return
        following = config.get("LOCATION")
        if following in path:
            circle = " -> ".join([*path[path.index(following) :], following])
            complaint.raise_("LOCATION", location, f"an alias of itself ({circle})", known)
        path.append(following)
