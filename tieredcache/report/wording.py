"""What ``manage.py tieredcache`` prints for people: lines of at most 80 columns, each with the style it may be shown in."""

from __future__ import annotations

import textwrap
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tieredcache.report.facts import LRUAlias, MisconfiguredAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tieredcache.report.facts import Remote, Report, TieredAlias
    from tieredcache.report.measurements import Measured

# The name of one of Django's styles, or none; and the line.
Line: TypeAlias = tuple[str, str]

_WIDTH: Final = 80
_LABEL: Final = 24  # columns: the longest option and two spaces
_UNITS: Final = {"ns": 1e9, "µs": 1e6, "ms": 1e3, "s": 1}
_THOUSAND: Final = 999.5  # from which three digits round to four
_LIVES: Final = {
    "with the value": "told with the value, in one trip",
    "in a second call": "told in a second call for each key",
    "not told": "not told: a local copy may outlive the remote entry, by the local timeout at worst",
    "refused": "refused: no value is kept locally, because it might outlive the remote entry",
    None: "not found out",
}


def lines(report: Report) -> Iterator[Line]:
    """The whole report."""
    if not report.aliases:
        yield "WARNING", "No alias in CACHES has a local tier: none is a TieredCache or an LRUCache."
    for number, (alias, about) in enumerate(report.aliases.items()):
        if number:
            yield "", ""
        yield "MIGRATE_HEADING", f"{alias}: {about.backend}"
        if isinstance(about, MisconfiguredAlias):
            yield from _row("misconfigured", about.error, "ERROR")
        elif isinstance(about, LRUAlias):
            yield from _lru(alias, about)
        else:
            yield from _tiered(alias, about, report.remotes[about.chain[-1]])


def _lru(alias: str, about: LRUAlias) -> Iterator[Line]:
    yield from _row("remote tier", "none: a local tier only, of each process its own")
    yield from _row("local hit", _measured(about.local_hit))
    yield from _settings(about)
    yield from _timeout(alias, about)


def _tiered(alias: str, about: TieredAlias, remote: Remote) -> Iterator[Line]:
    *between, end = about.chain
    if between:
        yield from _row("tiers below", ", ".join(between))
    yield from _row("remote tier", f"{end}, {remote.backend}")
    if remote.error is None:
        yield from _row("", "reached, written and read back", "SUCCESS")
    elif remote.reachable:
        yield from _row("", f"reached, but {remote.error}", "ERROR")
    else:
        yield from _row("", f"not reached: {remote.error}", "ERROR")
    yield from _row("read by", about.reader if not between else f"{about.reader}, and {remote.reader} at the end")
    yield from _row("remaining life", _LIVES[remote.remaining_life])
    yield from _row("staleness bound", _bound(about, between))
    yield from _row(
        "local hit", _measured(about.local_hit) if about.local_hit else "none to measure: no value is kept locally"
    )
    yield from _row("remote read", _measured(remote.remote_read) if remote.remote_read else "not measured")
    yield from _settings(about)
    yield from _timeout(alias, about)
    excluded = ", ".join(map(repr, about.excluded_prefixes))
    yield from _row("never kept locally", f"built in: {excluded}" if excluded else "no built-in prefix is left in force")
    if about.overridden_prefixes_seconds:
        yield from _row("overridden", f"{_prefixes(about.overridden_prefixes_seconds)}, though built in as never kept")


def _bound(about: TieredAlias, between: list[str]) -> str:
    bound, without, outage = (
        about.staleness_bound_seconds,
        about.staleness_bound_without_prefix_seconds,
        about.staleness_bound_in_outage_seconds,
    )
    if not bound:
        return "0 s: every read is answered by the remote tier" if not between else "0 s: no value is kept locally"
    if not about.keeps_values:
        return f"{_seconds(bound)}, of absent keys alone: a tier below keeps no values, so none are kept here"
    text = f"{_seconds(bound)}: what another process has replaced is served no longer than that"
    if without != bound:
        text += f"; {_seconds(without)} for keys that begin with no prefix of LOCAL_TIMEOUTS"
    if between:
        text += "; the sum over the chain"
    if outage != bound:
        text += f"; in an outage {_seconds(outage)}"
    return text


def _timeout(alias: str, about: TieredAlias | LRUAlias) -> Iterator[Line]:
    if about.timeout_from == alias:
        source = ""
    elif about.timeout_from is not None:
        source = f" (of {about.timeout_from})"
    else:
        source = " (default)"
    seconds = about.timeout_seconds
    yield from _row(
        "TIMEOUT", ("None: what is written does not expire" if seconds is None else f"{_seconds(seconds)}") + source
    )


def _settings(about: TieredAlias | LRUAlias) -> Iterator[Line]:
    for each in fields(about.settings):
        name = each.name.removesuffix("_seconds")
        value = getattr(about.settings, each.name)
        text = _seconds(value) if isinstance(value, (int, float)) and name != each.name else _value(value)
        notes = ["default"] if each.name in about.defaults else []
        if name == "cull_frequency":
            notes.append("of no effect")
        yield from _row(name.upper(), f"{text} ({', '.join(notes)})" if notes else text)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return _prefixes(value) or "{}"
    if isinstance(value, tuple):
        return ", ".join(map(repr, value)) or "[]"
    return str(value) if isinstance(value, (bool, str)) else f"{value:,}"


def _prefixes(timeouts: dict[str, float]) -> str:
    return ", ".join(f"{prefix!r}: {_seconds(seconds)}" for prefix, seconds in timeouts.items())


def _seconds(seconds: float) -> str:
    return f"{round(seconds, 6):,} s"  # a sum of floats need not be the number that people expect


def _measured(measured: Measured) -> str:
    return f"{_duration(measured.median_seconds)}, the median of {measured.reads:,}"


def _duration(seconds: float) -> str:
    unit, factor = next(((unit, factor) for unit, factor in _UNITS.items() if seconds * factor < _THOUSAND), ("s", 1))
    return f"{seconds * factor:.3g} {unit}"


def _row(label: str, text: str, style: str = "") -> Iterator[Line]:
    wrapped = textwrap.wrap(text, _WIDTH - 2 - _LABEL, break_on_hyphens=False)
    for number, line in enumerate(wrapped or [""]):
        yield style, f"  {'' if number else label:<{_LABEL}}{line}".rstrip()
