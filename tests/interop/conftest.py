"""A site in two processes: the other is another alias over the same server, whose tier hears nothing of writes here."""

import contextlib

import pytest
from django.core.cache import caches
from django.test import override_settings

from tests.support.caches import TIERED
from tests.support.trips import counting


@pytest.fixture
def configure(valkey_url, clock):
    """Two processes over one server: ``configure("django-redis", LOCAL_TIMEOUT=5)``; returns the cache of the first."""
    with contextlib.ExitStack() as stack:

        def make(kind, **options):
            remote = counting(kind, valkey_url)
            tiered = {"BACKEND": TIERED, "OPTIONS": {"JITTER": 0, "MAX_ENTRIES": 100, **options}}
            settings = {"remote": remote, "remote-there": remote}
            settings |= {"default": {**tiered, "LOCATION": "remote"}, "there": {**tiered, "LOCATION": "remote-there"}}
            stack.enter_context(override_settings(CACHES=settings))
            caches["default"].clear()
            return caches["default"]

        yield make
        caches["default"].clear()
        caches.close_all()


@pytest.fixture(params=["django-redis", "django"])
def here(request, configure):
    """The cache of this process, with pages kept for five seconds."""
    return configure(request.param, LOCAL_TIMEOUT=5)


@pytest.fixture
def site(request):
    """Settings of a site whose pages are those of the test's module: ``site(MIDDLEWARE=...)``."""
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(override_settings(ROOT_URLCONF=request.module.__name__, **settings))
