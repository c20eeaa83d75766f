"""The test suites of public packages that live on Django's cache, run in a process of their own, as they are or over tiers.

A suite comes with the package's source distribution, and is copied for each run. The run imports the package from there, not
one that is installed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tieredcache
from tests.support.sources import fetch

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent
SECONDS = 300


@dataclass(frozen=True)
class Package:
    """A package whose suite is run, and how."""

    name: str
    version: str
    settings: str  # the module of settings that its suite is run with
    arguments: tuple[str, ...]  # what is run
    root: str = "."  # the folder that the settings are imported from
    more_settings: str = ""
    command: tuple[str, ...] = ()  # the suite's own runner; without one, pytest
    plugins: tuple[str, ...] = ("pytest_django.plugin",)  # of pytest
    local_timeouts: tuple[tuple[str, float], ...] = ()  # what its users are to name in LOCAL_TIMEOUTS
    python: tuple[int, int] = (3, 11)  # the first that has it

    @property
    def pin(self) -> str:
        return f"{self.name}=={self.version}"

    def fetch(self) -> Path:
        return fetch(self.name, self.version)


DJANGO_CACHE_TESTS = (
    *("CacheUtils", "PrefixedCacheUtils", "CacheHEADTest", "CacheI18nTest", "PrefixedCacheI18nTest", "CacheMiddlewareTest"),
    *("TestWithTemplateResponse", "TestMakeTemplateFragmentKey", "CacheHandlerTest", "CacheClosingTests"),
)
PACKAGES = [
    Package(
        name="django-redis",
        version="7.0.0",
        settings="settings.sqlite",
        root="tests",
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
        name="django-constance", version="4.4.0", settings="tests.settings", arguments=("tests/backends/test_database.py",)
    ),
    Package(
        name="sorl-thumbnail",
        version="13.4.0",
        settings="tests.settings.pil",
        # Without those that fetch a picture from the web.
        arguments=("tests/thumbnail_tests", "-k", "not TemplateTestCaseB and not test_image_file_deserialize"),
    ),
    Package(
        name="django-cms",
        version="5.1.3",
        settings="cms.tests.settings",
        # Of the menus and the rendering, what meets the cache and what marks the menu's nodes, which are cached.
        arguments=(
            *(f"cms/tests/test_{name}.py" for name in ("cache", "menu", "rendering")),
            "-k",
            "cache or MenuDiscovery or Softroot",
        ),
    ),
    Package(
        name="django-cachalot",
        version="2.9.1",
        settings="settings",
        # The others want servers.
        more_settings=(
            'DATABASES = {name: {"ENGINE": "django.db.backends.sqlite3"} for name in ("default", "other")}\n'
            'CACHES = {name: CACHES[name] for name in ("default", "redis")}\n'
        ),
        # Without the one that allows a tenth of a second between two readings of the clock.
        arguments=(
            *(
                f"cachalot/tests/{name}.py"
                for name in ("api", "multi_db", "settings", "signals", "thread_safety", "transaction", "write")
            ),
            "-k",
            "not test_get_last_invalidation or test_get_last_invalidation_",
        ),
    ),
    Package(
        name="django-waffle",
        version="5.0.0",
        settings="waffle_settings",
        # Without those of models of one's own, whose application the source distribution lacks.
        arguments=(
            *(f"waffle/tests/test_{name}.py" for name in ("models", "testutils", "views", "waffle")),
            "-k",
            "not pluggable",
        ),
    ),
    Package(
        name="django",
        version="6.1.3",
        python=(3, 12),
        settings="test_sqlite",
        root="tests",
        command=("runtests.py", "--settings=test_sqlite", "--parallel=1"),
        # Most tests of a view or a middleware reach the cache by the session.
        more_settings='SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"\n',
        # Of its cache tests, those of no single backend: test_django.py has the others. And not what is slow.
        arguments=(
            *(f"cache.tests.{name}" for name in DJANGO_CACHE_TESTS),
            *("asgi", "conditional_processing", "context_processors", "csrf_tests", "decorators", "flatpages_tests"),
            *("messages_tests", "middleware", "middleware_exceptions", "redirects_tests", "responses", "sessions_tests"),
            *("sitemaps_tests", "sites_framework", "sites_tests", "staticfiles_tests.test_storage", "syndication_tests"),
            *("template_tests.syntax_tests.test_cache", "template_tests.test_response", "test_client"),
            *("test_client_regress", "view_tests.tests.test_defaults"),
        ),
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


def run(package: Package, folder: Path, redis_url: str, options: Mapping[str, Any] | None) -> Report:
    """Run the suite in a copy at ``folder``: with its own caches where ``options`` is ``None``, else tiered ones."""
    source = package.fetch()
    root = shutil.copytree(source / package.root, folder / package.root)
    missing = HERE / package.name  # what the source distribution lacks
    if missing.exists():
        shutil.copytree(missing, folder, dirs_exist_ok=True)
    settings = (root / package.settings.replace(".", "/")).with_suffix(".py")
    text = settings.read_text().replace("127.0.0.1:6379", redis_url.removeprefix("redis://")) + package.more_settings
    if options is not None:
        text += '\nfrom over_tiers import tiered\n\nCACHES = tiered(globals().get("CACHES"))\n'
    if package.command:
        text += '\nTEST_RUNNER = "over_tiers.Runner"\n'
    settings.write_text(text)
    report = folder / "report.json"
    timeouts = dict(package.local_timeouts)
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": package.settings,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": os.pathsep.join(map(str, (folder, source, HERE, Path(tieredcache.__file__).parents[1]))),
        "OVER_TIERS": json.dumps(None if options is None else {"LOCAL_TIMEOUTS": timeouts, **options}),
        "OVER_TIERS_REPORT": str(report),
        "OVER_TIERS_REDIS": redis_url,
    }
    for name in ("PYTEST_ADDOPTS", "PYTHONWARNINGS", "COVERAGE_PROCESS_START"):
        environment.pop(name, None)
    command = package.command or _pytest(package, folder)
    result = subprocess.run(
        [sys.executable, *command, *package.arguments],
        cwd=root if package.command else folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if result.returncode not in (0, 1):  # all passed, or some failed
        raise RuntimeError(f"the suite of {package.pin} did not run:\n{result.stdout}{result.stderr}")
    found = json.loads(report.read_text())
    return Report(found["outcomes"], found["reasons"], found["remote_hits"], frozenset(found["kept"]))


def _pytest(package: Package, folder: Path) -> list[str]:
    ini = folder / "none.ini"
    ini.write_text("[pytest]\n")
    plugins = [part for plugin in (*package.plugins, "over_tiers") for part in ("-p", plugin)]
    # Ids are relative to the root; the cache of pytest's own would be written there.
    return ["-m", "pytest", "-c", str(ini), f"--rootdir={folder}", "-q", "-p", "no:cacheprovider", *plugins]
