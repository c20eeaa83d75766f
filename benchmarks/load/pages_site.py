"""The site of ``benchmarks.load.pages``: a page of 200 look-ups, the popular keys more often (Zipf's law), by any alias.

``BENCH_URL``: the server. ``BENCH_KEYS``: how many keys there are.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

from django.core.cache import cache as djangos_cache
from django.core.cache import caches
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

from benchmarks.micro.caches import DJANGO_REDIS, tiered
from tieredcache import cache as own_cache

if TYPE_CHECKING:
    from django.http import HttpRequest

LOOKUPS = 200
KEYS = [f"product:{number}" for number in range(int(os.environ["BENCH_KEYS"]))]
VALUE = "x" * 100
END = "the end"

# Settings of Django: this module is DJANGO_SETTINGS_MODULE too.
SECRET_KEY = "of no value"  # noqa: S105
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "benchmarks.load.pages_site"
WSGI_APPLICATION = "benchmarks.load.pages_site.application"
MIDDLEWARE: list[str] = []
CACHES = {
    "remote": {"BACKEND": DJANGO_REDIS, "LOCATION": os.environ["BENCH_URL"], "TIMEOUT": 3600},
    **{
        f"{name}{seconds}": tiered(LOCAL_TIMEOUT=seconds, **options)
        for seconds in (1, 5, 60)
        for name, options in (("tiered", {}), ("without", {"PREFETCH": 0}))
    },
}
CACHES["default"] = CACHES["tiered60"]  # the same tier: for code that says ``cache``

# Drawn beforehand, and otherwise in each process: drawing 200 keys takes longer than reading them.
PAGES = [random.choices(KEYS, [1 / rank for rank in range(1, len(KEYS) + 1)], k=LOOKUPS) for _ in range(500)]


def page(_: HttpRequest, alias: str) -> HttpResponse:
    """Reads one after the other, as templates do, by a method that is bound once."""
    get = caches[alias].get
    return answer_for(sum(len(get(key) or "") for key in random.choice(PAGES)))


# As people write it: two functions, because the interpreter adapts the code of each to the cache that it finds.


def by_django(_: HttpRequest) -> HttpResponse:
    """With ``from django.core.cache import cache``."""
    return answer_for(sum(len(djangos_cache.get(key) or "") for key in random.choice(PAGES)))


def by_tieredcache(_: HttpRequest) -> HttpResponse:
    """With ``from tieredcache import cache``."""
    return answer_for(sum(len(own_cache.get(key) or "") for key in random.choice(PAGES)))


def fill(_: HttpRequest) -> HttpResponse:
    """Puts all keys into the remote tier."""
    caches["remote"].set_many(dict.fromkeys(KEYS, VALUE))
    return answer(END)


def answer_for(length: int) -> HttpResponse:
    """The page."""
    return answer(f"{length} characters, {END}")


def answer(text: str) -> HttpResponse:
    """One whose end a visitor knows."""
    return HttpResponse(text, headers={"Content-Length": str(len(text))})


urlpatterns = [
    path("fill", fill),
    path("by_django", by_django),
    path("by_tieredcache", by_tieredcache),
    path("<slug:alias>", page),
]

if "DJANGO_SETTINGS_MODULE" in os.environ:
    application = get_wsgi_application()
