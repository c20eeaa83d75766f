"""System checks of the aliases themselves, and what checking leaves behind: nothing."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core import checks
from django.core.cache import caches
from django.core.cache.backends.base import InvalidCacheBackendError
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from tests.conftest import LRU, TIERED
from tests.test_options import MISTAKES
from tieredcache import outages, registry
from tieredcache.backends import lru
from tieredcache.checks import check_caches, check_kept, check_middleware, check_pages, let_mistakes_be_told

ROOT = Path(__file__).parents[1]
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
    """tieredcache.E001 or E002: all that the cache would raise, in one message, with the remedy as the hint."""
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


def test_no_password_is_told():
    """Of an alias that got the backend, and kept the remote's settings: checks run where many read along."""
    remote = {"LOCATION": "redis://:hunter2@host/0", "OPTIONS": {"PASSWORD": "correct horse"}}
    moved = check(default={"BACKEND": TIERED} | remote, other=tiered(PASSWORD="correct horse"))
    assert [message.msg for message in moved] == [
        "CACHES['default']: OPTIONS['PASSWORD'] is '***', an unknown name.",
        "CACHES['other']: OPTIONS['PASSWORD'] is '***', an unknown name.",
    ]
    (nowhere,) = check(default={"BACKEND": TIERED, "LOCATION": remote["LOCATION"]})
    assert nowhere.msg == "CACHES['default']: LOCATION is 'redis://:***@host/0', not an alias in CACHES."


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
    """Two aliases with the same mistake are told apart, and one above a broken one is not blamed for it."""
    messages = check(
        default=tiered(JITTER=2),
        twin=tiered(JITTER=2),
        nowhere={"BACKEND": TIERED, "LOCATION": "gone"},
        above={"BACKEND": TIERED, "LOCATION": "nowhere"},
        top={"BACKEND": TIERED, "LOCATION": "default"},
    )
    assert [message.msg.partition(":")[0] for message in messages] == [
        "CACHES['default']",
        "CACHES['nowhere']",
        "CACHES['twin']",
    ]


def test_a_circle():
    """Every alias of it is told, because each may be the one that is meant to lead elsewhere."""
    messages = check(default={"BACKEND": TIERED, "LOCATION": "b"}, b={"BACKEND": TIERED, "LOCATION": "default"})
    assert [message.id for message in messages] == ["tieredcache.E002"] * 2
    assert "default -> b -> default" in messages[0].msg + messages[1].msg


@pytest.mark.parametrize("backend", ["Plain", "Site", "Memory"])
def test_subclasses_count(backend):
    """Their own options are theirs; ours are checked in what they pass on."""
    alias = {"BACKEND": f"tests.subclasses.{backend}", "LOCATION": "remote"}
    assert check(
        default={**alias, "OPTIONS": {"MAX_ENTRIES": 5, "SITE": "a"} if backend != "Plain" else {}}, remote=REDIS
    ) == (check(default={**tiered(LOCAL_TIMEOUT=400)}) if backend == "Site" else [])
    (message,) = [found for found in check(default={**alias, "OPTIONS": {"MAX_ENTRIES": 0}}) if found.level == checks.ERROR]
    assert message.id == "tieredcache.E001"
    assert message.msg.startswith("CACHES['default']: OPTIONS['MAX_ENTRIES'] is 0")


def test_a_subclass_that_fails_in_its_own_way():
    """Cannot be made either, whatever it raises."""
    (message,) = check(default={"BACKEND": "tests.subclasses.Site", "LOCATION": "remote", "OPTIONS": {"SITE": "unknown"}})
    assert message.id == "tieredcache.E001"
    assert message.msg == "CACHES['default']: making the cache raises KeyError: 'no such site'."
    (message,) = check(memory={"BACKEND": LRU, "LOCATION": "x", "KEY_FUNCTION": "no.such.function"})
    assert message.msg.startswith("CACHES['memory']: making the cache raises ")


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


def test_the_default_timeout_of_a_chain():
    """Is that of the first alias on the way of a write that has one."""
    upper = {"BACKEND": TIERED, "LOCATION": "default", "OPTIONS": {"LOCAL_TIMEOUT": 50}}
    (message,) = check(upper=upper, default=tiered() | {"TIMEOUT": 50}, remote=REDIS)
    assert message.msg.startswith("CACHES['upper']['OPTIONS']['LOCAL_TIMEOUT'] is 50")
    assert "CACHES['default']['TIMEOUT']" in message.msg
    assert check(upper=upper, default=tiered(), remote=REDIS) == []


