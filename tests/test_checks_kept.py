"""System checks of sessions, throttles and rate limits: they say what the real ones then do."""

import sys
import types
from importlib import import_module

import pytest
from django.contrib.sessions.backends.cache import SessionStore
from django.core import checks
from django.core.cache import caches
from django.test import RequestFactory, override_settings
from django_ratelimit.core import is_ratelimited
from rest_framework.throttling import AnonRateThrottle, BaseThrottle, UserRateThrottle

from tests.conftest import LRU, TIERED
from tieredcache.checks import check_kept

LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "kept", "KEY_PREFIX": "site", "VERSION": 2}
SITE = "site_for_checks"


def aliases(**options):
    return {"default": {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": options}, "remote": LOCMEM}


@pytest.fixture(autouse=True)
def site(monkeypatch):
    """A module of a site's own, for its session store and its throttles."""
    module = types.ModuleType(SITE)
    monkeypatch.setitem(sys.modules, SITE, module)
    return module


def session_store(site, prefix):
    site.SessionStore = type("SessionStore", (SessionStore,), {"cache_key_prefix": prefix, "__module__": SITE})
    return SITE


def throttle(site, base=AnonRateThrottle, **attributes):
    site.Throttle = type("Throttle", (base,), {"rate": "1/min", "__module__": SITE, **attributes})
    return {"REST_FRAMEWORK": {"DEFAULT_THROTTLE_CLASSES": [f"{SITE}.Throttle"]}}


def use_session(settings):
    store = import_module(settings["SESSION_ENGINE"]).SessionStore
    session = store()
    session["a"] = 1
    session.save()
    for _ in range(2):
        assert store(session.session_key)["a"] == 1


def use_throttle(site):
    request = RequestFactory().get("/")
    request.user = None
    # Who is let through writes, and so forgets; the count that turned somebody away is kept.
    assert site.Throttle().allow_request(request, None)
    assert not site.Throttle().allow_request(request, None)


def use_rate_limit():
    request = RequestFactory().get("/")
    assert not is_ratelimited(request, group="a", key="ip", rate="100/m", increment=True)
    assert not is_ratelimited(request, group="a", key="ip", rate="100/m", increment=False)


def agree(expected, settings, use):
    """The check says ``expected``, and a local tier keeps something exactly where it says so."""
    with override_settings(**settings):
        caches["default"].clear()
        messages = check_kept()
        use()
        kept = sum(len(caches[alias].local) for alias in caches.settings if hasattr(caches[alias], "local"))
        caches["default"].clear()
    assert [message.id for message in messages] == expected
    assert bool(kept) == bool(expected)
    return messages


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
    """tieredcache.W006: a prefix renamed or overridden; that the remote has a KEY_PREFIX makes no difference."""
    engine = "django.contrib.sessions.backends.cache" if prefix is None else session_store(site, prefix)
    settings = {"CACHES": aliases(**options), "SESSION_ENGINE": engine}
    expected = ["tieredcache.W006"] if names else []
    for message in agree(expected, settings, lambda: use_session(settings)):
        assert message.level == checks.WARNING
        assert "CACHES['default']" in message.msg
        assert engine in message.msg
        lines = " and ".join(f"CACHES['default']['OPTIONS']['LOCAL_TIMEOUTS'][{name!r}] to 0" for name in names)
        assert message.hint == f"Set {lines}."


@pytest.mark.django_db
def test_cached_database_sessions():
    """Under their own prefix."""
    for options, expected in (
        ({}, []),
        ({"LOCAL_TIMEOUTS": {"django.contrib.sessions.cached_db": 9}}, ["tieredcache.W006"]),
    ):
        settings = {"CACHES": aliases(**options), "SESSION_ENGINE": "django.contrib.sessions.backends.cached_db"}
        agree(expected, settings, lambda settings=settings: use_session(settings))


def test_a_longer_prefix_that_keeps_some():
    """Is found, though the prefix of all is excluded."""
    settings = {"CACHES": aliases(LOCAL_TIMEOUTS={"rl:a": 60}), "RATELIMIT_USE_CACHE": "default"}
    with override_settings(**settings):
        (message,) = check_kept()
    assert message.hint == "Set CACHES['default']['OPTIONS']['LOCAL_TIMEOUTS']['rl:a'] to 0."


def test_every_tier_of_a_chain(site):
    """Each of them is another place to keep a session in."""
    upper = {"BACKEND": TIERED, "LOCATION": "default"}
    settings = {
        "CACHES": aliases(LOCAL_TIMEOUTS={LONG: 60}) | {"upper": upper},
        "SESSION_ENGINE": "django.contrib.sessions.backends.cache",
        "SESSION_CACHE_ALIAS": "upper",
    }
    (message,) = agree(["tieredcache.W006"], settings, lambda: use_session(settings))
    assert "CACHES['default']" in message.msg


@pytest.mark.parametrize("engine", ["db", "file", "signed_cookies"])
def test_sessions_that_are_in_no_cache(engine):
    """Are not looked at."""
    settings = {"CACHES": aliases(LOCAL_TIMEOUTS={LONG: 60}), "SESSION_ENGINE": f"django.contrib.sessions.backends.{engine}"}
    with override_settings(**settings):
        assert check_kept() == []


@pytest.mark.parametrize(
    ("attributes", "options", "name"),
    [
        ({}, {}, None),
        ({}, {"LOCAL_TIMEOUTS": {"throttle_": 60}}, "throttle_"),
        ({}, {"LOCAL_TIMEOUTS": {"throttle_anon": 60}}, "throttle_anon_"),
        ({"cache_format": "own_%(scope)s_%(ident)s"}, {}, "own_anon_"),
        ({"cache_format": "own_%(scope)s_%(ident)s"}, {"LOCAL_TIMEOUTS": {"own_": 0}}, None),
    ],
)
def test_throttles(site, attributes, options, name):
    """tieredcache.W007: of the classes in DEFAULT_THROTTLE_CLASSES, by their cache_format."""
    settings = {"CACHES": aliases(**options), **throttle(site, **attributes)}
    for message in agree(["tieredcache.W007"] if name else [], settings, lambda: use_throttle(site)):
        assert f"{SITE}.Throttle" in message.msg
        assert message.hint == f"Set CACHES['default']['OPTIONS']['LOCAL_TIMEOUTS'][{name!r}] to 0."


def test_a_throttle_with_a_cache_of_its_own(site):
    """As REST framework's documentation has it: an attribute that names the backend."""
    other = {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": {"LOCAL_TIMEOUTS": {"throttle_": 5}}}
    with override_settings(CACHES=aliases() | {"other": other}):
        with override_settings(**throttle(site, cache=caches["other"])):
            (message,) = check_kept()
            assert "CACHES['other']" in message.msg
        with override_settings(**throttle(site, cache=caches["remote"])):
            assert check_kept() == []
        with override_settings(**throttle(site, cache=object())):
            assert check_kept() == []


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"REST_FRAMEWORK": None},
        {"REST_FRAMEWORK": {"DEFAULT_THROTTLE_CLASSES": None}},
        {"REST_FRAMEWORK": {"DEFAULT_THROTTLE_CLASSES": ["no.such.Throttle", 5, BaseThrottle]}},
        {"RATELIMIT_USE_CACHE": "gone"},
        {"RATELIMIT_USE_CACHE": "remote"},
        {"RATELIMIT_USE_CACHE": ["default"]},
        {"RATELIMIT_CACHE_PREFIX": 5},
        {"RATELIMIT_USE_CACHE": "default", "RATELIMIT_ENABLE": False, "RATELIMIT_CACHE_PREFIX": "own:"},
        {"SESSION_ENGINE": "no.such.engine"},
        {"SESSION_ENGINE": None},
        {"SESSION_ENGINE": "django.contrib.sessions.backends.cache", "SESSION_CACHE_ALIAS": "gone"},
    ],
)
def test_what_is_not_ours_to_tell(settings):
    """What is absent, switched off, or wrong in others' settings."""
    with override_settings(CACHES=aliases(), **settings):
        assert check_kept() == []


