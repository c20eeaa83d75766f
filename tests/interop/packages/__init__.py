"""The test suites of public packages that live on Django's cache, run in a process of their own, as they are or over tiers.

A suite comes with the package's source distribution: fetched once, kept in the environment, and copied for each run. The run
imports the package from there, not one that is installed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tieredcache

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOME = Path(sys.prefix) / "package-tests"
SECONDS = 300


@dataclass(frozen=True)
class Package:
    """A package whose suite is run, and how."""

    name: str
    version: str
    settings: str  # the module of settings that its suite is run with
    arguments: tuple[str, ...]  # to pytest: what is run
    plugins: tuple[str, ...] = ("pytest_django.plugin",)
    local_timeouts: tuple[tuple[str, float], ...] = ()  # what its users are to name in LOCAL_TIMEOUTS

    @property
    def pin(self) -> str:
        return f"{self.name}=={self.version}"


PACKAGES = [
    Package(
        name="django-redis",
        version="7.0.0",
        settings="settings.sqlite",
        # Each of its settings wants a process of its own; this one is what most sites have.
        arguments=("tests", "-k", "not sqlite_"),
        plugins=("pytest_mock", "xdist.plugin"),  # its conftest.py imports the latter
    ),
    Package(
        name="django-axes",
        version="8.3.1",
        settings="tests.settings",
        # The handler that counts in the cache. Its lock-outs come twice, by two names: once will do.
        arguments=(
            "tests/test_handlers.py",
            "tests/test_login.py",
            "-k",
            "CacheHandler or (CacheLogin and not without_cache)",
        ),
        local_timeouts=(("axes-", 0),),
    ),
    Package(
        name="django-constance",
        version="4.4.0",
        settings="tests.settings",
        arguments=("tests/backends/test_database.py",),
    ),
    Package(
        name="sorl-thumbnail",
        version="13.4.0",
        settings="tests.settings.pil",
        # Without those that fetch a picture from the web.
        arguments=("tests/thumbnail_tests", "-k", "not TemplateTestCaseB and not test_image_file_deserialize"),
    ),
]


@dataclass(frozen=True)
class Report:
    """What came of a run: the outcome of each test by its id, and what the local tiers did."""

    outcomes: Mapping[str, str]
    reasons: Mapping[str, str]  # why tests failed
    remote_hits: int
    kept: frozenset[str]  # the keys that some local tier has held

    def with_outcome(self, outcome: str) -> set[str]:
        return {test for test, found in self.outcomes.items() if found == outcome}


def fetch(package: Package) -> Path:
    """The folder of the source distribution; raises ``CalledProcessError`` where the registry cannot be reached."""
    home = _HOME / f"{package.name}-{package.version}"
    if not home.exists():
        _HOME.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_HOME) as name:
            folder = Path(name)
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", package.name]
            subprocess.run([*command, "--dest", name, package.pin], check=True)
            with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
                archive.extractall(folder, filter="data")
            # Renamed in one step: a run that is cut off leaves nothing half done.
            next(path for path in folder.iterdir() if path.is_dir()).rename(home)
    return home


def run(package: Package, folder: Path, redis_url: str, options: Mapping[str, Any] | None) -> Report:
    """Run the suite in a copy at ``folder``: with its own caches where ``options`` is ``None``, else tiered ones."""
    shutil.copytree(fetch(package), folder)
    server = redis_url.removeprefix("redis://")
    settings = folder / ("tests/" if package.settings.startswith("settings.") else "") / package.settings.replace(".", "/")
    settings = settings.with_suffix(".py")
    text = settings.read_text().replace("127.0.0.1:6379", server)
    if options is not None:
        text += '\nfrom over_tiers import tiered\n\nCACHES = tiered(globals().get("CACHES"))\n'
    settings.write_text(text)
    report = folder / "report.json"
    ini = folder / "none.ini"
    ini.write_text("[pytest]\n")
    here = Path(__file__).parent
    timeouts = dict(package.local_timeouts)
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": package.settings,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": os.pathsep.join(map(str, (folder, here, Path(tieredcache.__file__).parents[1]))),
        "OVER_TIERS": json.dumps(None if options is None else {"LOCAL_TIMEOUTS": timeouts, **options}),
        "OVER_TIERS_REPORT": str(report),
        "OVER_TIERS_REDIS": redis_url,
    }
    for name in ("PYTEST_ADDOPTS", "PYTHONWARNINGS", "COVERAGE_PROCESS_START"):
        environment.pop(name, None)
    plugins = [part for plugin in (*package.plugins, "over_tiers") for part in ("-p", plugin)]
    # Ids are relative to the root; the cache of pytest's own would be written there.
    command = [sys.executable, "-m", "pytest", "-c", str(ini), f"--rootdir={folder}", "-q", "-p", "no:cacheprovider"]
    command += [*plugins, *package.arguments]
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if result.returncode not in (0, 1):  # all passed, or some failed
        raise RuntimeError(f"the suite of {package.pin} did not run:\n{result.stdout}{result.stderr}")
    found = json.loads(report.read_text())
    return Report(found["outcomes"], found["reasons"], found["remote_hits"], frozenset(found["kept"]))
