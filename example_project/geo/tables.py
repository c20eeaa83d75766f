"""Fills the database from pycountry, which carries the ISO tables, and with prices that are made up."""

from __future__ import annotations

import random
from decimal import Decimal

import pycountry
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import transaction

from example_project.geo.models import Country, Currency, Subdivision
from example_project.shop.models import Flag, Price

USER = "demo"  # of the admin, and its password


def load() -> int:
    """Make the tables and fill them; the number of rows, 0 where they were full already."""
    call_command("migrate", run_syncdb=True, verbosity=0)
    if Country.objects.exists():
        return 0
    draw = random.Random(1)
    # Many a country's currency has the country's number.
    currencies = {row.numeric: row.alpha_3 for row in pycountry.currencies}
    numbers = {row.alpha_2: row.numeric for row in pycountry.countries}
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
            *Price.objects.bulk_create(
                Price(
                    subdivision_id=row.code,
                    amount=Decimal(draw.randrange(300, 9900)).scaleb(-2),
                    currency_id=currencies.get(numbers[row.country_code], "EUR"),
                )
                for row in pycountry.subdivisions
            ),
            Flag.objects.create(name="express", on=True, meaning="Tells visitors that parcels can go by express."),
            Flag.objects.create(
                name="prefetch", on=True, meaning="Pages read keys together that were read together before."
            ),
        ]
        get_user_model().objects.create_superuser(USER, password=USER)
    return len(made)
