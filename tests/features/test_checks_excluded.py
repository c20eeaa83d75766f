"""The check of what must not be stale: it says what sessions, throttles and rate limits then do."""

import sys
import types
from importlib import import_module

import pytest
from django.contrib.sessions.backends.cache import SessionStore
from django.core import checks
from django.core.cache import caches
from django.test import RequestFactory, override_settings
from django_ratelimit.core import is_ratelimited
from rest_framework.throttling import AnonRateThrottle

from tests.support.caches import LRU, TIERED
from tieredcache.checks import check_excluded
from tieredcache.config.excluded import EXCLUDED

LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "kept", "KEY_PREFIX": "site", "VERSION": 2}
SITE = "site_for_checks"


def aliases(**options):
    return {"default": {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": options}, "remote": LOCMEM}


@pytest.fixture
def site(monkeypatch):
    """A module of a site's own, for its session store."""
    module = types.ModuleType(SITE)
    monkeypatch.setitem(sys.modules, SITE, module)
    return module


def use_session(settings):
    store = import_module(settings["SESSION_ENGINE"]).SessionStore
    session = store()
    session["a"] = 1
    session.save()
    for _ in range(2):
        assert store(session.session_key)["a"] == 1


def use_throttle():
    request = RequestFactory().get("/")
    request.user = None
    throttle = type("Throttle", (AnonRateThrottle,), {"rate": "1/min"})
    # A request that is let through writes, and so forgets; the count that turned a request away is kept.
    assert throttle().allow_request(request, None)
    assert not throttle().allow_request(request, None)


def use_rate_limit():
    request = RequestFactory().get("/")
    assert not is_ratelimited(request, group="a", key="ip", rate="100/m", increment=True)
    assert not is_ratelimited(request, group="a", key="ip", rate="100/m", increment=False)


def agree(names, settings, use):
    """The check names these prefixes, and a local tier keeps something exactly where it names one."""
    with override_settings(**settings):
        caches["default"].clear()
        messages = check_excluded()
        use()
        kept = len(caches["default"].local)
        caches["default"].clear()
    assert bool(kept) == bool(names)
    lines = " and ".join(f"CACHES['default']['OPTIONS']['LOCAL_TIMEOUTS'][{name!r}] to 0" for name in names)
    assert [(message.id, message.level, message.hint) for message in messages] == (
        [("tieredcache.W006", checks.WARNING, f"Set {lines}.")] if names else []
    )


LONG = "django.contrib.sessions.cache"


@pytest.mark.parametrize(
    ("prefix", "options", "names"),
    [
        (None, {}, []),
        (None, {"LOCAL_TIMEOUTS": {"django": 60}}, []),
        (None, {"LOCAL_TIMEOUTS": {LONG: 60}}, [LONG]),
        ("own.", {}, ["own."]),
        ("own.", {"LOCAL_TIMEOUTS": {"own": 60}}, ["own."]),
        ("own.", {"LOCAL_TIMEOUTS": {"own": 0}}, []),
        ("own.", {"LOCAL_TIMEOUT": 0}, []),
        (f"{LONG}.own", {}, []),
    ],
)
def test_sessions(site, prefix, options, names):
    """A prefix renamed or overridden; that the remote has a KEY_PREFIX makes no difference."""
    site.SessionStore = type("SessionStore", (SessionStore,), {"cache_key_prefix": prefix, "__module__": SITE})
    engine = "django.contrib.sessions.backends.cache" if prefix is None else SITE
    settings = {"CACHES": aliases(**options), "SESSION_ENGINE": engine}
    agree(names, settings, lambda: use_session(settings))


@pytest.mark.django_db
def test_cached_database_sessions():
    """Under their own prefix."""
    name = "django.contrib.sessions.cached_db"
    for names in ([], [name]):
        settings = {
            "CACHES": aliases(LOCAL_TIMEOUTS=dict.fromkeys(names, 9)),
            "SESSION_ENGINE": "django.contrib.sessions.backends.cached_db",
        }
        agree(names, settings, lambda settings=settings: use_session(settings))


@pytest.mark.parametrize("engine", ["db", "file", "signed_cookies"])
def test_sessions_that_are_in_no_cache(engine):
    """Are not looked at."""
    settings = {"CACHES": aliases(LOCAL_TIMEOUTS={LONG: 60}), "SESSION_ENGINE": f"django.contrib.sessions.backends.{engine}"}
    with override_settings(**settings):
        assert check_excluded() == []


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, []),
        ({"LOCAL_TIMEOUTS": {"throttle_": 60}}, ["throttle_"]),
        ({"LOCAL_TIMEOUTS": {"throttle_anon": 60}}, ["throttle_anon"]),
    ],
)
def test_throttles(options, names):
    """Of REST framework, where it is an app; a longer prefix may keep some of the keys."""
    settings = {"CACHES": aliases(**options), "INSTALLED_APPS": ["rest_framework"]}
    agree(names, settings, use_throttle)


