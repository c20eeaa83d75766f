"""``manage.py tieredcache``: what it shows, and how it ends."""

import io
import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from django.core import checks
from django.core.management import CommandError, call_command
from django.test import override_settings

from tests.support.caches import LRU
from tests.support.commands import DOUBLE, report, run, settings, tiered
from tieredcache.config.excluded import EXCLUDED_PREFIXES
from tieredcache.config.options import LRUOptions, TieredOptions
from tieredcache.management.commands.tieredcache import Command
from tieredcache.plan.monitor import error_name

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operate.md"
DEAD = {
    "BACKEND": "django_redis.cache.RedisCache",
    "LOCATION": "redis://user:s3cret%2Fword@127.0.0.1:1/0",
    "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 0.1, "CONNECTION_POOL_KWARGS": {"retry": None}},
}


# --- what is shown ---


def test_settings():
    """Every option as it takes effect, in text and JSON; a built-in prefix only where it is overridden."""
    options = {"LOCAL_TIMEOUT": 2, "LOCAL_TIMEOUTS": {"geo.": 600, "rl:": 3}, "SHARE_VALUES": ["geo."]}
    with settings(default=tiered(**options, REMOTE_ERRORS="ignore"), remote=DOUBLE):
        (shown, _), (text, _) = report(), run()
    about = shown["default"]
    expected = {
        "local_timeout": 2,
        "local_timeouts": {"geo.": 600, "rl:": 3},
        "max_entries": 1000,
        "max_bytes": None,
        "miss_timeout": 0,
        "jitter": 0.1,
        "share_values": ["geo."],
        "stale_while_revalidate": 0,
        "stale_if_error": 0,
        "remote_errors": "ignore",
        "retry_after": 1,
    }
    assert about["settings"].items() >= expected.items()
    assert set(about["excluded"]) == set(EXCLUDED_PREFIXES) - {"rl:"}
    for option in about["settings"]:
        assert re.search(rf"^  {option.upper()} +\S", text, re.MULTILINE), option
    assert re.search(r"^  LOCAL_TIMEOUT +2$", text, re.MULTILINE)
    assert re.search(r"^  never kept locally +\S+$", text, re.MULTILINE)
    assert all(f" {prefix}\n" in text for prefix in about["excluded"])


@pytest.mark.parametrize(
    ("options", "bound"),
    [
        ({}, 5),
        ({"LOCAL_TIMEOUTS": {"geo.": 600}}, 600),
        ({"STALE_WHILE_REVALIDATE": 2, "STALE_IF_ERROR": 3600}, 7),
        ({"LOCAL_TIMEOUT": 0, "STALE_WHILE_REVALIDATE": 2}, 0),
    ],
)
def test_the_staleness_bound(options, bound):
    """Of any key; nothing kept locally, no hit."""
    with settings(default=tiered(**options), remote=DOUBLE):
        shown, code = report()
        text, _ = run()
    about = shown["default"]
    assert (about["staleness_bound_seconds"], code) == (bound, 0)
    assert re.search(rf"^  staleness bound +{bound} s$", text, re.MULTILINE)
    assert (about["local_hit_seconds"] is None) == (bound == 0)


def test_an_lru_cache():
    """Has a local tier only."""
    with settings(lru={"BACKEND": LRU, "LOCATION": "lookups", "OPTIONS": {"MAX_ENTRIES": 7}}):
        shown, code = report()
    about = shown["lru"]
    assert (code, about["settings"]["max_entries"]) == (0, 7)
    assert about["local_hit_seconds"] > 0
    assert "remote" not in about


# --- what is wrong ---


