"""``manage.py tieredcache``: the aliases with a local tier, their settings, and what a local hit and a remote read take."""

from __future__ import annotations

import json
import os
import secrets
import sys
import timeit
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from django.core.cache import InvalidCacheBackendError, caches
from django.core.management.base import BaseCommand, CommandError

from tieredcache.backends import LRUCache, TieredCache
from tieredcache.checks.caches import backend_of, read_aliases
from tieredcache.config import EXCLUDED, LRUOptions, Mistake, TieredOptions, given
from tieredcache.plan.command import add_arguments, run
from tieredcache.plan.events import PlanError, error_name
from tieredcache.remote import client_error, reader_for

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterable, Iterator

PREFIX: Final = "tieredcache-command:"
"""The prefix of the key that is written to the remote for as long as it takes to measure."""
EXPIRY: Final = 30
"""Seconds after which that key expires, where a process that was killed could not delete it."""
REMOTE_READS: Final = 4  # in each of five runs
LOCAL_HITS: Final = 2_000  # likewise


class Command(BaseCommand):
    """Shows the aliases that have a local tier; raises ``CommandError``, with exit code 1, where something is wrong.

    A subcommand is a method like ``show``: ``add_arguments`` adds its parser, ``handle`` calls it.
    """

    help = "Shows the cache aliases that have a local tier, tries their remotes, and times a local hit and a remote read."
    # An invalid alias is shown here, beside the others, and must not keep the command from running.
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's attribute

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--alias", action="append", help="an alias to show, repeatable; without it, all of them")
        parser.add_argument("--json", action="store_true", help="the same as JSON")
        plan = "what a local tier would save, and which reads would be stale, from the site's own traffic"
        add_arguments(parser.add_subparsers(dest="subcommand").add_parser("plan", help=plan, description=plan))

    def handle(self, *_: Any, **options: Any) -> None:
        """Run the subcommand; without one, ``show``."""
        if options.get("subcommand") == "plan":
            self.plan(options)
        else:
            self.show(options["alias"], as_json=options["json"])

    def plan(self, options: dict[str, Any]) -> None:
        """Print what a local tier would save."""
        try:
            self._print(run(options, self.stderr.write))
            self.stdout.flush()
        except PlanError as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            raise CommandError("Interrupted: no connection is left, and no plan was made.", returncode=130) from None
        except BrokenPipeError:  # what reads the plan has ended; the interpreter would complain at its end, too
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(141) from None

    def show(self, names: list[str] | None, *, as_json: bool) -> None:
        """Print the report; ``names``: of these aliases only."""
        known = [alias for alias in caches.settings if _is_ours(alias)]
        for alias in names or ():
            if alias not in known:
                raise CommandError(f"{alias!r} has no local tier. Aliases that have one: {', '.join(known) or 'none'}.")
        report = {alias: _describe(alias) for alias in known if not names or alias in names}
        self._print([json.dumps(report, indent=2)] if as_json else _lines(report))
        wrong = [alias for alias, about in report.items() if about["error"]]
        if wrong:
            raise CommandError(f"Something is wrong with {', '.join(wrong)}.")

    def _print(self, lines: Iterable[str]) -> None:
        """Print ``lines`` in the characters that the output has: its encoding may be ASCII."""
        encoding = getattr(self.stdout, "encoding", None) or "utf-8"
        for line in lines:
            try:
                line.encode(encoding)
            except UnicodeEncodeError:
                self.stdout.write(line.replace("µs", "us").encode(encoding, "backslashreplace").decode(encoding))
            else:
                self.stdout.write(line)


def _is_ours(alias: str) -> bool:
    misspelt = str(caches.settings[alias].get("BACKEND")).startswith("tieredcache.")
    return misspelt or issubclass(backend_of(alias), (TieredCache, LRUCache))


