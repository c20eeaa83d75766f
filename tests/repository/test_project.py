"""The project around the package: what it claims is what is tested, and what it names is there."""

import ast
import functools
import importlib.util
import os
import re
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
from tests.repository import release

ROOT = Path(__file__).parents[2]
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
    """A folder or mark that has been renamed would be run by them again, unnoticed."""
    assert [name for name in matrix.APART if not (ROOT / "tests" / name).is_dir()] == []
    marks = {mark.partition(":")[0] for mark in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
    for chosen in (matrix.NOT_OF_THE_WHEEL, matrix.OLDEST, matrix.BETWEEN):
        assert set(chosen.split()) - {"and", "not"} <= marks


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "README.md", "noxfile.py", ".pre-commit-config.yaml"])
def test_every_target_that_is_named_exists(page):
    """``make`` and the word after it."""
    text = (ROOT / page).read_text()
    named = [
        word for words in re.findall(r"(?:^\s*|`|\$ |\()make ((?:[a-z-]+ ?)+)", text, re.MULTILINE) for word in words.split()
    ]
    assert named
    assert set(named) <= TARGETS


def test_every_target_that_guards_main_exists():
    """In .ci/run: the linters first, then the suite, and then the others, as long as there is time."""
    text = (ROOT / ".ci/run").read_text()
    steps = re.findall(r"^ *step \S+ make ([a-z-]+)", text, re.MULTILINE)
    assert steps[:2] == ["lint", "test"]
    assert {"test-slow", "test-all", "release-check", "docs"} <= set(steps) <= TARGETS


def test_the_workflow_runs_make_targets():
    """And nothing else, except for what the machine has to have."""
    runs = [step["run"] for job in WORKFLOW["jobs"].values() for step in job["steps"] if "run" in step]
    made = [run for run in runs if not run.startswith("apt-get ")]
    targets = {re.match(r"make ([a-z-]+)", run)[1] for run in made}
    assert targets <= TARGETS
    assert targets >= {"lint", "test", "test-slow", "test-all", "release-check", "bench", "chaos", "destructors"}


def test_the_workflow_runs_every_python_that_is_claimed():
    """As the classifiers do."""
    assert set(WORKFLOW["jobs"]["matrix"]["strategy"]["matrix"]["python"]) == claimed("Programming Language :: Python")


def test_every_promise_is_led_to_its_tests():
    """By CONTRIBUTING.md, in the order of the page."""
    rows = re.findall(r"^\| ([A-Z][^|`]+) \| (`tests/.+) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    section = (ROOT / "docs/staleness.md").read_text().partition("\n## Promises\n")[2]
    promises = re.findall(r"^### (.+)$", section, re.MULTILINE)
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


# --- the layout of the package ---

PACKAGE = Path(tieredcache.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix("."): path.read_text()
    for path in sorted(PACKAGE.rglob("*.py"))
}
"""The text of each module by its name inside the package; that of the package itself is the empty one."""
PARTS = {name.partition(".")[0] for name in MODULES}

# The parts of the core, and what each of them may import. Nothing of the core imports the backends.
CORE = {
    "clock": set(),
    "local": {"clock"},
    "freshness": {"clock"},
    "remote": {"local", "clock"},
    "config": {"local", "remote"},
    "middleware": {"freshness", "config", "clock"},
    "backends": {"local", "remote", "config", "freshness", "clock"},
    "handlers": {"backends"},
    "": {"handlers", "local", "remote", "freshness"},
}
AROUND = {"apps", "checks", "lookups", "management", "metrics", "plan"}
# The core's names for its surroundings: what its packages export, and a name each of two modules.
# Besides: the planner runs traces through the tier itself, as the backends do.
ALLOWED = {"plan": {"local.tier", "local.entries.MISSING", "local.entries.UNKNOWN", "remote.prefetch"}}
PUBLIC = {
    "clock": {"clock"},
    "": {"RemoteOutage", "Stats", "cache", "caches", "fresh"},
    "backends": {"LRUCache", "TieredCache"},
    "config": {
        *("EXCLUDED", "Excluded", "LRUOptions", "Mistake", "Number", "TieredOptions"),
        *("given", "read_lru_options", "read_tiered_options"),
    },
    "freshness": {"accepts_once"},
    "local": {"PATIENCE", "Computation", "running_loop", "time_limits"},
    "middleware": {"ReadYourWritesMiddleware"},
    "remote": {"Reader", "client_error", "reader_for"},
}


def statements(node):
    """All statements below, except for those that only type checkers read."""
    for child in ast.iter_child_nodes(node):
        for_types = isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"
        if isinstance(child, (ast.stmt, ast.ExceptHandler)) and not for_types:
            yield child
            yield from statements(child)


@functools.cache
def imported(module):
    """What a module imports where it runs, by its whole name: ``json``, ``tieredcache.local.entries.NEVER``."""
    names = set()
    for node in statements(ast.parse(MODULES[module])):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"tieredcache.{module} imports by a relative path"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def own(module):
    """The names that a module imports from the package, without ``tieredcache.``."""
    return {name.partition(".")[2] for name in imported(module) if name.partition(".")[0] == "tieredcache"}


def part(name):
    """The part of the package that a module or an imported name belongs to: a folder, or a module at its top."""
    first = name.partition(".")[0]
    return first if first in PARTS else ""


def module_of(name):
    """The module that an imported name is looked up in."""
    while name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def test_no_module_has_more_than_300_lines():
    """One can keep a module in mind."""
    assert {module: lines for module, text in MODULES.items() if (lines := text.count("\n")) > 300} == {}


def test_the_package_has_no_more_lines_than_promised():
    """A new mechanism takes the place of an old one."""
    assert sum(text.count("\n") for text in MODULES.values()) <= 7680


def test_what_stands_around_the_core_has_no_more_lines_than_promised():
    """It is what people can do without."""
    assert sum(text.count("\n") for module, text in MODULES.items() if part(module) in AROUND) <= 2537


def test_no_file_of_tests_has_more_than_400_lines():
    """It holds one subject."""
    lines = {path.name: path.read_text().count("\n") for path in (ROOT / "tests").rglob("*.py")}
    assert {name: count for name, count in lines.items() if count > 400} == {}


def test_at_most_nine_modules_lie_loose_at_the_top():
    """The others are in the folder of their job."""
    assert len(list(PACKAGE.glob("*.py"))) <= 9


def test_every_part_has_its_place():
    """A new one is in the core, with what it may import, or stands around it."""
    assert CORE.keys() | AROUND == PARTS


@pytest.mark.parametrize("name", CORE, ids=lambda name: name or "tieredcache")
def test_dependencies_run_one_way(name):
    """A part of the core imports itself, and what stands below it."""
    allowed = {name, *CORE[name]}
    found = {
        module: {each for each in own(module) if part(each) not in allowed} for module in MODULES if part(module) == name
    }
    assert {module: names for module, names in found.items() if names} == {}


def test_no_two_modules_need_each_other():
    """However indirectly."""
    graph = {module: {module_of(name) for name in own(module)} - {module} for module in MODULES}
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)  # raises where there is a circle


