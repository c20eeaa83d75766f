"""The facts that ``manage.py tieredcache`` tells, under the names that they have in its JSON. Times are seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from tieredcache.report.measurements import Measured


@dataclass(frozen=True, slots=True)
class TieredSettings:
    """The options of a ``TieredCache`` as they take effect; ``local_timeouts_seconds`` without those built in."""

    local_timeout_seconds: float
    local_timeouts_seconds: dict[str, float]
    max_entries: int
    miss_timeout_seconds: float
    jitter: float
    share_values: bool | tuple[str, ...]
    stale_while_revalidate_seconds: float
    stale_if_error_seconds: float
    remote_errors: str
    retry_after_seconds: float


@dataclass(frozen=True, slots=True)
class LRUSettings:
    """The options of an ``LRUCache`` as they take effect."""

    max_entries: int
    cull_frequency: int


@dataclass(frozen=True, slots=True)
class TieredAlias:
    """An alias with a local and a remote tier.

    ``defaults``: the names of those ``settings`` that are the default. ``timeout_seconds``: the default timeout of writes,
    ``None`` where they do not expire; ``timeout_from``: the alias whose ``TIMEOUT`` that is, ``None`` where it is Django's
    default. ``chain``: the aliases under this one, the remote last. ``keeps_values``: whether any value is kept locally.

    The bounds are the longest that a replaced value can be served: of any key, of those without a prefix in
    ``LOCAL_TIMEOUTS``, and of any key in an outage. Over a chain each is the sum over its tiers.

    ``excluded_prefixes``: the built-in ones that are in force. ``overridden_prefixes_seconds``: what ``LOCAL_TIMEOUTS`` says
    of keys that a built-in one would exclude.
    """

    kind: str = field(default="tiered", init=False)
    backend: str
    error: None = field(default=None, init=False)
    settings: TieredSettings
    defaults: tuple[str, ...]
    timeout_seconds: float | None
    timeout_from: str | None
    chain: tuple[str, ...]
    reader: str
    keeps_values: bool
    staleness_bound_seconds: float
    staleness_bound_without_prefix_seconds: float
    staleness_bound_in_outage_seconds: float
    excluded_prefixes: tuple[str, ...]
    overridden_prefixes_seconds: dict[str, float]
    local_hit: Measured | None


@dataclass(frozen=True, slots=True)
class LRUAlias:
    """An alias that has a local tier only. ``timeout_seconds``, ``timeout_from``, ``defaults``: as above."""

    kind: str = field(default="lru", init=False)
    backend: str
    error: None = field(default=None, init=False)
    settings: LRUSettings
    defaults: tuple[str, ...]
    timeout_seconds: float | None
    timeout_from: str | None
    local_hit: Measured


@dataclass(frozen=True, slots=True)
class MisconfiguredAlias:
    """An alias whose cache cannot be made. ``error``: why, and where the error says so the remedy."""

    kind: str = field(default="misconfigured", init=False)
    backend: str
    error: str


@dataclass(frozen=True, slots=True)
class Remote:
    """The remote at the end of a chain, tried once for all aliases over it. Its fields but ``backend``: see ``Trial``."""

    backend: str
    reader: str
    reachable: bool
    error: str | None
    remaining_life: str | None
    remote_read: Measured | None


Alias: TypeAlias = TieredAlias | LRUAlias | MisconfiguredAlias


@dataclass(frozen=True, slots=True)
class Report:
    """Everything, by alias, in the order of ``CACHES``."""

    aliases: dict[str, Alias] = field(default_factory=dict)
    remotes: dict[str, Remote] = field(default_factory=dict)

    @property
    def misconfigured(self) -> list[str]:
        """The aliases whose cache cannot be made."""
        return [alias for alias, about in self.aliases.items() if about.error is not None]

    @property
    def failing(self) -> list[str]:
        """The remotes that could not be read, or not be written."""
        return [alias for alias, remote in self.remotes.items() if remote.error is not None]
