"""Without the GIL, lru-dict's lists break and the process dies: so the backends cannot be had without it."""

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import requires
from pathlib import Path

import pytest

import tieredcache
from tests.support.caches import LRU, TIERED
from tieredcache.config.gil import require_gil

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


@pytest.mark.parametrize("enabled", [None, lambda: True], ids=["a Python that knows no other way", "on"])
def test_with_the_gil_nothing_is_said(monkeypatch, enabled):
    """Whatever was asked for."""
    monkeypatch.setenv("PYTHON_GIL", "0")
    monkeypatch.delattr(sys, "_is_gil_enabled", raising=False)
    if enabled:
        monkeypatch.setattr(sys, "_is_gil_enabled", enabled, raising=False)
    require_gil()


@pytest.mark.parametrize("backend", [TIERED, LRU])
def test_without_the_gil_no_backend_is_made(backend):
    """Nor at the second try."""
    lines, _ = make(backend, code=PRETEND + MAKE)
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("ImproperlyConfigured Python runs without the GIL"), line


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
    """By both backends' ``ImproperlyConfigured``, with both settings that may do so."""
    lines, _ = make(backend, *options, python=free_threaded, **environment)
    for line in lines:
        assert line.startswith("ImproperlyConfigured Python runs without the GIL"), line
        assert "-X gil=0" in line
        assert "PYTHON_GIL=0" in line
