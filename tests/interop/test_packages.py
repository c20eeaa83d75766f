"""The test suites of packages that live on Django's cache, as they are and over tiers; docs/testing.md lists them."""

import contextlib
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.interop.deviations import DEVIATIONS
from tests.interop.packages import PACKAGES, run
from tests.support import servers

pytestmark = [pytest.mark.slow, pytest.mark.packages]

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
RUN = re.compile(r"^\| `(?P<package>[\w-]+)` (?P<version>[\d.]+) \| [^|]+ \| (?P<tests>\d+) \|", re.MULTILINE)
# Own: the caches that the suite is made for. Defaults: the first thing that a site tries. Hard: whatever makes a difference.
SETTINGS = {
    "own": None,
    "defaults": {"LOCAL_TIMEOUT": 5},
    "hard": {"LOCAL_TIMEOUT": 60, "SHARE_VALUES": True, "MISS_TIMEOUT": 60, "STALE_WHILE_REVALIDATE": 60},
}


@pytest.fixture(scope="module", params=PACKAGES, ids=lambda package: package.name)
def package(request):
    if sys.version_info < request.param.python:
        pytest.skip(f"{request.param.pin} is not for this Python")
    try:
        request.param.fetch()
    except subprocess.CalledProcessError:
        message = f"the source distribution of {request.param.pin} could not be fetched"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return request.param


@pytest.fixture(scope="module")
def reports(package, tmp_path_factory):
    """What came of the suite, by its settings: run side by side, because it sleeps more than it works."""
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(servers.valkey()) for _ in SETTINGS]
        folders = [tmp_path_factory.mktemp("package") / "copy" for _ in SETTINGS]
        pool = stack.enter_context(ThreadPoolExecutor(len(SETTINGS)))
        found = pool.map(lambda arguments: run(package, *arguments), zip(folders, urls, SETTINGS.values(), strict=True))
        return dict(zip(SETTINGS, found, strict=True))


def deviations(package):
    return {test for name, _, tests in DEVIATIONS if name == package.name for test in tests}


def test_the_suite_passes_as_it_is(reports):
    """What fails over tiers is ours to explain, and nothing else is: the baseline has no failure."""
    assert not reports["own"].reasons
    assert reports["own"].with_outcome("passed")


@pytest.mark.parametrize("settings", ["defaults", "hard"])
def test_the_suite_passes_over_tiers(package, reports, settings):
    """Except for the tests in deviations.py, each of which does fail: the list is exact."""
    report = reports[settings]
    assert set(report.reasons) == deviations(package), report.reasons
    passed = reports["own"].with_outcome("passed")
    assert report.with_outcome("passed") == passed - deviations(package)
    # A suite that never got as far as the tiers would pass too.
    assert report.remote_hits > 0


def test_what_was_kept(package, reports):
    """Nothing of the prefixes that are never kept, built in or named; of all else, something."""
    never = ("django.contrib.sessions.", *(prefix for prefix, timeout in package.local_timeouts if timeout == 0))
    for settings in ("defaults", "hard"):
        kept = reports[settings].kept
        assert not [key for key in kept if key.startswith(never)]
        assert bool(kept) is not bool(package.local_timeouts)


def test_the_page_names_what_is_run():
    """The packages, their versions, and no deviation of another package."""
    text = PAGE.read_text()
    assert {(row["package"], row["version"]) for row in RUN.finditer(text)} == {(p.name, p.version) for p in PACKAGES}
    assert {name for name, _, _ in DEVIATIONS} <= {p.name for p in PACKAGES}


def test_the_page_counts_the_tests(package, reports):
    """Those that are run, the few that skip themselves for want of a program included."""
    rows = {row["package"]: int(row["tests"]) for row in RUN.finditer(PAGE.read_text())}
    assert rows[package.name] == len(reports["own"].outcomes)
