"""Options of both backends, validated in one place: every message names the alias, the option, the value and the remedy."""

from __future__ import annotations

import difflib
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn

from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured

from tieredcache.config.excluded import EXCLUDED_PREFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LONGEST_QUOTE: Final = 60


@dataclass(frozen=True, slots=True)
class TieredOptions:
    """What ``OPTIONS`` of a ``TieredCache`` may hold, and the defaults. All times are seconds."""

    local_timeout: float = 5
    local_timeouts: tuple[tuple[str, float], ...] = ()  # longest prefix first, the built-in ones included
    max_entries: int = 1000
    miss_timeout: float = 0
    jitter: float = 0.1
    share_values: bool | tuple[str, ...] = False
    prefetch: int = 100
    stale_while_revalidate: float = 0
    stale_if_error: float = 0
    remote_errors: str = "raise"
    retry_after: float = 1
    timed_prefixes: tuple[str, ...] = field(init=False)  # those of local_timeouts

    def __post_init__(self) -> None:
        object.__setattr__(self, "timed_prefixes", tuple(prefix for prefix, _ in self.local_timeouts))

    @property
    def longest_timeout(self) -> float:
        """The longest local timeout of any key, in seconds."""
        return max([self.local_timeout, *(timeout for _, timeout in self.local_timeouts)])

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

    ``option``: its name.
    """

    def __init__(self, fault: str, remedy: str, where: str = "", option: str = "") -> None:
        super().__init__(fault, remedy, where, option)
        self.fault = fault
        self.remedy = remedy
        self.where = where
        self.option = option

    def __str__(self) -> str:
        return f"{self.where}{': ' if self.where else ''}{self.fault}. {self.remedy}"


class Complaint:
    """Raises ``Mistake`` for the alias with these settings.

    Django does not tell a backend its alias, so it is looked for in ``CACHES`` by what the backend was given.
    """

    def __init__(self, backend: str, location: Any, params: Mapping[str, Any]) -> None:
        self._backend = backend
        self._given = location, dict(params)

    def where(self) -> str:
        """The alias that is made, or its backend where it is none of ``CACHES``."""
        for alias in caches.settings:
            if given(alias) == self._given:
                return f"CACHES[{alias!r}]"
        return f"a {self._backend}"

    def raise_(self, option: str, value: object, problem: str, remedy: str) -> NoReturn:
        """Raise ``Mistake``, with ``value`` quoted where it can be no secret."""
        raise Mistake(f"{option} is {quoted(value)}, {problem}", remedy, self.where(), option) from None


def quoted(value: object) -> str:
    """``value`` as a message may show it: what may be or hold a URL, and with it a password, is named by its type only."""
    text = repr(value)
    if isinstance(value, (bool, int, float, type(None))) or (len(text) <= LONGEST_QUOTE and not set(text) & set(":/@?={}")):
        return text
    size = f" of {len(value)}" if isinstance(value, (str, bytes, list, tuple, dict, set)) else ""
    return f"a {type(value).__name__}{size} (not shown)"


def given(alias: str) -> tuple[Any, dict[str, Any]]:
    """What Django makes the cache of ``alias`` with: its ``LOCATION``, and its other settings."""
    config = caches.settings[alias]
    return config.get("LOCATION", ""), {name: value for name, value in config.items() if name not in {"BACKEND", "LOCATION"}}


def known_only(given: Mapping[Any, Any], known: Iterable[str], where: str, complaint: Complaint) -> None:
    """Complain about the first name in ``given`` that is not ``known``, with the nearest one that is.

    Its value is not quoted: an option of the remote may have been put here, and be a password.
    """
    known = sorted(known)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(str(name).upper(), known, n=1, cutoff=0.5)
            remedy = f"Did you mean {near[0]}?" if near else f"Known there: {', '.join(known)}."
            option = f"{where}[{quoted(name)}]" if where else quoted(name)
            raise Mistake(f"{option} is an unknown name", remedy, complaint.where(), option)


@dataclass(frozen=True, slots=True)
class Number:
    """Parses a finite number (``whole``: an int) from ``low`` to ``high``; complains about anything else."""

    unit: str
    low: float = 0
    high: float = math.inf
    whole: bool = False

    def __call__(self, value: Any, option: str, complaint: Complaint) -> Any:
        kind = "a whole number" if self.whole else "a number"
        span = f" from {self.low:g} to {self.high:g}" if self.high < math.inf else f" of at least {self.low:g}"
        remedy = f"Set it to {kind}{span if self.low > -math.inf else ''} ({self.unit})."
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            complaint.raise_(option, value, f"of type {type(value).__name__}, not {kind}", remedy)
        if value != value or abs(value) > sys.float_info.max:  # noqa: PLR0124 - not a number is equal to nothing
            complaint.raise_(option, value, "not a finite number", remedy)
        if not self.low <= value <= self.high:
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
        timeouts[prefix] = Number("seconds; 0: never kept locally")(seconds, f"{option}[{prefix!r}]", complaint)
    return tuple(sorted(timeouts.items(), key=lambda item: -len(item[0])))


def _share_values(value: object, option: str, complaint: Complaint) -> bool | tuple[str, ...]:
    remedy = 'Set it to True, False, or a list of key prefixes such as ["geo."].'
    if isinstance(value, bool):
        return value
    if not isinstance(value, (list, tuple, set, frozenset)):
        complaint.raise_(option, value, f"of type {type(value).__name__}, neither a bool nor a list", remedy)
    return tuple(_prefix(prefix, option, complaint, remedy) for prefix in value)


def _remote_errors(value: Any, option: str, complaint: Complaint) -> str:
    if value not in ("raise", "ignore"):  # a tuple, because what is no string need not be hashable
        complaint.raise_(option, value, 'neither "raise" nor "ignore"', 'Set it to "raise" or "ignore".')
    return str(value)


_TIERED: Final[dict[str, Callable[[Any, str, Complaint], Any]]] = {
    "LOCAL_TIMEOUT": Number("seconds; 0 switches the local tier off"),
    "LOCAL_TIMEOUTS": _local_timeouts,
    "MAX_ENTRIES": Number("entries", low=1, whole=True),
    "MISS_TIMEOUT": Number("seconds; 0: absence is not remembered"),
    "JITTER": Number("a share of the local timeout", high=1),
    "SHARE_VALUES": _share_values,
    "PREFETCH": Number("keys; 0: nothing is brought along", whole=True),
    "STALE_WHILE_REVALIDATE": Number("seconds past the deadline"),
    "STALE_IF_ERROR": Number("seconds past the deadline"),
    "REMOTE_ERRORS": _remote_errors,
    "RETRY_AFTER": Number("seconds between attempts"),
}
_LRU: Final[dict[str, Callable[[Any, str, Complaint], Any]]] = {
    "MAX_ENTRIES": Number("entries", low=1, whole=True),
    "CULL_FREQUENCY": Number("accepted and of no effect", whole=True),
}


def _read(
    params: Mapping[str, Any], names: Iterable[str], parsers: Mapping[str, Callable[..., Any]], complaint: Complaint
) -> dict[str, Any]:
    """The fields of ``OPTIONS``; complains about them, about ``TIMEOUT``, and about settings that are not of ``names``."""
    _require_gil()
    known_only(params, ["TIMEOUT", "OPTIONS", *names], "", complaint)
    timeout = params.get("TIMEOUT")
    if timeout is not None:
        Number("seconds; or None: never expires", low=-math.inf)(timeout, "TIMEOUT", complaint)
    options = params.get("OPTIONS", {})
    if not isinstance(options, Mapping):
        fault = f"OPTIONS is of type {type(options).__name__}, not a dict"  # not quoted: a password may be in it
        raise Mistake(fault, "Set it to a dict.", complaint.where(), "OPTIONS")
    known_only(options, parsers, "OPTIONS", complaint)
    return {name.lower(): parsers[name](value, f"OPTIONS[{name!r}]", complaint) for name, value in options.items()}


def read_tiered_options(params: Mapping[str, Any], complaint: Complaint) -> TieredOptions:
    """The options of a ``TieredCache``; raises ``ImproperlyConfigured`` for the first mistake found in them."""
    for name in ("KEY_PREFIX", "KEY_FUNCTION", "VERSION"):
        if name in params:
            remedy = "Keys pass to the remote tier as they are: move it to the alias that LOCATION names."
            complaint.raise_(name, params[name], "which belongs to the remote alias", remedy)
    found = _read(params, (), _TIERED, complaint)
    found.setdefault("local_timeouts", _local_timeouts({}, "", complaint))
    return TieredOptions(**found)


def read_lru_options(location: Any, params: Mapping[str, Any]) -> LRUOptions:
    """The options of an ``LRUCache``; raises ``ImproperlyConfigured`` for the first mistake found in them."""
    complaint = Complaint("LRUCache", location, params)
    for option, name in (("LOCATION", location), ("NAME", params.get("NAME", ""))):
        if not isinstance(name, str):
            remedy = "Set it to a name: instances with the same one share a store."
            complaint.raise_(option, name, f"of type {type(name).__name__}, not a string", remedy)
    function = params.get("KEY_FUNCTION")
    if function is not None and not callable(function) and not isinstance(function, str):
        remedy = "Set it to a function, or to the path of one."
        complaint.raise_("KEY_FUNCTION", function, f"of type {type(function).__name__}, not a function", remedy)
    return LRUOptions(**_read(params, ("KEY_PREFIX", "KEY_FUNCTION", "VERSION", "NAME"), _LRU, complaint))


def _require_gil() -> None:
    """Raise ``ImproperlyConfigured`` where this process runs without the GIL.

    A hit takes no lock: it moves its entry to the head of lru-dict's linked list, and two at once would break that. So
    lru-dict relies on the GIL, and a free-threaded Python turns it on when it imports lru-dict, unless a setting forbids it.
    """
    enabled = getattr(sys, "_is_gil_enabled", None)  # Python 3.13 is the first that can do without
    if enabled is None or enabled():
        return
    # In this order, because the command line has the last word.
    name, value = "-X gil", sys._xoptions.get("gil")  # noqa: SLF001 - documented by that name
    if value is None:
        name, value = "PYTHON_GIL", os.environ.get("PYTHON_GIL")
    raise ImproperlyConfigured(
        f"{name} is {value!r}, and Python runs without the GIL: the lists of lru-dict, in which the local tiers are kept, "
        f"would break, and the process with them. Set {name} to 1."
    )
