"""The price list, and a basket in the session."""

from __future__ import annotations

import functools
import heapq
import os
import random
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_POST

from example_project.geo.models import Country, Subdivision
from example_project.shop import cells
from tieredcache import caches

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.utils.safestring import SafeString

ROWS = 200
CELLS = 4  # that are looked up in each: the place, its price, its country, the currency
PAGES = 500


@functools.cache
def _places() -> list[str]:
    """All subdivisions, the popular ones first: in a fixed random order."""
    codes = list(Subdivision.objects.values_list("pk", flat=True).order_by("pk"))
    random.Random(1).shuffle(codes)
    return codes


@functools.lru_cache(maxsize=PAGES)
def _destinations(number: int) -> list[str]:
    """What is on list ``number``. Few places are on most lists and most on few, by Zipf's law, with the exponent 1.2.

    Drawn by weight without repetition: each place gets a random number to the power of one over its weight; the highest win.
    """
    draw = random.Random(number).random
    lots = {code: draw() ** (rank**1.2) for rank, code in enumerate(_places(), 1)}
    return sorted(heapq.nlargest(ROWS, lots, key=lots.__getitem__))


def _countries() -> SafeString:
    """The dearest fragment of the page: computed by one visitor of a worker, and before it expires, so that nobody waits."""

    def fragment() -> SafeString:
        return render_to_string("shop/countries.html", {"countries": Country.objects.order_by("name")})

    found: SafeString = caches["local"].get_or_set("shop.countries", fragment, 600, refresh_early=1)
    return found


def row(code: str) -> dict[str, Any]:
    """The cells of one row."""
    name, kind, country = cells.subdivision(code)
    amount, currency = cells.price(code)
    return {
        "code": code,
        "name": name,
        "kind": kind,
        "country": cells.country(country),
        "amount": amount,
        "currency": currency,
        "currency_name": cells.currency(currency),
    }


def prices(request: HttpRequest, number: int = 0) -> HttpResponse:
    """List ``number``: always the same 200 rows. The headers tell what this worker has counted so far."""
    context = {
        "number": number,
        "before": (number - 1) % PAGES,
        "after": (number + 1) % PAGES,
        "rows": [row(code) for code in _destinations(number)],
        "express": cells.flag("express"),
        "basket": basket_of(request),
        "countries": _countries(),
    }
    response = render(request, "shop/prices.html", context)
    if settings.DEMO_MODE == "tiered":
        counted = cells.counted()
        response["X-Worker"] = str(os.getpid())
        response["X-Stats"] = f"{counted['hits']} {counted['remote_hits']} {counted['misses']}"
    return response


def basket_of(request: HttpRequest) -> list[str]:
    """The codes in the visitor's basket; visitors without a session have none, and get none."""
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return []
    codes: list[str] = request.session.get("basket", [])
    return codes


def basket(request: HttpRequest) -> HttpResponse:
    """What is in the basket. Sums are by currency."""
    rows = [row(code) for code in basket_of(request)]
    sums: dict[str, Any] = {}
    for line in rows:
        sums[line["currency"]] = sums.get(line["currency"], 0) + line["amount"]
    return render(request, "shop/basket.html", {"rows": rows, "sums": sums, "basket": rows})


@require_POST
def add(request: HttpRequest, code: str) -> HttpResponse:
    """Put a destination into the basket."""
    cells.price(code)  # raises where there is none
    request.session["basket"] = [*request.session.get("basket", []), code]
    return redirect("basket")


@require_POST
def remove(request: HttpRequest, code: str) -> HttpResponse:
    """Take one of them out again."""
    codes = list(request.session.get("basket", []))
    if code in codes:
        codes.remove(code)
    request.session["basket"] = codes
    return redirect("basket")
