"""System checks of ReadYourWritesMiddleware, whose claims about its place are tried on the real thing."""

import pytest
from django.core import checks
from django.core.cache import caches
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import path

from tests.support.caches import TIERED
from tieredcache.checks import check_middleware
from tieredcache.middleware import ReadYourWritesMiddleware

OURS = "tieredcache.middleware.ReadYourWritesMiddleware"
UPDATE = "django.middleware.cache.UpdateCacheMiddleware"
FETCH = "django.middleware.cache.FetchFromCacheMiddleware"
BOTH = "django.middleware.cache.CacheMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
GZIP = "django.middleware.gzip.GZipMiddleware"


class Derived(ReadYourWritesMiddleware):
    """As a site may have it."""


def aliases(**options):
    return {
        "default": {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": options},
        "remote": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "pages"},
    }


def show(request):
    return HttpResponse(caches["default"].get("key"))


def save(request):
    """As on another worker: what it writes, this process's local tier does not hear of."""
    cache = caches["default"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache._tier, "forget", lambda key: None)
        patch.setattr(cache._tier, "forget_all", lambda: None)
        cache.clear()  # the cached page too
        cache.set("key", "new")
    return HttpResponse("saved")


def large(request):
    return HttpResponse("x" * 50_000)


urlpatterns = [path("show", show), path("save", save), path("large", large)]


@pytest.mark.parametrize(
    ("middleware", "right"),
    [
        ([OURS, BOTH], True),
        ([BOTH, OURS], False),
        ([OURS, UPDATE, SESSIONS, FETCH], True),
        ([UPDATE, OURS, SESSIONS, FETCH], True),
        ([UPDATE, SESSIONS, FETCH, OURS], False),
        ([SESSIONS, OURS, BOTH], True),
        ([GZIP, OURS, BOTH], True),
        ([OURS, GZIP, BOTH], True),
        ([UPDATE, FETCH, f"{__name__}.Derived"], False),
        ([OURS], True),
    ],
)
def test_its_place(middleware, right):
    """tieredcache.W010 exactly where who has written is shown an old page: behind what answers from the cache."""
    with override_settings(CACHES=aliases(LOCAL_TIMEOUT=60), MIDDLEWARE=middleware, ROOT_URLCONF=__name__):
        messages = check_middleware()
        cache = caches["default"]
        cache.clear()
        cache.set("key", "old")
        client = Client()
        for _ in range(2):
            assert client.get("/show").content == b"old"
        assert client.post("/save").content == b"saved"
        assert client.get("/show").content == (b"new" if right else b"old")
        cache.clear()
    assert [message.id for message in messages] == ([] if right else ["tieredcache.W010"])
    for message in messages:
        assert message.level == checks.WARNING
        before = middleware[middleware.index(FETCH if FETCH in middleware else BOTH)]
        assert message.hint == f"Put {middleware[-1]!r} before {before!r} in MIDDLEWARE: first of all."


@pytest.mark.parametrize(
    ("caches_", "alias"),
    [
        (aliases(), "remote"),
        (aliases(), "gone"),
        (aliases(LOCAL_TIMEOUT=0), "default"),
        (aliases(LOCAL_TIMEOUTS={"views.decorators.cache.": 0}), "default"),
    ],
)
def test_pages_that_no_local_tier_keeps(caches_, alias):
    """May be answered before it."""
    with override_settings(CACHES=caches_, MIDDLEWARE=[BOTH, OURS], CACHE_MIDDLEWARE_ALIAS=alias):
        assert check_middleware() == []


@pytest.mark.parametrize(("options", "kept"), [({}, 2), ({"LOCAL_TIMEOUTS": {"views.decorators.cache.": 0}}, 0)])
def test_what_a_page_costs(options, kept):
    """Two entries, as docs/sessions.md says, and none where the prefix is excluded."""
    with override_settings(CACHES=aliases(**options), MIDDLEWARE=[OURS, BOTH], ROOT_URLCONF=f"{__name__}"):
        cache = caches["default"]
        cache.clear()
        cache.remote.set("key", "value")
        for _ in range(2):
            Client().get("/large")
        assert len(cache.local) == kept
        cache.clear()


def test_middleware_that_cannot_be_imported():
    """Is Django's to tell."""
    with override_settings(MIDDLEWARE=["no.such.middleware", OURS, "tests.urls.urlpatterns"]):
        assert check_middleware() == []
    with override_settings(MIDDLEWARE=[]):
        assert check_middleware() == []
