"""The local tiers of this process: one for each configuration, because Django makes a backend for each thread or request."""

from __future__ import annotations

import contextlib
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from django.core.cache import caches
from django.utils.module_loading import import_string

from tieredcache.forks import in_child
from tieredcache.locks import guard
from tieredcache.options import Complaint, given, read_tiered_options
from tieredcache.outages import Gate
from tieredcache.readers.chained import ChainReader
from tieredcache.tier import LocalTier

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_lock = guard(threading.RLock())
_tiers: dict[tuple[str, str], LocalTier] = {}
# By the alias at the end of the chain: a write through one of them is forgotten by all.
_siblings: dict[str, list[LocalTier]] = {}
_gates: dict[tuple[str, float], Gate] = {}
SEEN: Final = 100
_seen: dict[tuple[int, int], tuple[Any, dict[str, Any], LocalTier]] = {}  # by the ids of LOCATION and OPTIONS
_settings: object = None
_on_trial: ContextVar[bool] = ContextVar("tieredcache_on_trial", default=False)


def tier_for(backend: type, location: Any, params: Mapping[str, Any]) -> LocalTier:
    """The local tier for an alias, made and validated the first time that it is used; raises ``ImproperlyConfigured``.

    ``backend``: the class whose aliases may not form a circle. Tiers do not survive a change of ``CACHES`` (which only tests
    do): the same alias may lead to another server then.
    """
    # Django hands every instance of an alias the same objects. Found by identity they need no repr(), which would take a
    # third of the time that making an instance does; what was found holds them, so that no others have their ids.
    place = id(location), id(params.get("OPTIONS"))
    known = _seen.get(place)
    if known is not None and known[:2] == (location, params) and _settings is caches.settings:
        return known[2]
    tier = _make(backend, location, params)
    if _on_trial.get():
        return tier
    if len(_seen) >= SEEN:
        _seen.clear()  # somebody makes instances of settings of their own, each time anew
    _seen[place] = (location, dict(params), tier)
    return tier


@contextlib.contextmanager
def on_trial() -> Iterator[None]:
    """Inside, whoever asks for a tier is given a new one that nobody else finds: to see what settings lead to."""
    before = _made()
    token = _on_trial.set(True)
    try:
        yield
    finally:
        _on_trial.reset(token)
        # A backend may look at the one below it when it is made. Django would keep that, with a tier that no write reaches.
        for alias in _made() - before:
            del caches[alias]


def _made() -> set[str]:
    """The aliases whose backends Django keeps for the running code."""
    made: Any = caches._connections  # type: ignore[attr-defined]  # noqa: SLF001 - all() makes the others or does not name them
    return {alias for alias in caches.settings if hasattr(made, alias)}


def longest_bound() -> float:
    """Seconds of the longest staleness bound of all tiers made so far: past it nobody is served what has been replaced.

    Over a chain it is the sum, because a tier may keep what the one below has served past its own deadline.
    """
    return max((sum(each.options.longest_timeout for each in _chain(tier)) for tier in list(_tiers.values())), default=0)


def _chain(tier: LocalTier | None) -> Iterator[LocalTier]:
    """``tier``, and those below it."""
    while tier is not None:
        yield tier
        location, params = given(tier.remote_alias)
        # The LOCATION of what is no tier may be a list.
        tier = _tiers.get((location, repr(params))) if isinstance(location, str) else None


def make_tiers() -> None:
    """Make the local tiers of all aliases that have one."""
    for alias in caches.settings:
        with contextlib.suppress(Exception):  # a mistake in one that nobody may ever use is not ours to tell here
            backend = import_string(caches.settings[alias]["BACKEND"])
            if isinstance(getattr(backend, "tieredcache_reader", None), ChainReader):
                caches[alias]


def _make(backend: type, location: Any, params: Mapping[str, Any]) -> LocalTier:
    global _tiers, _siblings, _gates, _seen, _settings
    complaint = Complaint("TieredCache", location, params)
    options = read_tiered_options(params, complaint)
    remote = _follow(backend, location, complaint)
    if _on_trial.get():
        return LocalTier(options, [], location, Gate(location, options.retry_after, leads_on=remote != location))
    with _lock:
        # Destructors and signal handlers that use the cache may run amid this, and the lock lets them in. So the registry is
        # renewed in one step, and what another has made meanwhile is taken; values go when the lock has been released.
        old = _tiers, _siblings, _gates, _seen
        if _settings is not caches.settings:
            _tiers, _siblings, _gates, _seen, _settings = {}, {}, {}, {}, caches.settings
        name = location, repr(params)
        tier = _tiers.get(name)
        if tier is None:
            # Of aliases that lead to the same remote and try it as often, one reader tries it.
            place = location, options.retry_after
            gate = _gates.get(place) or _gates.setdefault(
                place, Gate(location, options.retry_after, leads_on=remote != location)
            )
            made = LocalTier(options, _siblings.setdefault(remote, []), location, gate)
            tier = _tiers.setdefault(name, made)
            if tier is not made:
                made.siblings.remove(made)
    del old
    return tier


def _follow(backend: type, location: Any, complaint: Complaint) -> str:
    """The alias at the end of the chain of tiers that starts at ``location``; complains where there is none."""
    path = [_checked(location, complaint)]
    while True:
        config = caches.settings[path[-1]]
        try:
            found = import_string(config["BACKEND"])
        except (ImportError, KeyError, AttributeError):
            return path[-1]  # Django says so, and better, when that alias is used
        if not (isinstance(found, type) and issubclass(found, backend)):
            return path[-1]
        following = _checked(config.get("LOCATION", ""), complaint.about(path[-1]))
        if following in path:
            circle = " -> ".join([*path[path.index(following) :], following])
            complaint.raise_("LOCATION", location, f"an alias of itself ({circle})", _remedy())
        path.append(following)


def _checked(location: Any, complaint: Complaint) -> str:
    if not isinstance(location, str):
        complaint.raise_("LOCATION", location, f"of type {type(location).__name__}, not the name of an alias", _remedy())
    if not location:
        complaint.raise_("LOCATION", location, "missing", _remedy())
    if location not in caches.settings:
        complaint.raise_("LOCATION", location, "not an alias in CACHES", _remedy())
    return location


def _remedy() -> str:
    return f"Set it to the alias of the remote, one of those in CACHES: {', '.join(sorted(caches.settings))}."


def _after_fork_in_child() -> None:
    global _lock  # noqa: PLW0603 - a thread of the parent may have held it
    _lock = guard(threading.RLock())


in_child(_after_fork_in_child)