@pytest.mark.parametrize("errors", ["ignore", "raise"])
@pytest.mark.parametrize("swallowing", [False, True])
def test_a_dead_remote(errors, swallowing):
    """Is shown with the client's error, also where errors are ignored; the rest is still shown."""
    remote = {**DEAD, "OPTIONS": {**DEAD["OPTIONS"], "IGNORE_EXCEPTIONS": swallowing}}
    with settings(default=tiered(REMOTE_ERRORS=errors), lru={"BACKEND": LRU}, remote=remote):
        (shown, code), (text, _) = report(), run()
    assert code == 1
    assert re.match(r"Connection(Error|Interrupted): Connection refused", shown["default"]["error"])
    assert shown["default"]["remote_read_seconds"] is None
    assert "remote, not reached" in text
    assert shown["lru"]["error"] is None
    assert "s3cret" not in text + json.dumps(shown)


def test_aliases_that_are_not_valid():
    """Are shown with the message that their cache raises, and the others are shown too."""
    aliases = {
        "bad": tiered(LOCAL_TIMEOUTT=3),
        "url": tiered("redis://:s3cret@127.0.0.1:1"),
        "gone": tiered("lost"),
        "lost": {"BACKEND": "no.such.Backend"},
        "typo": {"BACKEND": "tieredcache.backends.TieredCach", "LOCATION": "remote"},
        "odd": tiered("options"),
        "options": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "OPTIONS": {"parser_class": "no.such.Parser"}},
        "fine": tiered(),
    }
    with settings(**aliases, remote=DOUBLE):
        (shown, code), (text, _) = report(), run()
    assert code == 1
    errors = {alias: about["error"] for alias, about in shown.items()}
    assert {alias for alias, error in errors.items() if error} == {"bad", "url", "gone", "typo", "odd"}
    assert "CACHES['bad']: OPTIONS['LOCAL_TIMEOUTT'] is an unknown name. Did you mean LOCAL_TIMEOUT?" in errors["bad"]
    assert "no.such" in errors["gone"]
    assert "TieredCach" in errors["typo"]
    assert errors["url"].startswith("CACHES['url']: LOCATION is a str of 27 (not shown), not an alias in CACHES.")
    assert "Did you mean LOCAL_TIMEOUT?" in text
    assert shown["fine"]["local_hit_seconds"]
    assert "s3cret" not in text + json.dumps(shown)


def test_an_error_that_quotes_a_password():
    """A slash that is not quoted ends a URL's host, and redis-py names what it then takes for the port."""
    remote = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://:s3cret/word@127.0.0.1:1"}
    with settings(default=tiered(), remote=remote):
        (shown, code), (text, _) = report(), run()
    assert (code, shown["default"]["error"]) == (1, "ValueError")
    assert "s3cret" not in text + json.dumps(shown)


def test_an_error_that_is_its_causes_cause():
    """As django-redis raises it for a write to a read-only server: the command must end."""
    error, cause = ValueError(), KeyError()
    error.__cause__, cause.__cause__ = cause, error
    assert error_name(error) == "ValueError"


def test_the_aliases_that_failed_are_named():
    """In the message that Django prints to stderr."""
    with settings(bad=tiered("no"), dead=tiered("remote"), remote=DEAD), pytest.raises(CommandError) as raised:
        call_command(Command(), stdout=io.StringIO())
    assert str(raised.value) == "Something is wrong with bad, dead."


def test_no_tiered_alias():
    """Is no error: the command says so; a script that wants one names it."""
    with settings():
        assert report() == ({}, 0)
        assert run() == ("No alias in CACHES has a local tier.\n", 0)
        assert run("default")[1] == 1


def test_aliases_by_name():
    """Only these are shown, and tried; an unknown one ends the command, which names those there are."""
    with settings(one=tiered(), two=tiered("deadremote"), remote=DOUBLE, deadremote=DEAD):
        shown, code = report("one")
        assert (list(shown), code) == (["one"], 0)
        for unknown in ("three", "remote"):
            with pytest.raises(CommandError, match=rf"'{unknown}' has no local tier\. Aliases that have one: one, two\."):
                call_command(Command(), alias=["one", unknown])


