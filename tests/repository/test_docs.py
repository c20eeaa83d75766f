"""The documentation's code runs, its links lead somewhere, and its tables name every option."""

import ast
import copy
import re
from dataclasses import fields
from pathlib import Path

import pytest
from django.conf import settings
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django.utils.module_loading import import_string

from tieredcache.backends import TieredCache
from tieredcache.checks.caches import check_caches
from tieredcache.config.excluded import EXCLUDED, EXCLUDED_PREFIXES
from tieredcache.config.options import LRUOptions, TieredOptions, read_lru_options, read_tiered_options
from tieredcache.middleware import ReadYourWritesMiddleware

pytestmark = pytest.mark.source

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
OPTIONS = (ROOT / "docs" / "options.md").read_text()
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    if page.name != "moving.md"  # run by tests/interop/test_moving.py: half of it is of other backends
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))
]


@pytest.mark.parametrize("block", BLOCKS)
def test_code_blocks_run(block):
    """Settings make the caches they describe, and middleware, and pass the checks; code does what it says over them."""
    names = {}
    if "CACHES" in block or "MIDDLEWARE" in block:
        exec(block, names)
        with override_settings(**{name: value for name, value in names.items() if name.startswith("TIEREDCACHE_")}):
            for path in names.get("MIDDLEWARE", []):
                import_string(path)(lambda request: None)
        with override_settings(CACHES={"default": {}} | names.get("CACHES", {})):
            for alias in names.get("CACHES", {}):
                assert caches[alias]
            assert {message.id for message in check_caches()} <= {"tieredcache.W003"}  # settings for tests have LocMemCache
        return
    with override_settings(CACHES=copy.deepcopy(settings.CACHES)):  # tiers of its own
        cache = caches["default"]
        cache.clear()
        exec(block, names)
        if "may_enter" in names:
            cache.set("permissions:1", "yes")
            cache.get("permissions:1")
            cache.remote.set("permissions:1", "no")
            assert cache.get("permissions:1") == "yes"
            assert names["may_enter"](1) == "no"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """Those within the project."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def documented(heading):
    """The options in the table under ``heading`` of the page on options: name to default and what is refused."""
    table = re.search(rf"^## `{heading}`$(.*?)(?=^## )", OPTIONS, re.MULTILINE | re.DOTALL)[1]
    rows = re.findall(r"^\| \[?`([A-Z_]+)`.*\| `([^`]+)` \| ([^|]+) \|$", table, re.MULTILINE)
    return {name: (ast.literal_eval(default), refused) for name, default, refused in rows}


def parsed(heading, **options):
    if heading == "LRUCache":
        return read_lru_options(object, "place", {"OPTIONS": options})
    return read_tiered_options(TieredCache, "remote", {"OPTIONS": options})


@pytest.mark.parametrize(("heading", "known"), [("TieredCache", TieredOptions), ("LRUCache", LRUOptions)])
def test_every_option_is_documented_with_its_default(heading, known):
    """Setting an option to the default that the page names is as not setting it."""
    found = documented(heading)
    assert found.keys() == {option.name.upper() for option in fields(known)}
    for name, (default, _) in found.items():
        assert parsed(heading, **{name: default}) == parsed(heading)


@pytest.mark.parametrize("heading", ["TieredCache", "LRUCache"])
def test_what_is_said_to_be_refused_is(heading):
    """The limits in the tables."""
    limits = 0
    for name, (_, refused) in documented(heading).items():
        for side, limit in re.findall(r"(below|above) (\d)", refused):
            limits += 1
            number = int(limit) + (1 if side == "above" else -1)
            with pytest.raises(ImproperlyConfigured, match=f"{name}.*is .*{number}"):
                parsed(heading, **{name: {"prefix": number} if name == "LOCAL_TIMEOUTS" else number})
    assert limits == {"TieredCache": 14, "LRUCache": 4}[heading]


def test_every_option_says_when_to_change_it():
    """In a section of its own, where the table's links lead."""
    for name in documented("TieredCache"):
        assert f"[`{name}`](#{name.lower()})" in OPTIONS
        assert f"### `{name}`\n" in OPTIONS


def test_the_readme_has_the_same_defaults():
    """Its table is the short one."""
    rows = re.findall(r"^\| `([A-Z_]+)` \| `([^`]+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {name: ast.literal_eval(default) for name, default in rows} == {
        name: default for name, (default, _) in documented("TieredCache").items()
    }


