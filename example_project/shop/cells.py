"""Every cell of a page goes through the cache, or past it: ``DEMO_MODE`` tells which cache the pages read.

Of two tiers over the same remote, one with ``PREFETCH`` and one without, the flag of that name chooses.

Small tables that every page needs are lookup tables; what there are thousands of has a key for each.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction

from example_project.geo.models import Country, Currency, Subdivision
from example_project.shop.models import Flag, Price
from tieredcache import caches
from tieredcache.lookups import LookupTable

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

TABLES = {
    Country: LookupTable("geo.country", Country.objects.values("code", "name", "numeric"), key="code", timeout=3600),
    Currency: LookupTable("geo.currency", Currency.objects.values("code", "name", "numeric"), key="code", timeout=3600),
}

TIERS = ("default", "no-prefetch")
_now = {"alias": "default" if settings.DEMO_MODE == "tiered" else "remote"}


def alias() -> str:
    """The cache that pages read."""
    return _now["alias"]


def choose() -> None:
    """Read by the tier that the flag asks for: once a request, so that a page reads by one of them."""
    if settings.DEMO_MODE == "tiered":
        _now["alias"] = TIERS[0] if flag("prefetch") else TIERS[1]


def counted() -> Counter[str]:
    """The figures of both tiers of this worker."""
    total: Counter[str] = Counter()
    for name in TIERS:
        total.update(dataclasses.asdict(caches[name].stats()))
    return total


def country(code: str) -> str:
    """Its name."""
    return _name(Country, code)


def currency(code: str) -> str:
    """Its name."""
    return _name(Currency, code)


def _name(model: type[Country | Currency], code: str) -> str:
    if settings.DEMO_MODE == "tiered" and settings.DEMO_TABLES:
        name: str = TABLES[model][code].name
        return name
    found: str = _read(f"{model.__name__.lower()}.{code}", lambda: model.objects.values_list("name", flat=True).get(pk=code))
    return found


def subdivision(code: str) -> tuple[str, str, str]:
    """Its name, its kind and the code of its country."""
    found: tuple[str, str, str] = _read(
        f"subdivision.{code}", lambda: Subdivision.objects.values_list("name", "kind", "country_id").get(pk=code)
    )
    return found


def price(code: str) -> tuple[Decimal, str]:
    """The amount and the code of the currency."""
    found: tuple[Decimal, str] = _read(
        f"price.{code}", lambda: Price.objects.values_list("amount", "currency_id").get(pk=code)
    )
    return found


def flag(name: str) -> bool:
    """Whether a feature is on. Kept for a second at most: LOCAL_TIMEOUTS says so."""
    return bool(_read(f"flag.{name}", lambda: Flag.objects.filter(pk=name, on=True).exists()))


def _read(key: str, load: Callable[[], Any]) -> Any:
    if settings.DEMO_MODE == "database":
        return load()
    # In an outage it does not wait for the server to be told what was loaded, as add() would for every cell.
    return caches[alias()].get_or_set(key, load)


def changed(sender: type[Any], instance: Any, **_: Any) -> None:
    """Forget what pages have read of this row, once the change is there to be read."""
    if sender in TABLES:
        transaction.on_commit(TABLES[sender].reload)
    key = f"{sender.__name__.lower()}.{instance.pk}"
    for name in TIERS:
        transaction.on_commit(functools.partial(caches[name].delete, key))
