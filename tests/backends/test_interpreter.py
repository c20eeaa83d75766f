"""Without the GIL, lru-dict's lists break and the process dies: so the backends cannot be had without it."""

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import requires
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

import tieredcache
from tests.support.caches import LRU, TIERED
from tieredcache.config.options import _require_gil

ROOT = Path(__file__).parents[2]
# Makes a cache of the class that is its argument, twice, as two threads would, and says what came of it.
MAKE = """
import sys
from django.conf import settings
from django.core.cache import caches
remote = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
settings.configure(CACHES={"default": {"BACKEND": sys.argv[1], "LOCATION": "remote"}, "remote": remote})
for _ in range(2):
    try:
        caches["default"].set("key", 1)
        print("made", getattr(sys, "_is_gil_enabled", lambda: True)())
    except Exception as error:
        print(type(error).__name__, error)
"""
PRETEND = "import sys; sys._is_gil_enabled = lambda: False\n"


def make(backend, *options, python=sys.executable, code=MAKE, **environment):
    """What a process of its own prints, line by line, and what it prints to its error output."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"} | environment
    done = subprocess.run(
        [python, *options, "-c", code, backend],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return done.stdout.splitlines(), done.stderr


@pytest.fixture(scope="session")
def free_threaded(tmp_path_factory):
    """A free-threaded Python with the package: this one, or one from the PATH, with a C compiler for lru-dict.

    What is tested may be installed, beside packages that are not built for that one: so it gets this package by itself.
    """
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return sys.executable
    found = shutil.which("python3.14t") or shutil.which("python3.13t")
    if found is None:
        pytest.skip("no free-threaded Python is on the PATH")
    place = tmp_path_factory.mktemp("free-threaded")
    subprocess.run([found, "-m", "venv", place], check=True)
    python = place / "bin/python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *requires("django-tieredcache")], check=True)
    found = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True, check=True
    )
    Path(found.stdout.strip(), "tieredcache").symlink_to(Path(tieredcache.__file__).parent)
    return python


@pytest.fixture
def gil(monkeypatch):
    """Sets whether the GIL is on, and what was asked for on the command line and in the environment."""

    def pretend(enabled, option=None, variable=None):
        monkeypatch.setattr(sys, "_is_gil_enabled", lambda: enabled, raising=False)
        monkeypatch.setattr(sys, "_xoptions", {} if option is None else {"gil": option})
        monkeypatch.delenv("PYTHON_GIL", raising=False)
        if variable is not None:
            monkeypatch.setenv("PYTHON_GIL", variable)

    return pretend


@pytest.mark.parametrize(
    ("option", "variable", "told", "remedy"),
    [
        ("0", None, "-X gil is '0'", "Set -X gil to 1."),
        ("0", "1", "-X gil is '0'", "Set -X gil to 1."),
        (None, "0", "PYTHON_GIL is '0'", "Set PYTHON_GIL to 1."),
        (None, None, "PYTHON_GIL is None", "Set PYTHON_GIL to 1."),
    ],
)
def test_what_has_kept_the_gil_off_is_named(gil, option, variable, told, remedy):
    """The command line before the environment; and where neither did, what turns it on."""
    gil(False, option, variable)
    with pytest.raises(ImproperlyConfigured) as error:
        _require_gil()
    assert str(error.value).startswith(f"{told}, and Python runs without the GIL")
    assert str(error.value).endswith(remedy)


def test_with_the_gil_nothing_is_said(gil, monkeypatch):
    """Whatever was asked for; nor by a Python that knows no other way."""
    gil(True, "0", "0")
    _require_gil()
    monkeypatch.delattr(sys, "_is_gil_enabled")
    _require_gil()


@pytest.mark.parametrize("backend", [TIERED, LRU])
def test_without_the_gil_no_backend_is_made(backend):
    """Nor at the second try."""
    lines, _ = make(backend, code=PRETEND + MAKE)
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("ImproperlyConfigured PYTHON_GIL is None, and Python runs without the GIL"), line


@pytest.mark.parametrize("backend", [TIERED, LRU])
def test_a_free_threaded_python_turns_the_gil_on(free_threaded, backend):
    """And says so once, naming lru-dict; with PYTHON_GIL=1 it is on from the start, and nothing is said."""
    lines, warning = make(backend, python=free_threaded)
    assert lines == ["made True"] * 2
    assert warning.count("(GIL) has been enabled to load module 'lru._lru'") == 1
    assert make(backend, python=free_threaded, PYTHON_GIL="1") == (["made True"] * 2, "")


@pytest.mark.parametrize("backend", [TIERED, LRU])
@pytest.mark.parametrize(("options", "environment"), [(["-X", "gil=0"], {}), ([], {"PYTHON_GIL": "0"})])
def test_a_gil_that_is_kept_off_is_told(free_threaded, backend, options, environment):
    """The setting that did, in both backends' ``ImproperlyConfigured``."""
    lines, _ = make(backend, *options, python=free_threaded, **environment)
    name = "-X gil" if options else "PYTHON_GIL"
    assert [line.startswith(f"ImproperlyConfigured {name} is '0', ") for line in lines] == [True, True], lines
