"""Options of both backends, validated in one place: every message names the alias, the option, the value and the remedy."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from tieredcache.config.excluded import EXCLUDED_PREFIXES
from tieredcache.config.gil import require_gil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Value = TypeVar("Value")

LONGEST_QUOTE: Final = 60


class Mistake(ImproperlyConfigured):
    """A setting that is wrong. ``fault``: its name and what is wrong; ``remedy``: what to do; ``where``: the alias."""

    def __init__(self, option: str, problem: str, remedy: str) -> None:
        super().__init__(option, problem, remedy)
        self.option = option
        self.fault: str = f"{option} {problem}"
        self.remedy = remedy
        self.where: str = ""

    def __str__(self) -> str:
        return f"{self.where}{': ' if self.where else ''}{self.fault}. {self.remedy}"


def quoted(value: object) -> str:
    """``value`` as a message may show it: what may be or hold a URL, and with it a password, is named by its type only."""
    text = repr(value)
    if isinstance(value, (bool, int, float, type(None))) or (len(text) <= LONGEST_QUOTE and not set(text) & set(":/@?={}")):
        return text
    size = f" of {len(value)}" if isinstance(value, (str, bytes, list, tuple, dict, set)) else ""
    return f"a {type(value).__name__}{size} (not shown)"


def _require(right: object, option: str, value: object, remedy: str, problem: str = "") -> None:
    if not right:
        raise Mistake(option, f"is {quoted(value)}{', ' if problem else ''}{problem}", remedy)


def given(alias: str) -> tuple[Any, dict[str, Any]]:
    """What Django makes the cache of ``alias`` with: its ``LOCATION``, and its other settings."""
    config = caches.settings[alias]
    return config.get("LOCATION", ""), {name: value for name, value in config.items() if name not in {"BACKEND", "LOCATION"}}


@contextmanager
def _naming_the_alias(backend: str, location: Any, params: Mapping[str, Any]) -> Iterator[None]:
    """Let a mistake say which alias has these settings, because Django does not tell a backend its alias."""
    try:
        yield
    except Mistake as mistake:
        aliases = [alias for alias in caches.settings if given(alias) == (location, params)]
        mistake.where = f"CACHES[{aliases[0]!r}]" if aliases else f"a {backend}"
        raise


@dataclass(frozen=True, slots=True)
class Number:
    """Parses a finite number (``whole``: an int) from ``low`` to ``high``; raises ``Mistake`` for anything else."""

    unit: str
    low: float = 0
    high: float = sys.float_info.max
    whole: bool = False

    def __call__(self, value: Any, option: str) -> Any:
        right = isinstance(value, int if self.whole else (int, float)) and not isinstance(value, bool)
        kind = "a whole number" if self.whole else "a finite number"
        least = f" of at least {self.low:g}" if self.low > -sys.float_info.max else ""
        span = f" from {self.low:g} to {self.high:g}" if self.high < sys.float_info.max else least
        # Nor is NaN between the two.
        _require(right and self.low <= value <= self.high, option, value, f"Set it to {kind}{span} ({self.unit}).")
        return value


def _prefix(prefix: object, option: str) -> str:
    if not isinstance(prefix, str) or not prefix:
        raise Mistake(option, f"has the prefix {quoted(prefix)}", "Set it to prefixes that are strings, and not empty.")
    return prefix


def _local_timeouts(value: Any, option: str) -> tuple[tuple[str, float], ...]:
    remedy = 'Set it to a dict of key prefix to seconds, such as {"flags:": 1}; for all keys there is LOCAL_TIMEOUT.'
    _require(isinstance(value, Mapping), option, value, remedy)
    seconds = Number("seconds; 0: never kept locally")
    timeouts = {_prefix(key, option): seconds(each, f"{option}[{key!r}]") for key, each in value.items()}
    return tuple(sorted((EXCLUDED_PREFIXES | timeouts).items(), key=lambda item: -len(item[0])))


def _share_values(value: Any, option: str) -> bool | tuple[str, ...]:
    remedy = 'Set it to True, False, or a list of key prefixes such as ["geo."].'
    _require(isinstance(value, (bool, list, tuple, set, frozenset)), option, value, remedy)
    return value if isinstance(value, bool) else tuple(_prefix(prefix, option) for prefix in value)


def _remote_errors(value: Any, option: str) -> str:
    # A tuple, because what is no string need not be hashable.
    _require(value in ("raise", "ignore"), option, value, 'Set it to "raise" or "ignore".')
    return str(value)


_UNITS: Final = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def _max_bytes(value: Any, option: str) -> int | None:
    parts = re.fullmatch(r"(\d+) ?([a-zA-Z]+)", value, re.ASCII) if isinstance(value, str) else None
    size = int(parts[1]) * _UNITS.get(parts[2].upper(), 0) if parts else value
    remedy = 'Set it to None, a whole number of at least 1 (bytes), or one with a unit, such as "64MB".'
    _require(size is None or (isinstance(size, int) and not isinstance(size, bool) and size >= 1), option, value, remedy)
    return size


def _bool(value: Any, option: str) -> bool:
    _require(isinstance(value, bool), option, value, "Set it to True or False.")
    return bool(value)


BETA: Final = Number("how early; 1 is usual, 0: never")
ENTRIES: Final = Number("entries", low=1, whole=True)


def _option(default: Value, parse: Callable[[Any, str], Any]) -> Value:
    """A field for the option of its name. ``parse``: makes its value of what the settings have."""
    option: Value = field(default=default, metadata={"parse": parse})
    return option


@dataclass(frozen=True)
class TieredOptions:
    """What ``OPTIONS`` of a ``TieredCache`` may hold, and the defaults. All times are seconds."""

    local_timeout: float = _option(5, Number("seconds; 0 switches the local tier off"))
    # The longest prefix first, the built-in ones included.
    local_timeouts: tuple[tuple[str, float], ...] = _option(_local_timeouts({}, ""), _local_timeouts)
    max_entries: int = _option(1000, ENTRIES)
    max_bytes: int | None = _option(None, _max_bytes)
    miss_timeout: float = _option(0, Number("seconds; 0: absence is not remembered"))
    jitter: float = _option(0.1, Number("a share of the local timeout", high=1))
    share_values: bool | tuple[str, ...] = _option(False, _share_values)
    prefetch: int = _option(100, Number("keys; 0: nothing is brought along", whole=True))
    refresh_early: float = _option(0, BETA)
    stale_while_revalidate: float = _option(0, Number("seconds past the deadline"))
    stale_if_error: float = _option(0, Number("seconds past the deadline"))
    remote_errors: str = _option("raise", _remote_errors)
    retry_after: float = _option(1, Number("seconds between attempts"))
    staleness_sample: float = _option(0, Number("a share of the hits; 0: none is compared", high=1))

    @cached_property
    def timed_prefixes(self) -> tuple[str, ...]:
        """Those of ``local_timeouts``."""
        return tuple(prefix for prefix, _ in self.local_timeouts)

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

    max_entries: int = _option(300, ENTRIES)
    max_bytes: int | None = _option(None, _max_bytes)
    cull_frequency: int = _option(3, Number("accepted and of no effect", whole=True))  # one entry goes at a time
    copy_values: bool = _option(False, _bool)
    refresh_early: float = _option(0, BETA)


Options = TypeVar("Options", bound=TieredOptions | LRUOptions)


def _known_only(given: Mapping[Any, Any], known: Iterable[str], where: str = "") -> None:
    """Raise ``Mistake`` for the first name in ``given`` that is not ``known``, with the nearest one that is.

    Its value is not quoted: an option of the remote may have been put here, and be a password.
    """
    known = sorted(known)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(str(name).upper(), known, n=1, cutoff=0.7)
            remedy = f"Did you mean {near[0]}?" if near else f"Known there: {', '.join(known)}."
            remedy += " Options of the client belong to the alias that LOCATION names." * ("LOCAL_TIMEOUT" in known)
            raise Mistake(f"{where}[{quoted(name)}]" if where else quoted(name), "is an unknown name", remedy)


def _read(kind: type[Options], params: Mapping[str, Any], *names: str) -> Options:
    """What ``OPTIONS`` holds. ``names``: the settings that may stand beside it and ``TIMEOUT``."""
    require_gil()
    _known_only(params, ["TIMEOUT", "OPTIONS", *names])
    if params.get("TIMEOUT") is not None:
        Number("seconds; or None: never expires", low=-sys.float_info.max)(params["TIMEOUT"], "TIMEOUT")
    options = params.get("OPTIONS", {})
    if not isinstance(options, Mapping):  # not quoted: a password may be in it
        raise Mistake("OPTIONS", f"is of type {type(options).__name__}", "Set it to a dict.")
    parsers = {option.name.upper(): option.metadata["parse"] for option in fields(kind)}
    _known_only(options, parsers, "OPTIONS")
    return kind(**{name.lower(): parsers[name](value, f"OPTIONS[{name!r}]") for name, value in options.items()})


def read_tiered_options(backend: type, location: Any, params: Mapping[str, Any]) -> TieredOptions:
    """The options of a ``TieredCache``; raises ``ImproperlyConfigured`` for the first mistake found in the settings.

    ``backend``: the class whose aliases may not be a remote.
    """
    with _naming_the_alias("TieredCache", location, params):
        _check_location(backend, location)
        for name in ("KEY_PREFIX", "KEY_FUNCTION", "VERSION"):
            remedy = "Keys pass to the remote tier as they are: move it to the alias that LOCATION names."
            _require(name not in params, name, params.get(name), remedy, "which belongs to the remote alias")
        return _read(TieredOptions, params)


def _check_location(backend: type, location: Any) -> None:
    aliases = caches.settings
    remedy = f"Set it to the alias of the remote, an entry of its own in CACHES, which has: {', '.join(sorted(aliases))}."
    known = isinstance(location, str) and location in aliases
    _require(known, "LOCATION", location, remedy, "not an alias in CACHES")
    try:
        found = import_string(aliases[location]["BACKEND"])
    except (ImportError, KeyError, AttributeError):
        return  # Django says so, and better, when that alias is used
    below = aliases[location].get("LOCATION", "")
    if isinstance(below, str) and below in aliases and below != location:
        remedy = f"Set it to {below!r}, the remote of that alias."
    is_tiered = isinstance(found, type) and issubclass(found, backend)
    problem = "the alias of a TieredCache: both tiers would be the memory of this process"
    _require(not is_tiered, "LOCATION", location, remedy, problem)


def store_name(location: Any, params: Mapping[str, Any]) -> Any:
    """What instances of an ``LRUCache`` have in common that share a store."""
    return location or params.get("NAME", "")


def read_lru_options(backend: type, location: Any, params: Mapping[str, Any]) -> LRUOptions:
    """The options of an ``LRUCache``; raises ``ImproperlyConfigured`` for the first mistake found in the settings.

    ``backend``: the class whose aliases share stores.
    """
    with _naming_the_alias("LRUCache", location, params):
        for option, name in (("LOCATION", location), ("NAME", params.get("NAME", ""))):
            _require(isinstance(name, str), option, name, "Set it to a name: instances with the same one share a store.")
        function = params.get("KEY_FUNCTION")
        right = function is None or callable(function) or isinstance(function, str)
        _require(right, "KEY_FUNCTION", function, "Set it to a function, or to the path of one.")
        options = _read(LRUOptions, params, "KEY_PREFIX", "KEY_FUNCTION", "VERSION", "NAME")
        _check_sharers(backend, store_name(location, params), options)
    return options


def _check_sharers(backend: type, store: Any, options: LRUOptions) -> None:
    """Raise ``Mistake`` where another alias of ``store`` has other options than one store can have."""
    for alias, config in caches.settings.items():
        others = config.get("OPTIONS") if isinstance(config, Mapping) else None
        for name, parse, default in (("COPY_VALUES", _bool, False), ("MAX_BYTES", _max_bytes, None)):
            own, other, differs = getattr(options, name.lower()), None, False
            with suppress(ImportError, KeyError, TypeError, Mistake):  # raised when that alias is used
                other = parse(others.get(name, default) if isinstance(others, Mapping) else default, name)
                differs = other != own and store_name(*given(alias)) == store
                differs = differs and issubclass(import_string(config["BACKEND"]), backend)
            remedy = "Set it to the same in both, or give each a LOCATION of its own."
            problem = f"and {other} in CACHES[{alias!r}], which has the same LOCATION"
            _require(not differs, f"OPTIONS[{name!r}]", own, remedy, problem)
