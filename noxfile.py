"""The matrix (``make test-all``): the built wheel under the tests of the built source distribution.

Every cell unpacks the source distribution, removes the package from it, and installs the wheel: what is tested is what would
be published. The oldest cell has the lower bounds of all that the wheel names; the newest of each Python has the newest of
everything. These run the whole suite, so that what depends on the interpreter alone is run once for each; the other cells
leave out the tests marked ``slow``, and ``APART``.

``dist/`` has to be there (``make dist``). Interpreters are looked for on the PATH, among pyenv's versions and among those
that uv has installed; one that the machine does not have is skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import nox
from packaging.requirements import Requirement

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
CLASSIFIERS = PROJECT["project"]["classifiers"]
REQUIRED = PROJECT["project"]["dependencies"]
EXTRA = PROJECT["project"]["optional-dependencies"]["redis"]

PYTHONS = nox.project.python_versions(PROJECT)  # what is claimed is what is tested
DJANGOS = [name.rpartition(" :: ")[2] for name in CLASSIFIERS if name.startswith("Framework :: Django :: ")]

# What no cell has: the source tree. ``make test`` and ``make test-slow`` run these.
NOT_OF_THE_WHEEL = "not source"

# Suites of other packages, in versions that want more than the lower bounds, are left out of the oldest end.
OLDEST = f"{NOT_OF_THE_WHEEL} and not packages"

# Between the ends: what takes long is run there, and neither Django's version nor the client's matters to these.
BETWEEN = f"{NOT_OF_THE_WHEEL} and not slow"
APART = ["local", "stress", "repository"]

nox.needs_version = ">=2025.10.14"
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False

# pyenv keeps its versions off the PATH until they are named.
if pyenv := shutil.which("pyenv"):
    listed = subprocess.run([pyenv, "versions", "--bare"], capture_output=True, text=True, check=True)  # noqa: S603 - nothing but its path comes from outside
    os.environ["PYENV_VERSION"] = ":".join(version for version in listed.stdout.split() if version.startswith("3."))


def lowest(requirements: list[str]) -> list[str]:
    """The same requirements, each at its lower bound."""
    pinned = []
    for requirement in map(Requirement, requirements):
        (bound,) = (part.version for part in requirement.specifier if part.operator == ">=")
        extras = f"[{','.join(requirement.extras)}]" if requirement.extras else ""
        pinned.append(f"{requirement.name}{extras}=={bound}")
    return pinned


def djangos(python: str) -> list[str]:
    """The Django versions that exist for this Python."""
    return ["5.2"] if python == "3.11" else DJANGOS


def tags(python: str, django: str, client: str) -> list[str]:
    """``oldest`` for the least of everything, ``newest`` for the most that there is for a Python: the ends."""
    if (python, django, client) == (PYTHONS[0], DJANGOS[0], "oldest"):
        return ["oldest"]
    return ["newest"] if (django, client) == (djangos(python)[-1], "newest") else []


def cells() -> list[Any]:
    """Each pair that exists."""
    return [
        nox.param(python, django, client, tags=tags(python, django, client), id=f"{python}-django{django}-{client}-client")
        for python in PYTHONS
        for django in djangos(python)
        for client in ("oldest", "newest")
    ]


def pins(python: str, django: str, client: str) -> list[str]:
    """The versions that make an environment this cell."""
    if "oldest" in tags(python, django, client):
        return lowest(REQUIRED + EXTRA)
    clients = [pin for pin in lowest(EXTRA) if pin.startswith("django-redis=")] if client == "oldest" else []
    return [f"django=={django}.*", *clients]


def built(suffix: str) -> Path:
    """The one file of ``dist/`` whose name ends so."""
    found = list((ROOT / "dist").glob(f"*{suffix}"))
    if len(found) != 1:
        raise FileNotFoundError(f"dist/ holds {len(found)} files *{suffix} in place of one: make dist")
    return found[0]


def without_package(session: nox.Session) -> Path:
    """The folder of the source distribution, in which nothing but the wheel is to be found under the package's name."""
    folder = Path(session.create_tmp())
    shutil.rmtree(folder)
    with tarfile.open(built(".tar.gz")) as archive:
        archive.extractall(folder, filter="data")
    (root,) = folder.iterdir()
    shutil.rmtree(root / "tieredcache")
    return root


@nox.session
@nox.parametrize(("python", "django", "client"), cells())
def tests(session: nox.Session, django: str, client: str) -> None:
    """The suite, or what of it has to do with Django and the client. Arguments after ``--`` are pytest's.

    Of two ``-m`` the last one counts. Four files at a time: the tests wait for servers, workers and time-outs for more than
    half of their time. Those marked ``slow`` start whole sites, and have time limits of their own: two at a time.
    """
    python = str(session.python)
    wheel = f"django-tieredcache[redis] @ {built('.whl').as_uri()}"
    session.install(wheel, "--group", "test", *pins(python, django, client))
    session.chdir(without_package(session))
    session.run("python", "-c", "import tieredcache; assert 'site-packages' in tieredcache.__file__, tieredcache.__file__")
    end = tags(python, django, client)
    chosen = OLDEST if "oldest" in end else NOT_OF_THE_WHEEL if end else BETWEEN
    ignored = [] if end else [f"--ignore=tests/{name}" for name in APART]
    runs = [(4, f"{chosen} and not slow")]
    if end and "-m" not in session.posargs:
        runs.append((2, f"{chosen} and slow"))
    for workers, marks in runs:
        # Not --quiet: that hides the line with the seed.
        spread = [f"--numprocesses={workers}", "--dist=loadfile"]
        command = ["python", "-X", "dev", "-m", "pytest", *spread, "-m", marks, *ignored, *session.posargs]
        # 5: what the arguments choose is in the other run.
        session.run(*command, success_codes=[0, 5] if session.posargs else [0])


@nox.session(python=[*PYTHONS, "3.13t", "3.14t"])
def bare(session: nox.Session) -> None:
    """The wheel alone, without the extras: every module is imported, both backends are used.

    On the free-threaded builds too, where lru-dict turns the GIL on and Python says so; that both backends refuse to run
    without it is in ``tests/backends/test_interpreter.py``. The other tests need packages that are not built for them.
    """
    session.install(str(built(".whl")))
    gil = "ignore:The global interpreter lock:RuntimeWarning"
    session.run("python", "-I", "-X", "dev", "-W", "error", "-W", gil, "tests/repository/bare.py")
