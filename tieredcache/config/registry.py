"""The local tiers of this process: one for each alias, because Django makes a backend for each thread or request."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.core.cache import caches
from django.core.signals import setting_changed

from tieredcache.config.options import read_tiered_options
from tieredcache.local.tier import LocalTier
from tieredcache.remote.circuit import Circuit
from tieredcache.remote.prefetch import Prefetch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tieredcache.config.options import TieredOptions
    from tieredcache.remote import Reader


class Tier(LocalTier):
    """A local tier, and what this process knows of its remote. ``remote_alias``: the alias of the remote.

    ``reader`` and the four after it are known with the first remote instance. ``prefix``: what the remote puts before every
    ``str`` key of the default version; ``""``: it makes each key in its own way. ``over_alias``: the living tiers over that
    alias, with any settings; one list, which every write looks through twice.
    """

    def __init__(self, options: TieredOptions, location: str, given: Any) -> None:
        self.given: Any = given  # held, so that no other object has its id
        self.remote_alias = location
        self.remote_settings: Any = caches.settings[location]
        self.reader: Reader | None = None
        self.prefix: str = ""
        self.has_servers: bool = False
        self.prefetches: bool = False
        self.packages: frozenset[str] = frozenset()
        super().__init__(options)
        self.over_alias: list[weakref.ref[Tier]] = _over.setdefault(location, [])
        self.over_alias.append(weakref.ref(self, self.over_alias.remove))

    def after_fork(self) -> None:
        super().after_fork()
        # In a child process the circuit is closed: the readers that tried the remote are threads of the parent.
        self.circuit: Circuit = Circuit(self.remote_alias, self.options.retry_after)
        self.prefetch: Prefetch = Prefetch(self.options.prefetch, self.options.max_entries)


_tiers: Final[dict[tuple[Any, ...], Tier]] = {}
_over: Final[dict[str, list[weakref.ref[Tier]]]] = {}
"""By the alias of the remote: those above, and those that backends still hold."""


def tier_for(backend: type, location: Any, params: Mapping[str, Any]) -> Tier:
    """The local tier of an alias, made and validated the first time; raises ``ImproperlyConfigured``.

    Django hands every instance of an alias the same ``OPTIONS``, so a tier is found by identity: that takes a tenth of the
    time that comparing settings would. ``backend``: the class whose aliases may not be a remote.
    """
    given = params.get("OPTIONS")
    name = location, id(given), params.get("TIMEOUT"), *params
    try:
        tier = _tiers.get(name)
    except TypeError:  # a setting that cannot be hashed is a mistake
        tier = None
    if tier is None:
        tier = Tier(read_tiered_options(backend, location, params), location, given)
        if any(config.get("OPTIONS") is given for config in caches.settings.values()):
            tier = _tiers.setdefault(name, tier)  # else it is of an instance made with settings of its own
    return tier


def siblings(tier: Tier) -> list[Tier]:
    """The tiers of this process over the same remote, ``tier`` among them: all forget what is written through one.

    Backends that are held while ``CACHES`` is overridden have theirs; those of other settings are none.
    """
    settings = tier.remote_settings
    return [it for held in tier.over_alias.copy() if (it := held()) is not None and it.remote_settings is settings]


def _settings_changed(*, setting: str, **_: Any) -> None:
    """Drop the tiers: the same alias may now lead to another server. Backends that code still holds keep their tier.

    Emptied, because contexts go on referring to the backends of settings that are over: their variables outlive ``caches``.
    Those whose settings are still the very same objects stay: a test that has changed these in place, believing that they
    are the remote's, does not find them refused.
    """
    if setting == "CACHES":
        now: Any = settings.CACHES
        options = {id(config.get("OPTIONS")) for config in now.values() if isinstance(config, dict)}
        for name, tier in list(_tiers.items()):
            tier.forget_all()
            tier.reader = None  # it is asked for again, and with it the prefix
            if id(tier.given) not in options or now.get(tier.remote_alias) is not tier.remote_settings:
                _tiers.pop(name, None)


setting_changed.connect(_settings_changed)