def test_the_prefixes_built_in_are_documented():
    """As never stored locally, each."""
    page = (ROOT / "docs" / "sessions.md").read_text()
    assert "Keys with these prefixes are never stored locally" in page
    prefixes = re.findall(r"^\| `([^`]+)` \| .+? \| `[^`]+:\d+` \|", page, re.MULTILINE)
    assert dict.fromkeys(prefixes, 0) == EXCLUDED_PREFIXES


def test_the_packages_of_the_table_are_documented():
    """Prefix, package and version, source and line: docs/sessions.md has the rows of config/excluded.py, in their order."""
    page = (ROOT / "docs" / "sessions.md").read_text()
    rows = re.findall(r"^\| `([^`]+)` \| (.+?) \| `([^`]+:\d+)` \| .+ \|$", page, re.MULTILINE)
    assert rows == [(row.prefix, row.package, row.source) for row in EXCLUDED]


@pytest.mark.parametrize("line", re.findall(r"^CACHES\['default'\]: .*$", OPTIONS, re.MULTILINE))
def test_messages_are_what_is_raised(line):
    """The examples on the page on options."""
    name, value = re.search(r"OPTIONS\['(\w+)'\] is (\d+)", line).groups()
    config = {**settings.CACHES["default"], "OPTIONS": {name: int(value)}}
    with (
        override_settings(CACHES={**settings.CACHES, "default": config}),
        pytest.raises(ImproperlyConfigured, match=f"^{re.escape(line)}$"),
    ):
        caches["default"]


def test_the_settings_of_the_middleware_are_documented_with_their_defaults():
    """On the page that introduces it."""
    rows = re.findall(r"^\| `(TIEREDCACHE_\w+)` \| `([^`]+)` \|", (ROOT / "docs/staleness.md").read_text(), re.MULTILINE)
    made = ReadYourWritesMiddleware(lambda request: None)
    assert {name: ast.literal_eval(default) for name, default in rows} == {
        "TIEREDCACHE_COOKIE_NAME": made._name,
        "TIEREDCACHE_CLOCK_MARGIN": made._margin,
    }


def test_every_make_target_is_listed_as_phony():
    """Or a file of that name would hide it."""
    text = (ROOT / "Makefile").read_text()
    phony = set(re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split())
    assert set(re.findall(r"^([a-z-]+):", text, re.MULTILINE)) == phony


def test_the_readme_is_short():
    """One can read it to the end."""
    assert len((ROOT / "README.md").read_text().splitlines()) < 130


def test_the_documentation_is_short():
    """All of it can be read in an afternoon: a new sentence takes the place of an old one."""
    pages = list((ROOT / "docs").rglob("*.md"))
    assert pages
    assert sum(len(page.read_text().split()) for page in pages) <= 16_000


def test_the_figures_are_those_that_were_measured():
    """The pages say what the stored runs say, and lead to each of them."""
    from benchmarks.figures import report

    runs = report.saved()
    assert runs
    for page, figures in report.PAGES.items():
        assert figures(runs) in page.read_text()
    for run in runs:
        assert f"(performance/python{run['python'].rpartition('.')[0]}.json)" in (report.DOCS / "performance.md").read_text()


def test_a_comparison_that_one_python_lacks_leaves_its_cells_empty():
    """And does not keep the page from being made."""
    from benchmarks.figures import report

    old, new = copy.deepcopy(report.saved()[-1]), report.saved()[-1]
    old["python"] = "3.9.0"
    del report.named(old)["set"]["ns"]["TieredCache"]
    row = next(line for line in report.by_python([old, new], "set").splitlines() if line.startswith("| TieredCache"))
    assert row.startswith("| TieredCache |  | ")
    old["comparisons"] = [found for found in old["comparisons"] if found["name"] != "set"]
    assert "Python 3.9.0" not in report.by_python([old, new], "set")
    assert report.figures([old, new])
    assert report.by_python([old, new], "never measured") == ""


@pytest.mark.slow
def test_the_figures_on_sizing_are_those_that_are_computed():
    """The page says what the script says; and its example of memory starts from what was measured."""
    from benchmarks.figures import page, sizing

    text = page.PERFORMANCE.read_text()
    assert sizing.figures() in text
    assert f"entry, key, value = {sizing.bytes_of_an_entry()}, " in text
