"""The documentation's code runs, its links lead somewhere, and its tables name every option."""

import re
from pathlib import Path

import pytest
from django.core.cache import caches
from django.test import override_settings
from django.utils.module_loading import import_string

from tieredcache.options import _TIERED

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))
]


@pytest.mark.parametrize("block", BLOCKS)
def test_code_blocks_run(block):
    """Settings make the caches they describe, and middleware; code does what it says over them."""
    names = {}
    if "CACHES" in block or "MIDDLEWARE" in block:
        exec(block, names)
        for path in names.get("MIDDLEWARE", []):
            import_string(path)(lambda request: None)
        with override_settings(CACHES={"default": {}} | names.get("CACHES", {})):
            for alias in names.get("CACHES", {}):
                assert caches[alias]
        return
    exec(block, names)
    if "may_enter" in names:
        from django.core.cache import cache

        cache.clear()
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


def test_every_option_is_documented():
    """In the README's table, by name."""
    text = (ROOT / "README.md").read_text()
    for name in _TIERED:
        assert f"| `{name}` |" in text


def test_every_make_target_is_listed_as_phony():
    """Or a file of that name would hide it."""
    text = (ROOT / "Makefile").read_text()
    phony = set(re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split())
    assert set(re.findall(r"^([a-z-]+):", text, re.MULTILINE)) == phony


def test_the_readme_is_short():
    """One can read it to the end."""
    assert len((ROOT / "README.md").read_text().splitlines()) < 150


def test_the_figures_are_those_that_were_measured():
    """The page on performance says what the stored runs say."""
    from benchmarks import report

    assert report.figures() in report.PAGE.read_text()
    assert [run["python"][:4] for run in report.saved()] == ["3.11", "3.13"]