def test_without_rest_framework(site, monkeypatch):
    """There is nothing to look at, and nothing is raised."""
    settings = throttle(site, cache_format="own_%(ident)s")
    with override_settings(CACHES=aliases(), **settings):
        assert len(check_kept()) == 1
        monkeypatch.setitem(sys.modules, "rest_framework.throttling", None)
        assert check_kept() == []


@pytest.mark.parametrize(
    ("settings", "options", "name"),
    [
        ({"RATELIMIT_USE_CACHE": "default"}, {}, None),
        ({"RATELIMIT_USE_CACHE": "default"}, {"LOCAL_TIMEOUTS": {"rl:": 1}}, "rl:"),
        ({"RATELIMIT_CACHE_PREFIX": "own:"}, {}, "own:"),
        ({"RATELIMIT_CACHE_PREFIX": "own:"}, {"LOCAL_TIMEOUTS": {"own:": 0}}, None),
    ],
)
def test_rate_limits(settings, options, name):
    """tieredcache.W008: under the prefix and in the cache that django-ratelimit's settings name."""
    settings = {"CACHES": aliases(**options), **settings}
    for message in agree(["tieredcache.W008"] if name else [], settings, use_rate_limit):
        assert message.hint == f"Set CACHES['default']['OPTIONS']['LOCAL_TIMEOUTS'][{name!r}] to 0."


