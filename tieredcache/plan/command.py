"""The arguments of ``manage.py tieredcache plan``, and what it does with them."""

from __future__ import annotations

import json
import sys
from argparse import SUPPRESS, ArgumentTypeError
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from django.core.cache import caches

from tieredcache.backends import TieredCache
from tieredcache.checks.caches import backend_of
from tieredcache.plan.events import PlanError, hasher, prefixes, read_trace, write_trace
from tieredcache.plan.monitor import watch
from tieredcache.plan.report import build
from tieredcache.plan.simulate import Trace
from tieredcache.plan.text import lines, page

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable, Iterable

    from tieredcache.plan.events import Event

WARNING: Final = (
    "MONITOR makes the server send every command that it runs to this process as well. That slows it down while it lasts, "
    "by up to a half where it is busy. Nothing is written, and no key is read."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Those of the subcommand."""
    # These are the command's own as well: what stands before the subcommand goes for it, too.
    parser.add_argument("--alias", action="append", default=SUPPRESS, help="the alias to plan for; without it, default")
    parser.add_argument("--json", action="store_true", default=SUPPRESS, help="the plan as JSON")
    for name, action in (("--settings", "store"), ("--pythonpath", "store"), ("--traceback", "store_true")):
        parser.add_argument(name, action=action, default=SUPPRESS, help=SUPPRESS)
    parser.add_argument("--seconds", type=_above_zero, default=30, help="how long to watch the server (default: 30)")
    parser.add_argument("--processes", type=_whole, metavar="N", help="how many there are; else by connection")
    parser.add_argument("--yes", action="store_true", help="watch the server without asking")
    parser.add_argument("--trace", metavar="FILE", nargs="+", help="plan from these CSV files instead")
    parser.add_argument("--record", metavar="FILE", help="write what was watched to this CSV file")
    parser.add_argument("--hash-keys", action="store_true", help="put hashes in place of the keys")
    parser.add_argument("--html", metavar="FILE", help="write the plan to this HTML file, too")


def _above_zero(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ArgumentTypeError(f"{text} is not above 0")
    return number


def _whole(text: str) -> int:
    _above_zero(text)
    return int(text)


def run(options: dict[str, Any], say: Callable[[str], None]) -> Iterable[str]:
    """Make the plan: the lines to print. ``say``: progress. Raises ``PlanError``."""
    first, *more = options["alias"] or ["default"]
    if more:
        raise PlanError("A plan is for one alias: name only one.")
    alias, tiered = _aliases(first)
    events, others = _events(options, alias, say)
    if not any(event.operation in {"get", "miss"} for event in events):
        raise PlanError("Nothing was read from this cache meanwhile. Watch for longer, under traffic, or name --alias.")
    say("looking at the keys ...")
    free = "remote" if "remote" not in caches.settings else f"remote-{alias}"
    about = {"alias": alias, "tiered_alias": tiered, "remote_alias": alias if tiered else free, "others": others}
    report = about | build(Trace(events), prefixes({event.key for event in events}), say)
    if options["html"]:
        try:
            Path(options["html"]).write_text(page(report), encoding="utf-8")
        except OSError as error:
            raise PlanError(f"{options['html']} could not be written: {error.strerror}.") from None
    return [json.dumps(report, indent=2)] if options["json"] else lines(report)


def _aliases(alias: str) -> tuple[str, str]:
    """The alias of the remote, and that of its tier, ``""`` where it has none yet."""
    if alias not in caches.settings:
        raise PlanError(f"{alias!r} is not an alias in CACHES, which has: {', '.join(map(str, caches.settings))}.")
    if issubclass(backend_of(alias), TieredCache):
        return caches.settings[alias].get("LOCATION", ""), alias
    tiers = (each for each in caches.settings if issubclass(backend_of(each), TieredCache))
    return alias, next((each for each in tiers if caches.settings[each].get("LOCATION") == alias), "")


def _events(options: dict[str, Any], alias: str, say: Callable[[str], None]) -> tuple[list[Event], int]:
    others = 0
    if options["trace"]:
        events = read_trace(options["trace"])
    else:
        say(WARNING)
        if not options["yes"]:
            if not sys.stdin.isatty():
                raise PlanError("Pass --yes to watch the server where nobody can be asked.")
            with suppress(EOFError):  # Ctrl-D is no yes
                options["yes"] = input("Go on? [y/N] ").strip().lower() in {"y", "yes"}
            if not options["yes"]:
                raise PlanError("Nothing was done.")
        say(f"watching the server of {alias!r} for {options['seconds']:g} s ...")
        events, others = watch(caches[alias], alias, options["seconds"], options["processes"])
    if options["hash_keys"]:
        hashed = hasher()
        events = [event._replace(key=hashed(event.key)) for event in events]
    if options["record"]:
        write_trace(options["record"], events)
    return events, others
