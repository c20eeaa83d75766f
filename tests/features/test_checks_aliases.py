"""System checks of the aliases themselves, and what checking leaves behind: nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core import checks
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from tests.backends.test_options import MISTAKES
from tests.support.caches import LRU, TIERED
from tieredcache.checks import check_caches, check_excluded, check_middleware, check_pages

ROOT = Path(__file__).parents[2]
REDIS = {
    "BACKEND": "django_redis.cache.RedisCache",
    "OPTIONS": {"SOCKET_TIMEOUT": 0.5},
    "LOCATION": "redis://127.0.0.1:1/90",
}


def tiered(**options):
    return {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": options}


def check(**aliases):
    with override_settings(CACHES={"default": tiered(), "remote": REDIS} | aliases):
        return check_caches()


@pytest.mark.parametrize("name", MISTAKES)
def test_what_cannot_be_made(name):
    """tieredcache.E001 or E002: what the cache would raise, in one message, with the remedy as the hint."""
    settings, parts = MISTAKES[name]
    with override_settings(CACHES=settings):
        with pytest.raises(ImproperlyConfigured) as error:
            caches["default"]
        (message,) = [found for found in check_caches() if found.msg.startswith("CACHES['default']: ")]
    nowhere = " LOCATION is " in message.msg and settings["default"]["BACKEND"] == TIERED
    assert message.id == ("tieredcache.E002" if nowhere else "tieredcache.E001")
    assert message.level == checks.ERROR
    assert message.hint.startswith("CACHES['default'][")
    remedy = message.hint.partition("]: ")[2]
    assert str(error.value) == f"{message.msg} {remedy}"
    assert all(part in message.msg + remedy for part in parts)


def test_no_password_is_quoted():
    """Of an alias that got the backend and still has the remote's settings: many people read the output of checks."""
    remote = {"LOCATION": "redis://:hunter2@host/0", "OPTIONS": {"PASSWORD": "correct horse"}}
    messages = check(
        default={"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": remote["OPTIONS"]},
        other={"BACKEND": TIERED, "LOCATION": remote["LOCATION"]},
    )
    assert [message.id for message in messages] == ["tieredcache.E001", "tieredcache.E002"]
    assert messages[0].msg == "CACHES['default']: OPTIONS['PASSWORD'] is an unknown name."
    for message in messages:
        assert "hunter2" not in message.msg + message.hint
        assert "correct horse" not in message.msg + message.hint
        assert "host" not in message.msg + message.hint