def test_nothing_is_left_behind():
    """No tier, gate or store in the registries, no backend among Django's; a mistaken alias is as new when it is mended."""

    def registered():
        gc.collect()
        kept = (registry._tiers, registry._gates, registry._siblings, registry._seen, lru._stores)
        return [dict(part) for part in kept], len(outages._gates)

    wrong = tiered(JITTER=2)
    aliases = {
        "default": tiered(),
        "site": {"BACKEND": "tests.subclasses.Site", "LOCATION": "remote", "OPTIONS": {"LOCAL_TIMEOUT": 1}},
        "wrong": wrong,
        "remote": REDIS,
        "memory": {"BACKEND": LRU, "LOCATION": "never made"},
    }
    with override_settings(CACHES=aliases):
        before = registered()
        messages = [*check_caches(), *check_kept(), *check_middleware(), *check_pages()]
        assert [message.id for message in messages] == ["tieredcache.E001"]
        assert registered() == before
        assert caches.all(initialized_only=True) == []
        del wrong["OPTIONS"]["JITTER"]
        assert check_caches() == []
        assert caches["wrong"]._tier in registry._tiers.values()


def test_a_backend_that_looks_at_the_one_below_it_leaves_nothing_either():
    """No tier on trial is found by who uses the alias next: what other threads write would not be forgotten there."""
    aliases = {
        "default": tiered(),
        "upper": {"BACKEND": "tests.subclasses.Curious", "LOCATION": "default"},
        "remote": REDIS,
    }
    with override_settings(CACHES=aliases):
        assert check_caches() == []
        assert caches.all(initialized_only=True) == []
        kept = caches["default"]
        assert check_caches() == []
        assert caches.all(initialized_only=True) == [kept]
        assert kept._tier in registry._tiers.values()


def test_the_arguments_of_django():
    """Settings are nobody's app and no database's: what is asked for by label or alias is checked all the same."""
    with override_settings(CACHES={"default": tiered(JITTER=2), "remote": REDIS}):
        for arguments in ({"app_configs": None, "databases": None}, {"app_configs": [], "databases": ["default"]}):
            assert [message.id for message in check_caches(**arguments)] == ["tieredcache.E001"]
            assert check_kept(**arguments) == check_middleware(**arguments) == check_pages(**arguments) == []


def run(settings, *arguments, path="."):
    """``manage.py check`` with these settings."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(path), str(ROOT)]), "DJANGO_SETTINGS_MODULE": settings}
    command = [sys.executable, "-W", "error", "-m", "django", "check", *arguments]
    return subprocess.run(command, env=environment, cwd=path, capture_output=True, text=True, timeout=120, check=False)


def test_the_shop_is_silent():
    """``manage.py check`` on the example project says nothing."""
    done = run("example_project.settings", path=ROOT)
    assert done.stdout == "System check identified no issues (0 silenced).\n", done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("arguments", [[], ["--deploy"], ["--tag", "tieredcache"], ["--tag", "caches"]])
def test_mistakes_are_not_hidden_by_djangos_own_checks(tmp_path, arguments):
    """Which make every cache, and would end the command with a traceback; file caches are among those that they look at."""
    (tmp_path / "mistaken.py").write_text(
        f"""
SECRET_KEY = "of no value"
STATIC_ROOT = {str(tmp_path)!r}
INSTALLED_APPS = ["tieredcache"]
CACHES = {{
    "default": {{"BACKEND": {TIERED!r}, "LOCATION": "remote", "OPTIONS": {{"LOCAL_TIMOUT": 5}}}},
    "circle": {{"BACKEND": {TIERED!r}, "LOCATION": "circle"}},
    "remote": {{"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": {str(tmp_path / "files")!r}}},
}}
"""
    )
    done = run("mistaken", *arguments, path=tmp_path)
    assert "Traceback" not in done.stderr
    assert "(tieredcache.E001) CACHES['default']: OPTIONS['LOCAL_TIMOUT'] is 5, an unknown name." in done.stderr
    assert "HINT: CACHES['default']['OPTIONS']['LOCAL_TIMOUT']: Did you mean LOCAL_TIMEOUT?" in done.stderr
    assert "(tieredcache.E002) CACHES['circle']: " in done.stderr
    assert done.returncode == 1


def test_djangos_own_checks_still_tell(tmp_path, monkeypatch):
    """What they have to say of file caches, and what they raise where nothing of ours is wrong."""
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        let_mistakes_be_told()
    registered = checks.registry.registry.registered_checks
    (patient,) = [check for check in registered if check.__name__ == "check_file_based_cache_is_absolute"]
    file = {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": "relative"}
    with override_settings(CACHES={"default": tiered(), "remote": file}):
        assert [message.id for message in patient(None)] == ["caches.W003"]
    with override_settings(CACHES={"default": tiered(JITTER=2), "remote": file}):
        assert patient(None) == []
    gone = {"BACKEND": "no.such.Backend"}
    with override_settings(CACHES={"default": tiered(), "remote": gone}), pytest.raises(InvalidCacheBackendError):
        patient(None)