def _describe(alias: str) -> dict[str, Any]:
    """All that is shown of ``alias``; the names are those of the JSON."""
    options = read_aliases().get(alias)
    about: dict[str, Any] = {"backend": caches.settings[alias].get("BACKEND"), "error": None}
    if isinstance(options, TieredOptions):
        built_in = {row.prefix for row in EXCLUDED}
        about["excluded"] = [prefix for prefix, seconds in options.local_timeouts if prefix in built_in and not seconds]
        timeouts = {prefix: seconds for prefix, seconds in options.local_timeouts if prefix not in about["excluded"]}
        about["settings"] = asdict(options) | {"local_timeouts": timeouts}
        bound = options.longest_timeout
        about["staleness_bound_seconds"] = bound and bound + options.stale_while_revalidate
    elif isinstance(options, LRUOptions):
        about["settings"] = asdict(options)
    try:
        _measure(caches[alias], alias, about)
    except (Mistake, InvalidCacheBackendError) as error:
        about["error"] = str(error)
    except Exception as error:  # noqa: BLE001 - whatever the client raises
        about["error"] = error_name(client_error(error))
    return about


def _measure(cache: Any, alias: str, about: dict[str, Any]) -> None:
    """Time a hit in a tier that nobody else uses, and a read of the remote past the circuit, on one key of its own."""
    location, params = given(alias)
    key, token = f"{PREFIX}{secrets.token_hex(16)}", secrets.token_hex(16)
    if not isinstance(cache, TieredCache):
        store = type(cache)(PREFIX, params)
        store.set(key, token, EXPIRY)
        about["local_hit_seconds"] = _time(store.get, key, LOCAL_HITS)
        store.clear()
        return
    remote, mine = cache.remote, True
    reader = reader_for(remote)
    about |= {"remote": location, "remote_read_seconds": None, "local_hit_seconds": None}
    reader.get(remote, key, None)  # opens the connection, which is not to be measured
    try:
        # A KEY_FUNCTION may map it to a key that is somebody's: that is neither overwritten nor deleted.
        mine = remote.add(key, token, EXPIRY) or remote.get(key) == token
        about["remote_read_seconds"] = _time(lambda key: reader.get(remote, key, None), key, REMOTE_READS)
        # Settings of its own give an instance a tier of its own.
        twin = type(cache)(location, {**params, "OPTIONS": {**params.get("OPTIONS", {})}})
        if twin.get(key) != token:
            about["error"] = "a key that was written to the remote could not be read back"
        twin.get(key)
        if twin.stats().hits:
            about["local_hit_seconds"] = _time(twin.get, key, LOCAL_HITS)
    finally:
        if mine:
            remote.delete(key)


def _time(get: Any, key: str, reads: int) -> float:
    """The seconds that one read takes: the mean of the fastest of five runs of ``reads`` reads each."""
    return min(timeit.repeat(lambda: get(key), number=reads, repeat=5)) / reads


def _lines(report: dict[str, dict[str, Any]]) -> Iterator[str]:
    if not report:
        yield "No alias in CACHES has a local tier."
    for alias, about in report.items():
        yield f"{alias}: {about['backend']}"
        rows: dict[str, Any] = {}
        if "remote" in about:
            rows["remote"] = f"{about['remote']}, {'not ' * (about['remote_read_seconds'] is None)}reached"
        rows["error"] = about["error"]
        rows["staleness bound"] = f"{about['staleness_bound_seconds']:g} s" if "excluded" in about else None
        rows |= {
            f"{name} {tier}": f"{seconds * 1e6:,.2f} µs"
            for name, tier in (("local", "hit"), ("remote", "read"))
            if (seconds := about.get(f"{name}_{tier}_seconds")) is not None
        }
        rows |= {name.upper(): str(value) for name, value in about.get("settings", {}).items()}
        rows["never kept locally"] = "\n".join(about.get("excluded", ()))
        for label, text in rows.items():
            if text:
                first, *rest = text.splitlines()
                yield f"  {label:<24}{first}"
                yield from (f"{' ' * 26}{line}" for line in rest)
