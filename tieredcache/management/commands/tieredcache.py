"""``manage.py tieredcache``: the aliases with a local tier, how they are set, and what both tiers take."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, Final

from django.core.management.base import BaseCommand, CommandError

from tieredcache.report.gathering import gather, known_aliases
from tieredcache.report.wording import lines

if TYPE_CHECKING:
    from argparse import ArgumentParser

# Not 1, which is Django's for any CommandError and Python's for an exception, nor 2, which is argparse's.
UNREACHABLE: Final = 3
MISCONFIGURED: Final = 4


class Command(BaseCommand):
    """Tells of the aliases named, or of all that have a local tier.

    Raises ``CommandError`` with ``returncode`` 3 where a remote could not be read or written, 4 where an alias is
    misconfigured (and both), 1 where there is no such alias.
    """

    help = (
        "Lists the cache aliases that have a local tier, with their settings, tries their remotes and measures a local hit "
        "and a remote read. Exits with 3 where a remote cannot be reached, with 4 where an alias is misconfigured."
    )
    # A misconfigured alias is to be reported here, beside the others, and not to keep this from running.
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's attribute

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("alias", nargs="*", help="aliases to tell of; without any, all that have a local tier")
        parser.add_argument("--json", action="store_true", help="the same facts for scripts")

    def handle(self, *_: Any, **options: Any) -> None:
        """Tell, and raise where something is wrong."""
        known = known_aliases()
        for alias in options["alias"]:
            if alias not in known:
                there = f"Those that have one: {', '.join(known)}." if known else "None in CACHES has one."
                raise CommandError(f"{alias!r} is no alias of a cache with a local tier. {there}")
        report = gather([alias for alias in known if alias in (options["alias"] or known)])
        if options["json"]:
            self.stdout.write(json.dumps(dataclasses.asdict(report), indent=2, allow_nan=False))
        else:
            for style, line in lines(report):
                self.stdout.write(getattr(self.style, style)(line) if style else line)
        wrong = [
            f"{problem}: {', '.join(aliases)}."
            for problem, aliases in (("Misconfigured", report.misconfigured), ("Remotes that fail", report.failing))
            if aliases
        ]
        if wrong:
            raise CommandError(" ".join(wrong), returncode=MISCONFIGURED if report.misconfigured else UNREACHABLE)
