"""Fills the database from pycountry, which carries the ISO tables."""

from __future__ import annotations

import pycountry
from django.core.management import call_command
from django.db import transaction

from example_project.geo.models import Country, Currency, Subdivision


def load() -> int:
    """Make the tables and fill them; the number of rows."""
    call_command("migrate", run_syncdb=True, verbosity=0)
    with transaction.atomic():
        made = [
            *Country.objects.bulk_create(
                Country(code=row.alpha_2, name=row.name, numeric=row.numeric) for row in pycountry.countries
            ),
            *Currency.objects.bulk_create(
                Currency(code=row.alpha_3, name=row.name, numeric=row.numeric) for row in pycountry.currencies
            ),
            *Subdivision.objects.bulk_create(
                Subdivision(code=row.code, name=row.name, kind=row.type, country_id=row.country_code)
                for row in pycountry.subdivisions
            ),
        ]
    return len(made)
