"""Mistakes in the settings: an exception names the alias, the option and the remedy, and never shows a secret."""

import traceback

import pytest
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

TIERED = "tieredcache.backends.TieredCache"
LRU = "tieredcache.backends.LRUCache"
SECRET = "hunter2-correct-horse"
URL = f"redis://admin:{SECRET}@cache.example.com:6379/1"
REMOTE = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}

TIERED_MISTAKES = {
    "a URL as LOCATION": ({"LOCATION": URL}, "LOCATION"),
    "a URL that redis-py reads a password from": ({"LOCATION": f"redis://cache:6379?password={SECRET}"}, "LOCATION"),
    "a socket's URL": ({"LOCATION": f"unix://:{SECRET}@/run/valkey.sock?db=1"}, "LOCATION"),
    "a URL with a password that is not quoted": ({"LOCATION": f"redis://:p@/{SECRET}#:x@cache:6379"}, "LOCATION"),
    "a list of URLs": ({"LOCATION": [URL, URL]}, "LOCATION"),
    "a URL in bytes": ({"LOCATION": URL.encode()}, "LOCATION"),
    "several URLs in one string": ({"LOCATION": f"redis://a:6379,{URL}"}, "LOCATION"),
    "a dict as LOCATION": ({"LOCATION": {"host": "cache", "password": SECRET}}, "LOCATION"),
    "PASSWORD among the options": ({"OPTIONS": {"PASSWORD": SECRET}}, "PASSWORD"),
    "password in lower case": ({"OPTIONS": {"password": SECRET}}, "password"),
    "a token": ({"OPTIONS": {"AUTH_TOKEN": SECRET}}, "AUTH_TOKEN"),
    "the pool's keywords": ({"OPTIONS": {"CONNECTION_POOL_KWARGS": {"password": SECRET}}}, "CONNECTION_POOL_KWARGS"),
    "the sentinels' keywords": ({"OPTIONS": {"SENTINEL_KWARGS": {"password": SECRET}}}, "SENTINEL_KWARGS"),
    "PASSWORD beside the options": ({"PASSWORD": SECRET}, "PASSWORD"),
    "an unknown setting with a URL": ({"URL": URL}, "URL"),
    "a URL as the options": ({"OPTIONS": URL}, "OPTIONS"),
    "options in a list": ({"OPTIONS": [("PASSWORD", SECRET)]}, "OPTIONS"),
    "a URL as LOCAL_TIMEOUT": ({"OPTIONS": {"LOCAL_TIMEOUT": URL}}, "LOCAL_TIMEOUT"),
    "a URL as LOCAL_TIMEOUTS": ({"OPTIONS": {"LOCAL_TIMEOUTS": URL}}, "LOCAL_TIMEOUTS"),
    "a URL in LOCAL_TIMEOUTS": ({"OPTIONS": {"LOCAL_TIMEOUTS": {"a:": URL}}}, "LOCAL_TIMEOUTS"),
    "a URL as MAX_ENTRIES": ({"OPTIONS": {"MAX_ENTRIES": URL}}, "MAX_ENTRIES"),
    "a URL as SHARE_VALUES": ({"OPTIONS": {"SHARE_VALUES": URL}}, "SHARE_VALUES"),
    "a URL as REMOTE_ERRORS": ({"OPTIONS": {"REMOTE_ERRORS": URL}}, "REMOTE_ERRORS"),
    "a URL as TIMEOUT": ({"TIMEOUT": URL}, "TIMEOUT"),
    "a URL as KEY_PREFIX": ({"KEY_PREFIX": URL}, "KEY_PREFIX"),
}
LRU_MISTAKES = {
    "a list of URLs": ({"LOCATION": [URL]}, "LOCATION"),
    "PASSWORD among the options": ({"OPTIONS": {"PASSWORD": SECRET}}, "PASSWORD"),
    "PASSWORD beside the options": ({"PASSWORD": SECRET}, "PASSWORD"),
    "the pool's keywords": ({"OPTIONS": {"CONNECTION_POOL_KWARGS": {"password": SECRET}}}, "CONNECTION_POOL_KWARGS"),
    "a URL as MAX_ENTRIES": ({"OPTIONS": {"MAX_ENTRIES": URL}}, "MAX_ENTRIES"),
    "a URL as TIMEOUT": ({"TIMEOUT": URL}, "TIMEOUT"),
    "a URL as KEY_FUNCTION": ({"KEY_FUNCTION": [URL]}, "KEY_FUNCTION"),
}
CASES = [
    *(pytest.param(TIERED, *case, id=f"tiered: {name}") for name, case in TIERED_MISTAKES.items()),
    *(pytest.param(LRU, *case, id=f"lru: {name}") for name, case in LRU_MISTAKES.items()),
]


def shown(error):
    """All that a log, an error tracker or a debugger shows of an exception, and of those that it came from."""
    pending, seen = [error], []
    while pending:
        each = pending.pop()
        if each is None or each in seen:
            continue
        seen.append(each)
        yield from (str(each), repr(each), repr(each.args), repr(vars(each)), repr(getattr(each, "__notes__", [])))
        pending += [each.__cause__, each.__context__]
    yield "".join(traceback.format_exception(error))


def raised(config):
    with (
        override_settings(CACHES={"default": config, "remote": REMOTE, "far": REMOTE}),
        pytest.raises(ImproperlyConfigured) as caught,
    ):
        caches["default"].get("key")
    return caught.value


@pytest.mark.parametrize(("backend", "settings", "option"), CASES)
def test_an_exception_shows_no_secret_when_a_mistake_quotes_one(backend, settings, option):
    """It says which alias and which option is wrong, as always."""
    location = {} if backend == LRU else {"LOCATION": "remote"}
    error = raised({"BACKEND": backend, **location, **settings})
    for text in shown(error):
        assert SECRET not in text
    assert "default" in str(error)
    assert option in str(error)


@pytest.mark.parametrize("location", [URL, [URL]], ids=["a string", "a list"])
def test_the_exception_names_the_aliases_when_a_url_stands_for_one(location):
    """The remedy does not need the URL: it is to name the alias that has it."""
    message = str(raised({"BACKEND": TIERED, "LOCATION": location}))
    assert "far" in message
    assert "remote" in message


@pytest.mark.parametrize(
    ("options", "quoted"),
    [({"LOCAL_TIMEOUT": "5"}, "'5'"), ({"MAX_ENTRIES": 0}, "0"), ({"REMOTE_ERRORS": "ignored"}, "'ignored'")],
)
def test_the_value_is_quoted_when_it_is_no_secret(options, quoted):
    """A message without the value would send its reader to look for it."""
    assert quoted in str(raised({"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": options}))