def test_system_checks_do_not_keep_it_from_running(capsys):
    """Also where one fails, as for an alias that is not valid: the others are to be shown."""

    def failing(**_):
        return [checks.Error("something is wrong")]

    with settings(lru={"BACKEND": LRU}):
        checks.register(failing)
        try:
            Command().run_from_argv(["manage.py", "tieredcache"])
        finally:
            checks.registry.registry.registered_checks.discard(failing)
    assert "lru: tieredcache.backends.LRUCache" in capsys.readouterr().out


# --- how it prints, and ends ---


@pytest.mark.parametrize(("encoding", "unit", "alias"), [("ascii", "us", "caf\\xe9"), ("utf-8", "µs", "café")])
def test_ascii_where_the_output_wants_it(encoding, unit, alias, monkeypatch):
    """Nothing raises: the unit is spelt out, and other characters are escaped. JSON is ASCII in any case."""
    monkeypatch.setattr("tieredcache.management.commands.tieredcache._time", lambda *_: 1.96e-3)
    for as_json in (False, True):
        raw = io.BytesIO()
        out = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
        with settings(café=tiered(LOCAL_TIMEOUTS={"ü:": 1}), remote=DOUBLE):
            call_command(Command(), json=as_json, stdout=out, no_color=True)
        printed = raw.getvalue().decode(encoding)
        if not as_json:
            assert f"  remote read             1,960.00 {unit}\n" in printed
            assert printed.startswith(f"{alias}: ")


def manage(*args, **environment):
    """The command as Django finds it, in the shop."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "example_project.settings", **environment}
    command = [sys.executable, "-m", "django", "tieredcache", *args]
    return subprocess.run(
        command, check=False, env=environment, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=300
    )


@pytest.mark.slow
def test_exit_codes():
    """Of the command itself: those of the page. What is printed is JSON whatever they say."""
    dead = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    for alias, code in (("default", 1), ("local", 0)):
        done = manage("--json", "--alias", alias, **dead)
        assert (done.returncode, list(json.loads(done.stdout))) == (code, [alias])
    assert "Something is wrong with default." in manage("--alias", "default", **dead).stderr
    assert manage("--alias", "nobody").returncode == 1
    assert manage("--no-such-option").returncode == 2


def test_the_page_shows_what_is_printed(valkey_url):
    """Except the times that were measured; where the terminal is ASCII, it ends well too."""
    environment = {"REDIS_URL": f"{valkey_url}/8"}
    done = manage("--alias", "default", "--alias", "local", **environment, PYTHONIOENCODING="utf-8")
    assert (done.returncode, done.stderr) == (0, "")
    shown = re.search(r"^```text\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)[1]

    def without_times(text):
        return re.sub(r"^(  (?:local hit|remote read) +)[\d.,]+ µs$", r"\1", text, flags=re.MULTILINE)

    assert without_times(done.stdout) == without_times(shown)
    assert without_times(shown) != shown
    plain = manage("--alias", "default", "--alias", "local", **environment, PYTHONIOENCODING="ascii")
    assert (plain.returncode, plain.stderr) == (0, "")
    assert plain.stdout.isascii()


def names(value, path="*"):
    """The names in the JSON of one alias, dotted."""
    if isinstance(value, dict) and not path.endswith("local_timeouts"):
        for name, part in value.items():
            yield from names(part, f"{path}.{name}")
    else:
        yield path


def test_the_page_names_everything():
    """The names in the JSON are those of the page, no more and no fewer."""
    found = set()
    with override_settings(CACHES={"default": tiered(), "lru": {"BACKEND": LRU}, "bad": tiered("no"), "remote": DOUBLE}):
        for about in report()[0].values():
            found.update(names(about))
    section = re.search(r"^### JSON\n(.*?)^##", PAGE.read_text(), re.MULTILINE | re.DOTALL)[1]
    listed = re.findall(r"^- `([^`]+)`: ", section, re.MULTILINE)
    # The page names them by a line for all.
    options = {f"*.settings.{option.name}" for kind in (TieredOptions, LRUOptions) for option in fields(kind)}
    assert {name for name in found if name.startswith("*.settings.")} == options
    assert sorted(listed) == sorted({*found} - options | {"*.settings.*"})