def test_the_local_tier_knows_neither_django_nor_a_network():
    """It imports the standard library, lru-dict, and asgiref to find out which loop a thread works for."""
    found = {name.partition(".")[0] for module in MODULES if part(module) == "local" for name in imported(module)}
    assert found - sys.stdlib_module_names == {"tieredcache", "lru", "asgiref"}
    assert found & {"http", "selectors", "socket", "socketserver", "ssl", "urllib"} == set()


@pytest.mark.parametrize("name", sorted(AROUND))
def test_what_stands_around_the_core_imports_its_public_names(name):
    """Neither a module below nor what is no name of its package."""
    public = {f"{package}.{each}".lstrip(".") for package, names in PUBLIC.items() for each in names}
    found = {each for module in MODULES if part(module) == name for each in own(module) if part(each) in CORE}
    assert found - public - ALLOWED.get(name, set()) == set()


def test_the_public_names_of_the_core_are_those_that_its_packages_export():
    """And no more: a name that nobody uses is not public."""
    packages = {name: importlib.import_module(f"tieredcache.{name}".rstrip(".")) for name in PUBLIC}
    exported = {name: set(package.__all__) for name, package in packages.items() if hasattr(package, "__all__")}
    assert exported == {name: names for name, names in PUBLIC.items() if name in exported}
    text = "".join(text for module, text in MODULES.items() if part(module) in AROUND)  # what type checkers read, too
    unused = {each for name in ("config", "local", "remote") for each in PUBLIC[name] if not re.search(rf"\b{each}\b", text)}
    assert unused == {"Reader"}  # which the core imports


def test_the_version_is_that_of_pyproject():
    """Nothing else states it."""
    assert version("django-tieredcache") == PROJECT["project"]["version"]
    assert not hasattr(tieredcache, "__version__")


def test_every_public_call_is_typed_in_the_file_that_is_checked():
    """Django's interface, sync and async, and all that is exported."""
    text = (ROOT / "tests/repository/typed.py").read_text()
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
    assert "The promises (docs/staleness.md#promises)" in text
    assert "![" not in text


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"tieredcache/__init__.py"}, "lacks tieredcache/py.typed"),
        ({"tieredcache/__init__.py", "tieredcache/py.typed", "tests/repository/bare.py"}, "has tests/repository/bare.py"),
        ({"tieredcache/py.typed"}, "lacks tieredcache/__init__.py"),
    ],
)
def test_the_wheel_is_the_package_and_no_more(files, problem):
    """Types and all, and no tests."""
    tracked = {"tieredcache/__init__.py", "tieredcache/py.typed", "tests/repository/bare.py", "Makefile"}
    of_installers = {"django_tieredcache-1.0.0.dist-info/METADATA"}
    (found,) = release.wheel_problems(files | of_installers, tracked)
    assert found.startswith(f"the wheel {problem}")
    package = {"tieredcache/__init__.py", "tieredcache/py.typed"}
    assert release.wheel_problems(package | of_installers, tracked) == []


def test_the_source_distribution_is_the_repository():
    """So that its tests can be run; and nothing that lies about."""
    tracked = {"Makefile", "tests/repository/bare.py"}
    names = [f"x-1.0.0/{name}" for name in (*tracked, "PKG-INFO")]
    assert release.sdist_problems(names, tracked) == []
    assert release.sdist_problems(names[1:], tracked) != []
    (found,) = release.sdist_problems([*names, "x-1.0.0/notes.txt"], tracked)
    assert "notes.txt" in found