def test_rate_limits_by_the_app():
    """In INSTALLED_APPS it counts without a setting."""
    registered = set(checks.registry.registry.registered_checks)
    try:
        with override_settings(CACHES=aliases(LOCAL_TIMEOUTS={"rl:": 1}), INSTALLED_APPS=["django_ratelimit"]):
            assert [message.id for message in check_kept()] == ["tieredcache.W008"]
        with override_settings(CACHES=aliases(LOCAL_TIMEOUTS={"rl:": 1})):
            assert check_kept() == []
    finally:
        checks.registry.registry.registered_checks = registered  # the app has one of its own


def test_keys_without_a_prefix(site):
    """Cannot be excluded: the hint is to give them one, of those that are built in."""
    sessions = {"SESSION_ENGINE": session_store(site, "")}
    limits = {"RATELIMIT_CACHE_PREFIX": ""}
    throttles = throttle(site, cache_format="%(ident)s_%(scope)s")
    with override_settings(CACHES=aliases(), **sessions, **limits, **throttles):
        assert [message.hint for message in check_kept()] == [
            f"Set {SITE}.SessionStore.cache_key_prefix to 'django.contrib.sessions.cache', which is excluded.",
            f"Set {SITE}.Throttle.cache_format to 'throttle_%(scope)s_%(ident)s', whose prefix is excluded.",
            "Set RATELIMIT_CACHE_PREFIX to 'rl:', which is excluded.",
        ]


def test_an_lru_cache(site):
    """tieredcache.W009: every process has sessions and counts of its own; in another alias they are fine."""
    memory = {"memory": {"BACKEND": LRU, "LOCATION": "checked"}}
    engine = {"SESSION_ENGINE": "django.contrib.sessions.backends.cache"}
    with override_settings(CACHES=aliases() | memory, **engine):
        throttles = throttle(site, UserRateThrottle, cache=caches["memory"])
        with override_settings(SESSION_CACHE_ALIAS="memory", RATELIMIT_USE_CACHE="memory", **throttles):
            messages = check_kept()
        with override_settings(SESSION_CACHE_ALIAS="default", RATELIMIT_USE_CACHE="default"):
            assert check_kept() == []
    assert [message.id for message in messages] == ["tieredcache.W009"] * 3
    assert [message.hint for message in messages] == [
        f"Set {setting} to an alias that processes share."
        for setting in ("SESSION_CACHE_ALIAS", f"{SITE}.Throttle.cache", "RATELIMIT_USE_CACHE")
    ]
