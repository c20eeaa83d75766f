"""Options of both backends, validated in one place: every message names the alias, the option, the value and the remedy."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn

from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

EXCLUDED_PREFIXES: Final = {
    # A stale session is not only stale: it is saved back, and an update is lost.
    "django.contrib.sessions.cache": 0.0,
    "django.contrib.sessions.cached_db": 0.0,
    # Counters decide on what they read: REST framework's throttles and django-ratelimit, under their default prefixes.
    "throttle_": 0.0,
    "rl:": 0.0,
}


@dataclass(frozen=True, slots=True)
class TieredOptions:
    """What ``OPTIONS`` of a ``TieredCache`` may hold, and the defaults. All times are seconds."""

    local_timeout: float = 5
    local_timeouts: tuple[tuple[str, float], ...] = ()  # longest prefix first, the built-in ones included
    max_entries: int = 1000
    miss_timeout: float = 0
    jitter: float = 0.1
    share_values: bool | tuple[str, ...] = False
    stale_while_revalidate: float = 0
    stale_if_error: float = 0
    ignore_errors: bool = False
    retry_after: float = 1
    timed_prefixes: tuple[str, ...] = field(init=False)  # those of local_timeouts

    def __post_init__(self) -> None:
        object.__setattr__(self, "timed_prefixes", tuple(prefix for prefix, _ in self.local_timeouts))

    @property
    def longest_timeout(self) -> float:
        """The longest that any key is served after it was read, in seconds."""
        return max([self.local_timeout, *(timeout for _, timeout in self.local_timeouts)]) + self.stale_while_revalidate

    def timeout_for(self, key: str) -> float:
        """The local timeout of ``key``, as it was passed to the cache, in seconds; ``0``: never kept."""
        if key.startswith(self.timed_prefixes):  # one call for all of them
            return next(timeout for prefix, timeout in self.local_timeouts if key.startswith(prefix))
        return self.local_timeout

    def shares(self, key: str) -> bool:
        """Whether every read of ``key`` may be given the same object."""
        return self.share_values if isinstance(self.share_values, bool) else key.startswith(self.share_values)


@dataclass(frozen=True, slots=True)
class LRUOptions:
    """What ``OPTIONS`` of an ``LRUCache`` may hold, and Django's defaults."""

    max_entries: int = 300
    cull_frequency: int = 3  # of no effect: one entry goes at a time


class Mistake(ImproperlyConfigured):
    """A setting that is wrong. ``fault``: which, its value, why; ``remedy``: what to do; ``where``: what it is a setting of.

    ``option``: its name, and ``alias``: whose it is, where that is not the alias being made but one further down its chain.
    """

    option = ""
    alias: str | None = None

    def __init__(self, fault: str, remedy: str, where: str = "") -> None:
        super().__init__(fault, remedy, where)
        self.fault = fault
        self.remedy = remedy
        self.where = where

    def __str__(self) -> str:
        return f"{self.where}{': ' if self.where else ''}{self.fault}. {self.remedy}"


class Complaint:
    """Raises ``Mistake`` for the alias with these settings.

    Django does not tell a backend its alias, so it is looked for in ``CACHES`` by what the backend was given.
    """

    def __init__(self, backend: str, location: Any, params: Mapping[str, Any]) -> None:
        self._backend = backend
        self._location = location
        self._params = params
        self._known_alias: str | None = None

    def _alias(self) -> str:
        if self._known_alias is not None:
            return f"CACHES[{self._known_alias!r}]"
        for alias in caches.settings:
            if given(alias) == (self._location, self._params):
                return f"CACHES[{alias!r}]"
        return f"a {self._backend} over {self._location!r}"

    def about(self, alias: str) -> Complaint:
        """Complaints about ``alias`` instead."""
        other = Complaint(self._backend, self._location, self._params)
        other._known_alias = alias
        return other

    def raise_(self, option: str, value: object, problem: str, remedy: str) -> NoReturn:
        mistake = Mistake(f"{option} is {value!r}, {problem}", remedy, self._alias())
        mistake.option, mistake.alias = option, self._known_alias
        raise mistake