def test_the_hint_names_the_line():
    """As it stands in the settings."""
    wrong = {
        "CACHES['default']['OPTIONS']['JITTER']: ": tiered(JITTER=2),
        "CACHES['default']['OPTIONS']['LOCAL_TIMEOUTS']['a[0]']: ": tiered(LOCAL_TIMEOUTS={"a[0]": -1}),
        "CACHES['default']['OPTIONS']: ": {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": 5},
        "CACHES['default']['OPTION']: ": {"BACKEND": TIERED, "LOCATION": "remote", "OPTION": {}},
        "CACHES['default']['KEY_PREFIX']: ": {"BACKEND": TIERED, "LOCATION": "remote", "KEY_PREFIX": ""},
        "CACHES['default']['LOCATION']: ": {"BACKEND": TIERED},
    }
    for line, alias in wrong.items():
        (message,) = check(default=alias)
        assert message.hint.startswith(line)


def test_one_message_for_each_alias():
    """Two aliases with the same mistake are told apart."""
    messages = check(default=tiered(JITTER=2), twin=tiered(JITTER=2), nowhere={"BACKEND": TIERED, "LOCATION": "gone"})
    assert [message.msg.partition(":")[0] for message in messages] == [
        "CACHES['default']",
        "CACHES['nowhere']",
        "CACHES['twin']",
    ]


def test_a_tier_over_a_tier():
    """tieredcache.E002, with the remote that was meant; whatever that alias leads to."""
    (message,) = check(upper={"BACKEND": TIERED, "LOCATION": "default"})
    assert message.id == "tieredcache.E002"
    assert message.hint.startswith("CACHES['upper']['LOCATION']: Set it to 'remote'")


def test_subclasses():
    """Are checked too, but not where they have an ``__init__``: it may read its settings in its own way."""
    for backend, expected in (("Plain", ["tieredcache.E001"]), ("Site", []), ("Memory", [])):
        alias = {"BACKEND": f"tests.support.subclasses.{backend}", "LOCATION": "remote"}
        assert check(default=alias) == []
        assert [found.id for found in check(default={**alias, "OPTIONS": {"MAX_ENTRIES": 0}})] == expected


@pytest.mark.parametrize(
    ("options", "timeouts", "line", "limit"),
    [
        ({"LOCAL_TIMEOUT": 300}, {}, "CACHES['default']['OPTIONS']['LOCAL_TIMEOUT']", 300),
        ({}, {"remote": 3}, "CACHES['default']['OPTIONS']['LOCAL_TIMEOUT']", 3),
        ({"LOCAL_TIMEOUTS": {"a": 600}}, {}, "CACHES['default']['OPTIONS']['LOCAL_TIMEOUTS']['a']", 300),
        ({"LOCAL_TIMEOUT": 60}, {"default": 60}, "CACHES['default']['OPTIONS']['LOCAL_TIMEOUT']", 60),
        ({"LOCAL_TIMEOUT": 60}, {"default": 60, "remote": None}, "CACHES['default']['OPTIONS']['LOCAL_TIMEOUT']", 60),
    ],
)
def test_a_local_timeout_that_is_too_long(options, timeouts, line, limit):
    """tieredcache.W004: not shorter than the default timeout of this alias, or else the remote's."""
    with_timeout = {alias: {"TIMEOUT": seconds} for alias, seconds in timeouts.items()}
    aliases = {
        "default": tiered(**options) | with_timeout.get("default", {}),
        "remote": REDIS | with_timeout.get("remote", {}),
    }
    (message,) = check(**aliases)
    assert message.id == "tieredcache.W004"
    assert message.level == checks.WARNING
    assert message.msg.startswith(line)
    below = "default" if "default" in timeouts else "remote"
    assert message.hint == f"Set {line} to less than {limit}, or CACHES['{below}']['TIMEOUT'] to more."


@pytest.mark.parametrize(
    ("options", "own", "remote"),
    [
        ({"LOCAL_TIMEOUT": 299, "LOCAL_TIMEOUTS": {"a": 299}}, {}, {}),
        ({"LOCAL_TIMEOUT": 600, "MISS_TIMEOUT": 0}, {"TIMEOUT": 601}, {"TIMEOUT": 10}),
        ({"LOCAL_TIMEOUT": 600}, {"TIMEOUT": None}, {}),
        ({"LOCAL_TIMEOUT": 600}, {}, {"TIMEOUT": None}),
        ({"LOCAL_TIMEOUT": 600}, {}, {"TIMEOUT": 0}),
        ({"MISS_TIMEOUT": 600}, {}, {}),
        ({"LOCAL_TIMEOUT": 0}, {}, {"TIMEOUT": 1}),
    ],
)
def test_local_timeouts_that_are_shorter(options, own, remote):
    """Or that there is no default to be shorter than; how long absence is remembered is another matter."""
    assert check(default=tiered(**options) | own, remote=REDIS | remote) == []


def test_nothing_is_created(monkeypatch):
    """Neither a backend nor a tier: Django's handler is not asked for one, and no class is called."""
    aliases = {
        "default": tiered(),
        "wrong": tiered(JITTER=2),
        "site": {"BACKEND": "tests.support.subclasses.Site", "LOCATION": "remote"},
        "remote": REDIS,
        "memory": {"BACKEND": LRU, "LOCATION": "not created"},
    }
    created = []
    for path in (TIERED, LRU, REDIS["BACKEND"]):
        monkeypatch.setattr(f"{path}.__init__", lambda self, *args: created.append(self))
    with override_settings(CACHES=aliases):
        messages = [*check_caches(), *check_excluded(), *check_middleware(), *check_pages()]
        assert caches.all(initialized_only=True) == []
    assert [message.id for message in messages] == ["tieredcache.E001"]
    assert created == []


def test_the_arguments_of_django():
    """Settings belong to no app and no database: a check of one app or database checks them too."""
    with override_settings(CACHES={"default": tiered(JITTER=2), "remote": REDIS}):
        for arguments in ({"app_configs": None, "databases": None}, {"app_configs": [], "databases": ["default"]}):
            assert [message.id for message in check_caches(**arguments)] == ["tieredcache.E001"]
            assert check_excluded(**arguments) == check_middleware(**arguments) == check_pages(**arguments) == []


def run(settings, *arguments, path="."):
    """``manage.py check`` with these settings."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(path), str(ROOT)]), "DJANGO_SETTINGS_MODULE": settings}
    command = [sys.executable, "-W", "error", "-m", "django", "check", *arguments]
    return subprocess.run(command, env=environment, cwd=path, capture_output=True, text=True, timeout=300, check=False)


def test_the_shop_is_silent():
    """``manage.py check`` on the example project says nothing."""
    done = run("example_project.settings", path=ROOT)
    assert done.stdout == "System check identified no issues (0 silenced).\n", done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("arguments", [[], ["--tag", "tieredcache"]])
def test_mistakes_are_reported_by_the_command(tmp_path, arguments):
    """By its tag, one for each alias. Without it Django's own checks, which create every cache, may raise the first one."""
    (tmp_path / "mistaken.py").write_text(
        f"""
SECRET_KEY = "of no value"
INSTALLED_APPS = ["tieredcache"]
CACHES = {{
    "default": {{"BACKEND": {TIERED!r}, "LOCATION": "remote", "OPTIONS": {{"LOCAL_TIMOUT": 5}}}},
    "circle": {{"BACKEND": {TIERED!r}, "LOCATION": "circle"}},
    "remote": {{"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": {str(tmp_path / "files")!r}}},
}}
"""
    )
    done = run("mistaken", *arguments, path=tmp_path)
    assert done.returncode == 1
    assert "CACHES['default']: OPTIONS['LOCAL_TIMOUT'] is an unknown name" in done.stderr
    assert "Did you mean LOCAL_TIMEOUT?" in done.stderr
    if arguments:
        assert "Traceback" not in done.stderr
        assert "HINT: CACHES['default']['OPTIONS']['LOCAL_TIMOUT']: Did you mean LOCAL_TIMEOUT?" in done.stderr
        assert "(tieredcache.E002) CACHES['circle']: " in done.stderr
