"""A site that follows the page on moving gets what it says: one application, served by two workers, before and after.

The settings and the changes are the page's own text. Every scene of ``moving/scenes.py`` is played on both sides; it is
answered alike, or the page lists it among what changes, and ``moving/changes.py`` says how it is answered then.
"""

import importlib.util
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import pytest
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from tests.interop.moving.changes import CHANGES, ELSEWHERE, OPTIONS
from tests.interop.moving.pages import MOVES, PAGE, patched
from tests.interop.moving.scenes import SCENES, run
from tests.interop.moving.site import PROJECT, Site

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[1]
NEEDS = "django_cachex"
# How a backend answers that has no such method, argument or alias.
ABSENT = {"AttributeError", "InvalidCacheBackendError", "NotImplementedError", "NotSupportedError", "TypeError"}


def runs(settings):
    """Whether this interpreter has what these settings name.

    django-cachex needs Python 3.14, and a group of its own: the benchmarks' is a later one, without a tiered backend.
    """
    if NEEDS not in settings or (importlib.util.find_spec(NEEDS) and version("django-cachex").startswith("0.4.")):
        return True
    assert not os.environ.get("CACHEX"), "django-cachex 0.4 was promised, and is not installed"
    return False


def needs(*settings):
    if not all(map(runs, settings)):
        pytest.skip("django-cachex 0.4 is not installed: make moving, on Python 3.14")


@pytest.fixture(scope="module")
def make_site(valkey_url, tmp_path_factory):
    """Makes the site with these settings, and the page's other changes where it has moved."""

    def make(settings, diffs=()):
        settings = settings.replace("redis://127.0.0.1:6379", valkey_url)
        # The machine that tests may be busy.
        settings = re.sub(r'(_timeout": )0.5', r"\g<1>30", settings, flags=re.IGNORECASE)
        files = {"settings.py": (PROJECT / "settings.py").read_text().replace("CACHES = {}\n", settings)}
        for name, change in diffs:
            files[name] = patched(files.get(name) or (PROJECT / name).read_text(), change)
        return Site(tmp_path_factory.mktemp("site"), files, f"{valkey_url}/1")

    return make


@pytest.fixture(scope="module")
def answers(make_site):
    """The answers of all scenes, which are played once for each text of settings and changes."""
    played = {}

    def play(settings, diffs=()):
        if (settings, diffs) not in played:
            with make_site(settings, diffs) as site:
                played[settings, diffs] = {**run(site), "manage.py check": site.manage("check")}
                site.flush()
        return played[settings, diffs]

    return play


def differences(before, after):
    return {title: (before[title], after[title]) for title in SCENES if before[title] != after[title]}


every_move = pytest.mark.parametrize("move", MOVES, ids=str)


@every_move
def test_the_site_answers_as_before_but_for_what_the_page_lists(move, answers):
    """All differences, exactly, and no other."""
    needs(move.before, move.after)
    found = differences(answers(move.before), answers(move.after, move.diffs))
    assert found == CHANGES[str(move)]


@every_move
def test_the_moved_site_answers_as_the_page_says(move, answers):
    """Where what it came from does not run, the answers after are held to what they are elsewhere."""
    needs(move.after)
    after = answers(move.after, move.diffs)
    for title, (_, changed) in CHANGES[str(move)].items():
        assert after[title] == changed
    for title in set(move.same) - set(ELSEWHERE):
        assert (not ABSENT.isdisjoint(after[title])) == (title in move.neither), title


@every_move
def test_the_page_lists_every_scene(move):
    """Among what stays or among what changes; and what is in neither list of ours is tested elsewhere."""
    ours = CHANGES[str(move)]
    assert sorted(set(move.same) - set(ELSEWHERE)) == sorted(title for title in SCENES if title not in ours)
    assert set(move.neither) <= set(move.same)
    listed = [title for title in move.changes if title not in ELSEWHERE]
    assert sorted(listed) == sorted(ours)
    for title in set(move.changes) - set(listed):
        module, test = ELSEWHERE[title].split("::")
        assert f"def {test}(" in (TESTS / module).read_text()


@every_move
def test_manage_py_check_finds_what_the_page_says(move, answers):
    """With the page's settings and the app: nothing, except for the site's sessions where processes share none."""
    needs(move.after)
    told = answers(move.after, move.diffs)["manage.py check"]
    assert tuple(re.findall(r"\((\w+\.[EW]\d+)\)", told)) == move.checks
    assert bool(move.checks) == ("no issues" not in told)
    assert '+    "tieredcache",' in "".join(change for _, change in move.diffs), "without the app nothing of ours is checked"