@pytest.mark.parametrize(
    ("settings", "options", "names"),
    [
        ({"RATELIMIT_USE_CACHE": "default"}, {}, []),
        ({"RATELIMIT_USE_CACHE": "default"}, {"LOCAL_TIMEOUTS": {"rl:": 1}}, ["rl:"]),
        ({"RATELIMIT_CACHE_PREFIX": "own:"}, {}, ["own:"]),
        ({"RATELIMIT_CACHE_PREFIX": "own:"}, {"LOCAL_TIMEOUTS": {"own:": 0}}, []),
    ],
)
def test_rate_limits(settings, options, names):
    """Under the prefix and in the cache that django-ratelimit's settings name; it need not be an app."""
    agree(names, {"CACHES": aliases(**options), **settings}, use_rate_limit)


@pytest.mark.parametrize(
    "row", [row for row in EXCLUDED if row.app != "django.contrib.sessions"], ids=lambda row: row.source
)
def test_each_app_of_the_table(row, monkeypatch):
    """An app in INSTALLED_APPS whose prefix was overridden is found, and not one that is not there."""
    overridden = aliases(LOCAL_TIMEOUTS={row.prefix: 60})
    monkeypatch.setattr("django.apps.apps.is_installed", lambda name: name == row.app)
    with override_settings(CACHES=overridden):
        messages = check_excluded()
        assert {message.id for message in messages} == {"tieredcache.W006"}
        assert all(row.app in message.msg and row.reason in message.msg for message in messages)
    with override_settings(CACHES=aliases()):
        assert check_excluded() == []
    monkeypatch.setattr("django.apps.apps.is_installed", lambda name: False)
    with override_settings(CACHES=overridden):
        assert check_excluded() == []


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"RATELIMIT_USE_CACHE": "gone"},
        {"RATELIMIT_USE_CACHE": "remote"},
        {"RATELIMIT_USE_CACHE": ["default"]},
        {"RATELIMIT_CACHE_PREFIX": 5},
        {"SESSION_ENGINE": "no.such.engine"},
        {"SESSION_ENGINE": None},
        {"SESSION_ENGINE": "django.contrib.sessions.backends.cache", "SESSION_CACHE_ALIAS": "gone"},
    ],
)
def test_what_others_report(settings):
    """What is absent, or wrong in the settings of another package."""
    with override_settings(CACHES=aliases(), **settings):
        assert check_excluded() == []


def test_an_lru_cache():
    """tieredcache.W009: every process has sessions and counts of its own; in another alias they are fine."""
    memory = {"memory": {"BACKEND": LRU, "LOCATION": "checked"}}
    engine = {"SESSION_ENGINE": "django.contrib.sessions.backends.cache"}
    with override_settings(CACHES=aliases() | memory, **engine):
        with override_settings(SESSION_CACHE_ALIAS="memory", RATELIMIT_USE_CACHE="memory"):
            messages = check_excluded()
        with override_settings(SESSION_CACHE_ALIAS="default", RATELIMIT_USE_CACHE="default"):
            assert check_excluded() == []
    assert [message.id for message in messages] == ["tieredcache.W009"] * 2
    assert [message.hint for message in messages] == [
        f"Set {setting} to a cache that processes share." for setting in ("SESSION_CACHE_ALIAS", "RATELIMIT_USE_CACHE")
    ]
