"""The project around the package: what it claims is what is tested, and what it names is there."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import pytest
import yaml
from django.core.cache.backends.base import BaseCache

import tieredcache
import tieredcache.backends
from tests import release

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())

GOOD = """# Changelog

## [Unreleased]

### Added

- Something to come.

## [1.10.0] - 2026-03-01

### Fixed

- A fault.

## [1.9.0] - 2026-02-01

### Added

- Everything.
"""
RELEASED = GOOD.replace("### Added\n\n- Something to come.\n\n", "")


@pytest.fixture(scope="module")
def matrix():
    """The noxfile, read from elsewhere; it names pyenv's versions in the environment."""
    with mock.patch.dict(os.environ):
        spec = importlib.util.spec_from_file_location("noxfile", ROOT / "noxfile.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


def claimed(kind):
    found = [name.rpartition(" :: ")[2] for name in PROJECT["project"]["classifiers"] if name.startswith(f"{kind} :: ")]
    return {name for name in found if re.fullmatch(r"\d\.\d+", name)}


def test_the_matrix_is_what_the_classifiers_claim(matrix):
    """Each Python with each Django that exists for it, and both ends of django-redis."""
    cells = [tuple(cell.args) for cell in matrix.cells()]
    assert len(cells) == len(set(cells))
    assert {python for python, _, _ in cells} == claimed("Programming Language :: Python")
    assert {django for _, django, _ in cells} == claimed("Framework :: Django") == {"5.2", "6.0", "6.1"}
    assert {django for python, django, _ in cells if python == "3.11"} == {"5.2"}  # later ones want Python 3.12
    assert {(python, django) for python, django, client in cells if client == "oldest"} == {cell[:2] for cell in cells}
    assert {(python, django) for python, django, client in cells if client == "newest"} == {cell[:2] for cell in cells}


def test_the_ends_are_the_least_and_the_most(matrix):
    """One cell has the lower bounds of all that the wheel names; each Python has one with the newest."""
    ends = {tuple(cell.args): cell.tags for cell in matrix.cells() if cell.tags}
    assert ends == {
        ("3.11", "5.2", "oldest"): ["oldest"],
        ("3.11", "5.2", "newest"): ["newest"],
        ("3.12", "6.1", "newest"): ["newest"],
        ("3.13", "6.1", "newest"): ["newest"],
        ("3.14", "6.1", "newest"): ["newest"],
    }
    pins = matrix.pins("3.11", "5.2", "oldest")
    bounds = PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["redis"]
    assert pins == [bound.replace(">=", "==") for bound in bounds]
    assert matrix.pins("3.13", "6.1", "newest") == ["django==6.1.*"]
    assert matrix.pins("3.13", "6.1", "oldest") == ["django==6.1.*", *(pin for pin in pins if "django-redis" in pin)]


def test_what_some_cells_leave_out_exists(matrix):
    """A file that has been renamed would be run by them again, unnoticed."""
    assert [name for name in matrix.APART + matrix.OF_THE_SOURCE if not (ROOT / "tests" / name).exists()] == []


@pytest.mark.parametrize("page", [".ci/run", "CONTRIBUTING.md", "README.md", "noxfile.py", ".pre-commit-config.yaml"])
def test_every_target_that_is_named_exists(page):
    """``make`` and the word after it."""
    text = (ROOT / page).read_text()
    named = [
        word for words in re.findall(r"(?:^\s*|`|\$ |\()make ((?:[a-z-]+ ?)+)", text, re.MULTILINE) for word in words.split()
    ]
    assert named
    assert set(named) <= TARGETS


def test_the_workflow_runs_make_targets():
    """And nothing else, but for what the machine has to have."""
    runs = [step["run"] for job in WORKFLOW["jobs"].values() for step in job["steps"] if "run" in step]
    made = [run for run in runs if not run.startswith("apt-get ")]
    targets = {re.match(r"make ([a-z-]+)", run)[1] for run in made}
    assert targets <= TARGETS
    assert targets >= {"lint", "test", "test-all", "release-check", "bench", "chaos", "destructors"}


def test_the_workflow_runs_every_python_that_is_claimed():
    """As the classifiers do."""
    assert set(WORKFLOW["jobs"]["matrix"]["strategy"]["matrix"]["python"]) == claimed("Programming Language :: Python")


def test_every_promise_is_led_to_its_tests():
    """By CONTRIBUTING.md, in the order of the page."""
    rows = re.findall(r"^\| ([A-Z][^|`]+) \| (`tests/.+) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    promises = re.findall(r"^## (.+)$", (ROOT / "docs/promises.md").read_text(), re.MULTILINE)
    assert [promise for promise, _ in rows] == promises
    for _, tests in rows:
        for path in re.findall(r"`(.+?)`", tests):
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md"])
def test_links_lead_somewhere(page):
    """Those within the project."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text())
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def imports():
    """The parts of the package (its modules, its folders) that each part imports where it is imported itself."""
    package = Path(tieredcache.__file__).parent
    parts = {}
    for path in package.rglob("*.py"):
        part = path.relative_to(package).parts[0].removesuffix(".py")
        found = parts.setdefault(part, set())
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "tieredcache":
                names = [node.module.partition(".")[2]] if "." in node.module else [alias.name for alias in node.names]
                found.update(name.partition(".")[0] for name in names)
        found.discard(part)
    return parts


def test_dependencies_run_one_way():
    """No part of the package needs one that needs it; and nothing below the backends needs these."""
    parts = imports()
    order = list(TopologicalSorter(parts).static_order())  # raises where there is a circle
    below = order[: order.index("backends")]
    assert {"tier", "store", "fill", "readers", "registry", "options"} <= set(below)
    assert {"checks", "report", "metrics", "middleware", "lookups"} & parts["backends"] == set()


def test_the_local_tier_knows_nothing_of_django():
    """Nor what it is made of: only the readers and the backends do."""
    code = "import sys, tieredcache.tier; print([name for name in sys.modules if name.partition('.')[0] == 'django'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_the_version_is_that_of_pyproject():
    """Nothing else states it."""
    assert version("django-tieredcache") == PROJECT["project"]["version"]
    assert not hasattr(tieredcache, "__version__")


def test_every_public_call_is_typed_in_the_file_that_is_checked():
    """Django's interface, sync and async, and all that is exported."""
    text = (ROOT / "tests/typed.py").read_text()
    inner = {"make_key", "validate_key", "make_and_validate_key", "get_backend_timeout"}
    calls = {name for name in vars(BaseCache) if not name.startswith("_") and callable(getattr(BaseCache, name))} - inner
    assert {"get", "aget", "incr_version", "adecr_version"} <= calls
    assert {name for name in calls if f"cache.{name}(" not in text} == set()
    exported = {*tieredcache.__all__, *tieredcache.backends.__all__, "LookupTable", "ReadYourWritesMiddleware"}
    assert {name for name in exported if not re.search(rf"\b{name}\b(?!.*import)", text)} == set()
    fields = set(tieredcache.Stats.__dataclass_fields__) | {"hit_ratio"}
    assert {name for name in fields if f"stats.{name}" not in text} == set()


def test_the_changelog_is_in_its_form():
    """And goes with the version of the package."""
    text = (ROOT / "CHANGELOG.md").read_text()
    assert release.changelog_problems(text, PROJECT["project"]["version"]) == []


@pytest.mark.parametrize(
    ("text", "version", "releasing"),
    [(GOOD, "1.11.0", False), (GOOD, "1.10.0", False), (RELEASED, "1.10.0", False), (RELEASED, "1.10.0", True)],
)
def test_a_changelog_may_be(text, version, releasing):
    """Ahead by what is unreleased, or, where a version is released, of that version."""
    assert release.changelog_problems(text, version, releasing=releasing) == []


@pytest.mark.parametrize(
    ("text", "version", "releasing", "problem"),
    [
        ("# Changelog\n", "1.0.0", False, "the first section is to be"),
        (GOOD.replace("[Unreleased]", "Unreleased"), "1.11.0", False, "the first section is to be"),
        (GOOD.replace("2026-03-01", "March"), "1.11.0", False, "## [1.10.0] - March is to be"),
        (GOOD.replace("2026-03-01", "2026-13-01"), "1.11.0", False, "## [1.10.0] - 2026-13-01 is to be"),
        (GOOD.replace("1.10.0", "1.8.0"), "1.11.0", False, "the newest version is to come first"),
        (GOOD.replace("2026-03-01", "2026-01-01"), "1.11.0", False, "the newest version is to come first"),
        (GOOD.replace("Fixed", "Mended"), "1.11.0", False, "### Mended under [1.10.0] - 2026-03-01 is to be one of"),
        (GOOD.replace("- A fault.", ""), "1.11.0", False, "### Fixed under [1.10.0] - 2026-03-01 lists nothing"),
        (GOOD, "1.9.0", False, "ahead of pyproject.toml"),
        (RELEASED, "1.11.0", False, "says nothing of 1.11.0"),
        (GOOD, "1.10.0", True, "to release 1.10.0"),
        (RELEASED, "1.11.0", True, "to release 1.11.0"),
    ],
)
def test_a_changelog_may_not_be(text, version, releasing, problem):
    """Out of its form, or at odds with the package; what is wrong is said."""
    assert any(problem in found for found in release.changelog_problems(text, version, releasing=releasing))


def test_the_readme_of_an_index_leads_nowhere_that_is_not_there():
    """The build writes paths for links into the project, and leaves its pictures out."""
    text = (ROOT / "README.md").read_text()
    assert release.link_problems(text)
    for rule in PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    assert release.link_problems(text) == []
    assert "The promises (docs/promises.md)" in text
    assert "![" not in text


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"tieredcache/__init__.py"}, "lacks tieredcache/py.typed"),
        ({"tieredcache/__init__.py", "tieredcache/py.typed", "tests/bare.py"}, "has tests/bare.py"),
        ({"tieredcache/py.typed"}, "lacks tieredcache/__init__.py"),
    ],
)
def test_the_wheel_is_the_package_and_no_more(files, problem):
    """Types and all, and no tests."""
    tracked = {"tieredcache/__init__.py", "tieredcache/py.typed", "tests/bare.py", "Makefile"}
    of_installers = {"django_tieredcache-1.0.0.dist-info/METADATA"}
    (found,) = release.wheel_problems(files | of_installers, tracked)
    assert found.startswith(f"the wheel {problem}")
    package = {"tieredcache/__init__.py", "tieredcache/py.typed"}
    assert release.wheel_problems(package | of_installers, tracked) == []


def test_the_source_distribution_is_the_repository():
    """So that its tests can be run; and nothing that lies about."""
    tracked = {"Makefile", "tests/bare.py"}
    names = [f"x-1.0.0/{name}" for name in (*tracked, "PKG-INFO")]
    assert release.sdist_problems(names, tracked) == []
    assert release.sdist_problems(names[1:], tracked) != []
    (found,) = release.sdist_problems([*names, "x-1.0.0/notes.txt"], tracked)
    assert "notes.txt" in found