@pytest.mark.parametrize("move", [move for move in MOVES if "redis://" in move.before], ids=str)
def test_both_run_side_by_side(move, make_site):
    """As they do in a roll-out, and when it is taken back: each reads, counts on and deletes what the other wrote."""
    needs(move.before, move.after)
    values = {"number": 1, "text": "text", "list": [1, (2,)], "none": None, "float": 1.5, "bool": True}
    with make_site(move.before) as old, make_site(move.after, move.diffs) as new:
        old.flush()
        for writer, reader in [(old, new), (new, old)]:
            for name, value in values.items():
                writer.ask("a", "set", name, value, 60)
                if value is not None or reader is new:  # FallthroughCache takes None for a miss
                    assert reader.ask("b", "get", name) == repr(value)
            assert writer.ask("a", "incr", "number") == "2"
            assert reader.ask("a", "get", "number") == "2"
            assert writer.raw_keys() == sorted(f":1:{name}" for name in values)
            writer.ask("a", "delete_many", list(values))
            assert writer.raw_keys() == []
            for site in (old, new):
                site.move(61)


def test_local_timeout_0_first(answers):
    """The page says of django-redis that this answers as before, except for what is not a matter of time."""
    (move,) = [move for move in MOVES if move.name == "redis"]
    first = move.after.replace('"LOCAL_TIMEOUT": 5', '"LOCAL_TIMEOUT": 0')
    assert first != move.after
    found = differences(answers(move.before), answers(first, move.diffs))
    assert sorted(found) == ["`get(key, client=...)`", "`stats()`", "a stored value that no longer decodes"]


def test_what_local_timeout_0_does_not_switch_off(make_cache, clock):
    """Two more rows, of what no single visitor sees: one thread makes a value, one reader tries a server that is down."""
    cache = make_cache("django-redis", LOCAL_TIMEOUT=0, RETRY_AFTER=1)
    calls, release = [], threading.Event()

    def make():
        calls.append(1)
        release.wait(10)
        return "made"

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get_or_set, "moving", make)
        while not calls:
            threading.Event().wait(0.001)
        second = pool.submit(cache.get_or_set, "moving", make)
        while len(cache.inflight.under_way) < 2:
            threading.Event().wait(0.001)
        release.set()
        assert [first.result(10), second.result(10)] == ["made", "made"]
    assert len(calls) == 1
    with mock.patch.object(type(cache._reader()), "get", side_effect=ConnectionError("down")) as read:
        for pause in (1, 0, 0):  # failures for RETRY_AFTER seconds, and the remote is known to be down
            with pytest.raises(ConnectionError):
                cache.get("moving")
            clock.move(pause)
    assert read.call_count == 2


@every_move
def test_options_go_where_the_page_says(move):
    """Each option of the old backend: accepted where it belongs now, refused where it has no meaning."""
    assert sorted(move.options) == sorted(OPTIONS[str(move)])
    needs(move.after)
    names = {}
    exec(move.after, names)
    for option, cases in OPTIONS[str(move)].items():
        for alias, settings, accepted in cases:
            config = {**names["CACHES"][alias], **settings}
            if "OPTIONS" in settings:
                config["OPTIONS"] = {**names["CACHES"][alias].get("OPTIONS", {}), **settings["OPTIONS"]}
            with override_settings(CACHES={**names["CACHES"], alias: config}):
                if accepted:
                    assert caches[alias], option
                else:
                    with pytest.raises(ImproperlyConfigured, match=next(iter(settings.get("OPTIONS", settings)))):
                        caches[alias]


def test_aliases_that_had_a_name():
    """LRUObjectCache ignored ``NAME``: two aliases without a ``LOCATION`` were one store, and are two now."""
    old = "lrucache_backend.LRUObjectCache"
    new = "tieredcache.backends.LRUCache"
    seen = []
    for backend in (old, new):
        with override_settings(
            CACHES={
                "default": {"BACKEND": backend, "NAME": "moving one"},
                "other": {"BACKEND": backend, "NAME": "moving two"},
            }
        ):
            caches["default"].set("moving", 1)
            seen.append(caches["other"].get("moving"))
            caches["default"].clear()
    assert seen == [1, None]


def test_every_way_is_in_the_table_at_the_top():
    """Of the five starting points, each with its ways and where to read of them."""
    table = re.findall(r"^\| .+ \| (\[.+) \|.*\|$", PAGE.read_text(), re.MULTILINE)
    assert len(table) == 5
    led_to = re.findall(r"\[`([\w-]+)`\]\(#[\w-]+-\1\)", "".join(table))
    assert led_to == [move.name for move in MOVES]
    assert {*CHANGES} == {*OPTIONS} == {*led_to}