def given(alias: str) -> tuple[Any, dict[str, Any]]:
    """What Django makes the cache of ``alias`` with: its ``LOCATION``, and its other settings."""
    config = caches.settings[alias]
    return config.get("LOCATION", ""), {name: value for name, value in config.items() if name not in {"BACKEND", "LOCATION"}}


def known_only(given: Mapping[Any, Any], known: Iterable[str], where: str, complaint: Complaint) -> None:
    """Complain about the first name in ``given`` that is not ``known``, with the nearest one that is."""
    known = sorted(known)
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(str(name).upper(), known, n=1, cutoff=0.5)
            remedy = f"Did you mean {near[0]}?" if near else f"Known there: {', '.join(known)}."
            complaint.raise_(f"{where}[{name!r}]" if where else repr(name), value, "an unknown name", remedy)


def number(
    value: object,
    option: str,
    complaint: Complaint,
    *,
    unit: str,
    low: float = 0,
    high: float = math.inf,
    whole: bool = False,
) -> float:
    """``value`` where it is a finite number (``whole``: an int) from ``low`` to ``high``; complains where not."""
    kind = "a whole number" if whole else "a number"
    span = f" from {low:g} to {high:g}" if high < math.inf else f" of at least {low:g}" if low > -math.inf else ""
    remedy = f"Set it to {kind}{span} ({unit})."
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        complaint.raise_(option, value, f"of type {type(value).__name__}, not {kind}", remedy)
    try:
        finite = math.isfinite(value)
    except OverflowError:  # an int larger than any float
        finite = False
    if not finite:
        complaint.raise_(option, value, "not a finite number", remedy)
    if not low <= value <= high:
        complaint.raise_(option, value, "out of range", remedy)
    return value


def _prefix(prefix: object, option: str, complaint: Complaint, remedy: str) -> str:
    if not isinstance(prefix, str):
        complaint.raise_(option, prefix, f"a prefix of type {type(prefix).__name__}, not a string", remedy)
    if not prefix:
        complaint.raise_(option, prefix, "an empty prefix, which every key has", remedy)
    return prefix


def _local_timeouts(value: object, option: str, complaint: Complaint) -> tuple[tuple[str, float], ...]:
    remedy = 'Set it to a dict of key prefix to seconds, such as {"flags:": 1}; for all keys there is LOCAL_TIMEOUT.'
    if not isinstance(value, Mapping):
        complaint.raise_(option, value, f"of type {type(value).__name__}, not a dict", remedy)
    timeouts = dict(EXCLUDED_PREFIXES)
    for key, seconds in value.items():
        prefix = _prefix(key, option, complaint, remedy)
        timeouts[prefix] = number(seconds, f"{option}[{prefix!r}]", complaint, unit="seconds; 0: never kept locally")
    return tuple(sorted(timeouts.items(), key=lambda item: -len(item[0])))


def _share_values(value: object, option: str, complaint: Complaint) -> bool | tuple[str, ...]:
    remedy = 'Set it to True, False, or a list of key prefixes such as ["geo."].'
    if isinstance(value, bool):
        return value
    if not isinstance(value, (list, tuple, set, frozenset)):
        complaint.raise_(option, value, f"of type {type(value).__name__}, neither a bool nor a list", remedy)
    return tuple(_prefix(prefix, option, complaint, remedy) for prefix in value)


def _remote_errors(value: object, option: str, complaint: Complaint) -> bool:
    if value not in ("raise", "ignore"):  # a tuple, because what is no string need not be hashable
        complaint.raise_(option, value, 'neither "raise" nor "ignore"', 'Set it to "raise" or "ignore".')
    return value == "ignore"


def _whole(value: object, option: str, complaint: Complaint, **limits: Any) -> int:
    return int(number(value, option, complaint, whole=True, **limits))


