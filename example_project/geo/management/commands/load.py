"""``load``: fills the database, where it is empty."""

from typing import Any

from django.core.management.base import BaseCommand

from example_project.geo import tables


class Command(BaseCommand):
    """Fills the database."""

    help = "Load countries, currencies, subdivisions and made-up prices into the database, where it is empty."

    def handle(self, *_: Any, **__: Any) -> None:
        """Load, and say how much."""
        self.stdout.write(f"{tables.load():,} rows loaded")
