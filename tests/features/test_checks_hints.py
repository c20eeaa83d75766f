"""Every check: provoked, ended by what its hint says, silenced, and documented."""

import ast
import copy
import re
import sys
import types
from pathlib import Path

import pytest
from django.contrib.sessions.backends.cache import SessionStore
from django.test import override_settings

from tests.support.caches import LRU, TIERED
from tieredcache import checks

ROOT = Path(__file__).parents[2]
OURS = "tieredcache.middleware.ReadYourWritesMiddleware"
BOTH = "django.middleware.cache.CacheMiddleware"
REDIS = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:1/91", "OPTIONS": {"SOCKET_TIMEOUT": 1}}
DJANGO = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/92"}
MEMCACHED = {
    "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
    "LOCATION": "127.0.0.1:1",
    "OPTIONS": {"connect_timeout": 1, "timeout": 1},
}
LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}


def over(remote, **options):
    return {"default": {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": options}, "remote": remote}


def follow(settings, hint):
    """Do what "Set NAME['key'] to value" says, as often as it does; "less than 5" is 4."""
    found = re.findall(r"\b(CACHES(?:\['[^']*'\])+|[A-Z][A-Z_]+) to (less than )?('[^']*'|\d+)", hint)
    assert found, hint
    for target, less, value in found:
        name, *path = re.findall(r"\w+(?=\[|$)|(?<=\[')[^']*(?='\])", target)
        place = settings
        for step in [name, *path][:-1]:
            place = place.setdefault(step, {})
        place[[name, *path][-1]] = ast.literal_eval(value) - bool(less) if value.isdigit() else ast.literal_eval(value)


def rename(settings, hint):
    wrong, right = re.search(r"\['(\w+)'\]: Did you mean (\w+)\?", hint).groups()
    options = settings["CACHES"]["default"]["OPTIONS"]
    options[right] = options.pop(wrong)


def lead(settings, hint):
    alias, known = re.search(r"CACHES\['(\w+)'\]\['LOCATION'\]: Set it .* in CACHES, which has: (.*)\.", hint).groups()
    settings["CACHES"][alias]["LOCATION"] = next(name for name in known.split(", ") if name != alias)


def set_time_outs(settings, hint):
    names, alias = re.search(r"Set (.*) in CACHES\['(\w+)'\]\['OPTIONS'\] to less than a second", hint).groups()
    settings["CACHES"][alias].setdefault("OPTIONS", {}).update(dict.fromkeys(re.findall(r"'(\w+)'", names), 0.9))


def change_backend(settings, hint):
    alias, backend = re.search(r"CACHES\['(\w+)'\]\['BACKEND'\] to .*? such as '([\w.]+)'", hint).groups()
    settings["CACHES"][alias] = {**REDIS, "BACKEND": backend}


def move_sessions(settings, hint):
    assert hint == "Set SESSION_CACHE_ALIAS to a cache that processes share."
    settings["SESSION_CACHE_ALIAS"] = "remote"


def reorder(settings, hint):
    first, second = re.search(r"Put '(.*?)' before '(.*?)' in MIDDLEWARE", hint).groups()
    middleware = settings["MIDDLEWARE"]
    middleware.remove(first)
    middleware.insert(middleware.index(second), first)


def move_pages(settings, hint):
    assert hint.endswith(", or CACHE_MIDDLEWARE_ALIAS to another alias.")
    settings["CACHE_MIDDLEWARE_ALIAS"] = "default"


def copy_pages(settings, hint):
    alias = re.match(r"Set CACHES\['(\w+)'\]\['OPTIONS'\]\['COPY_VALUES'\] to True", hint)[1]
    settings["CACHES"][alias]["OPTIONS"] = {"COPY_VALUES": True}


def share_prefixes(settings, hint):
    alias = re.match(r"Set CACHES\['(\w+)'\]\['OPTIONS'\]\['SHARE_VALUES'\] to the prefixes of what nobody changes", hint)[1]
    settings["CACHES"][alias]["OPTIONS"]["SHARE_VALUES"] = ["geo."]


SESSIONS = {"SESSION_ENGINE": "django.contrib.sessions.backends.cache"}
KEPT = over(REDIS, LOCAL_TIMEOUTS={"django.contrib.sessions.cache": 5, "throttle_": 5, "rl:": 5})
PAGES = {"CACHES": {**over(REDIS), "pages": {"BACKEND": LRU}}, "MIDDLEWARE": [BOTH], "CACHE_MIDDLEWARE_ALIAS": "pages"}
CASES = [
    ("tieredcache.E001", {"CACHES": over(REDIS, LOCAL_TIMOUT=3)}, rename),
    ("tieredcache.E002", {"CACHES": {"remote": REDIS, "default": {"BACKEND": TIERED}}}, lead),
    ("tieredcache.E002", {"CACHES": {"remote": REDIS, "default": {"BACKEND": TIERED, "LOCATION": "default"}}}, lead),
    ("tieredcache.W001", {"CACHES": over({**DJANGO, "OPTIONS": {"socket_timeout": None}})}, set_time_outs),
    ("tieredcache.W001", {"CACHES": over({**MEMCACHED, "OPTIONS": {}})}, set_time_outs),
    ("tieredcache.W003", {"CACHES": over(LOCMEM)}, change_backend),
    ("tieredcache.W004", {"CACHES": over(REDIS, LOCAL_TIMEOUTS={"a": 500})}, follow),
    ("tieredcache.W006", {"CACHES": KEPT, **SESSIONS}, follow),
    ("tieredcache.W006", {"CACHES": over(REDIS, LOCAL_TIMEOUTS={"ow": 9}), "SESSION_ENGINE": "own"}, follow),
    ("tieredcache.W006", {"CACHES": KEPT, "REST_FRAMEWORK": {}, "INSTALLED_APPS": ["rest_framework"]}, follow),
    ("tieredcache.W006", {"CACHES": KEPT, "RATELIMIT_USE_CACHE": "default"}, follow),
    ("tieredcache.W009", {"CACHES": {"default": {"BACKEND": LRU}, "remote": REDIS}, **SESSIONS}, move_sessions),
    ("tieredcache.W010", {"CACHES": over(REDIS), "MIDDLEWARE": [BOTH, OURS]}, reorder),
    ("tieredcache.W013", PAGES, move_pages),
    ("tieredcache.W013", PAGES, copy_pages),
    ("tieredcache.W013", {"CACHES": over(REDIS, SHARE_VALUES=True), "MIDDLEWARE": [BOTH]}, share_prefixes),
    ("tieredcache.W013", {"CACHES": over(REDIS, SHARE_VALUES=["views."]), "MIDDLEWARE": [BOTH]}, share_prefixes),
]


@pytest.fixture(autouse=True)
def site(monkeypatch):
    """A session store of a site's own."""
    engine = types.ModuleType("own")
    engine.SessionStore = type("OwnStore", (SessionStore,), {"cache_key_prefix": "own."})
    monkeypatch.setitem(sys.modules, "own", engine)


def messages(settings):
    with override_settings(**{"CACHES": over(REDIS)} | settings):
        return [*checks.check_caches(), *checks.check_excluded(), *checks.check_middleware(), *checks.check_pages()]


@pytest.mark.parametrize(("name", "settings", "fix"), CASES)
def test_what_the_hint_says_ends_it(name, settings, fix):
    """The message is there, and gone when the line that the hint names has been changed as it says; no error instead."""
    settings = copy.deepcopy(settings)
    (message,) = [message for message in messages(settings) if message.id == name]
    assert message.level >= 30
    fix(settings, message.hint)
    assert [message.id for message in messages(settings) if message.id == name or message.level >= 40] == []


@pytest.mark.parametrize(("name", "settings"), {name: settings for name, settings, _ in CASES}.items())
def test_each_is_silenced_as_djangos_are(name, settings):
    """By its id, and no other by that."""
    with override_settings(SILENCED_SYSTEM_CHECKS=[name]):
        assert all(message.is_silenced() == (message.id == name) for message in messages(settings))
    with override_settings(SILENCED_SYSTEM_CHECKS=["tieredcache.E999"]):
        assert not any(message.is_silenced() for message in messages(settings))


def test_settings_with_nothing_wrong():
    """Provoke none."""
    assert messages({}) == []
    assert messages({"MIDDLEWARE": [OURS, BOTH], **SESSIONS}) == []


def test_the_page_lists_every_check_and_no_other():
    """An id in the code that is missing on the page, or the other way round, fails; so does one that no case provokes."""
    code = "".join(path.read_text() for path in Path(checks.__file__).parent.glob("*.py"))
    page = (ROOT / "docs" / "operate.md").read_text()
    ids = set(re.findall(r"tieredcache\.[EW]\d{3}", code))
    assert ids == set(re.findall(r"^\| `(tieredcache\.[EW]\d{3})` \|", page, re.MULTILINE))
    assert ids >= set(re.findall(r"tieredcache\.[EW]\d{3}", page))
    assert ids == {name for name, _, _ in CASES}
