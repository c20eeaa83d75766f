"""What a type checker knows of the public calls: checked, not run."""

from typing import Any, NamedTuple, assert_type

from django.db.models import QuerySet

from tieredcache.lookups import LookupTable


class Country(NamedTuple):
    code: str
    name: str


def lookups(countries: QuerySet[Any, Any]) -> None:
    """Rows of a class of one's own; without one, anything."""
    table = LookupTable("geo.country", countries, key="code", timeout=3600, row=Country)
    assert_type(table["GB"], Country)
    assert_type(table["GB"].name, str)
    assert_type(list(table.values()), list[Country])
    loose = LookupTable("geo.country", list, key="code")
    assert_type(loose["GB"].name, Any)


async def alookups(table: LookupTable[Country]) -> None:
    """The same, awaited."""
    rows = await table.asnapshot()
    assert_type(rows["GB"], Country)
    await table.areload()
