"""A page of 200 rows, each looked up by its key, as a template full of labels and names does it."""

from __future__ import annotations

import functools
import itertools
import os
import random
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.cache import caches
from django.shortcuts import render

from example_project.geo.models import Country, Currency, Subdivision

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

ROWS = 200
PAGES = 500
_FIELDS: dict[type[Any], tuple[str, ...]] = {
    Country: ("code", "name", "numeric"),
    Currency: ("code", "name", "numeric"),
    Subdivision: ("code", "name", "kind", "country_id"),
}


@functools.cache
def _keys() -> tuple[list[tuple[type[Any], str]], list[float]]:
    """All rows of all tables in a fixed random order, and the weights by which pages draw them.

    Few are drawn often and many seldom, as names are: by Zipf's law, with the exponent 1.2.
    """
    keys = [(model, code) for model in _FIELDS for code in model.objects.values_list("pk", flat=True).order_by("pk")]
    random.Random(1).shuffle(keys)
    return keys, list(itertools.accumulate(rank**-1.2 for rank in range(1, len(keys) + 1)))


def _load(model: type[Any], code: str) -> dict[str, str]:
    row: dict[str, str] = model.objects.values(*_FIELDS[model]).get(pk=code)
    return row


def _resolve(model: type[Any], code: str) -> dict[str, str]:
    if settings.DEMO_MODE == "database":
        return _load(model, code)
    cache = caches["default" if settings.DEMO_MODE == "tiered" else "remote"]
    key = f"{model.__name__.lower()}.{code}"
    row: dict[str, str] | None = cache.get(key)
    if row is None:
        row = _load(model, code)
        cache.set(key, row)
    return row


def page(request: HttpRequest, number: int) -> HttpResponse:
    """Page ``number``: always the same rows, in a table. The headers tell what this worker has counted so far."""
    keys, weights = _keys()
    chosen = random.Random(number).choices(keys, cum_weights=weights, k=ROWS)
    rows = [_resolve(model, code) for model, code in chosen]
    response = render(request, "page.html", {"number": number, "rows": rows})
    if settings.DEMO_MODE == "tiered":
        stats = caches["default"].stats()
        response["X-Worker"] = str(os.getpid())
        response["X-Stats"] = f"{stats.hits} {stats.remote_hits} {stats.misses}"
    return response