_TIERED: Final[dict[str, Callable[[Any, str, Complaint], Any]]] = {
    "LOCAL_TIMEOUT": lambda v, o, c: number(v, o, c, unit="seconds; 0 switches the local tier off"),
    "LOCAL_TIMEOUTS": _local_timeouts,
    "MAX_ENTRIES": lambda v, o, c: _whole(v, o, c, low=1, unit="entries"),
    "MISS_TIMEOUT": lambda v, o, c: number(v, o, c, unit="seconds; 0: absence is not remembered"),
    "JITTER": lambda v, o, c: number(v, o, c, high=1, unit="a share of the local timeout"),
    "SHARE_VALUES": _share_values,
    "STALE_WHILE_REVALIDATE": lambda v, o, c: number(v, o, c, unit="seconds past the deadline"),
    "STALE_IF_ERROR": lambda v, o, c: number(v, o, c, unit="seconds past the deadline"),
    "REMOTE_ERRORS": _remote_errors,
    "RETRY_AFTER": lambda v, o, c: number(v, o, c, unit="seconds between attempts"),
}
# Where the field is not named as the option is.
_FIELDS: Final = {"REMOTE_ERRORS": "ignore_errors"}
_LRU: Final[dict[str, Callable[[Any, str, Complaint], Any]]] = {
    "MAX_ENTRIES": lambda v, o, c: _whole(v, o, c, low=1, unit="entries"),
    "CULL_FREQUENCY": lambda v, o, c: _whole(v, o, c, unit="accepted and of no effect"),
}


def _read(params: Mapping[str, Any], parsers: Mapping[str, Callable[..., Any]], complaint: Complaint) -> dict[str, Any]:
    options = params.get("OPTIONS", {})
    if not isinstance(options, Mapping):
        complaint.raise_("OPTIONS", options, f"of type {type(options).__name__}, not a dict", "Set it to a dict.")
    known_only(options, parsers, "OPTIONS", complaint)
    return {
        _FIELDS.get(name, name.lower()): parsers[name](value, f"OPTIONS[{name!r}]", complaint)
        for name, value in options.items()
    }


def read_timeout(params: Mapping[str, Any], complaint: Complaint) -> None:
    """Check ``TIMEOUT``, the default timeout of writes, in seconds; ``None``: they do not expire."""
    timeout = params.get("TIMEOUT")
    if timeout is not None:
        number(timeout, "TIMEOUT", complaint, low=-math.inf, unit="seconds; or None: never expires")


def read_tiered_options(params: Mapping[str, Any], complaint: Complaint) -> TieredOptions:
    """The options of a ``TieredCache``; raises ``ImproperlyConfigured`` for the first mistake found in them."""
    for name in ("KEY_PREFIX", "KEY_FUNCTION", "VERSION"):
        if name in params:
            remedy = "Keys pass to the remote tier as they are: move it to the alias that LOCATION names."
            complaint.raise_(name, params[name], "which belongs to the remote alias", remedy)
    known_only(params, ["TIMEOUT", "OPTIONS"], "", complaint)
    read_timeout(params, complaint)
    given = _read(params, _TIERED, complaint)
    given.setdefault("local_timeouts", _local_timeouts({}, "", complaint))
    return TieredOptions(**given)


def read_lru_options(location: Any, params: Mapping[str, Any]) -> LRUOptions:
    """The options of an ``LRUCache``; raises ``ImproperlyConfigured`` for the first mistake found in them."""
    complaint = Complaint("LRUCache", location, params)
    for option, name in (("LOCATION", location), ("NAME", params.get("NAME", ""))):
        if not isinstance(name, str):
            remedy = "Set it to a name: instances with the same one share a store."
            complaint.raise_(option, name, f"of type {type(name).__name__}, not a string", remedy)
    known_only(params, ["TIMEOUT", "OPTIONS", "KEY_PREFIX", "KEY_FUNCTION", "VERSION", "NAME"], "", complaint)
    function = params.get("KEY_FUNCTION")
    if function is not None and not callable(function) and not isinstance(function, str):
        remedy = "Set it to a function, or to the path of one."
        complaint.raise_("KEY_FUNCTION", function, f"of type {type(function).__name__}, not a function", remedy)
    read_timeout(params, complaint)
    return LRUOptions(**_read(params, _LRU, complaint))
