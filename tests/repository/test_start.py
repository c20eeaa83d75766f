"""docs/start.md, followed to the letter in a project that ``django-admin startproject`` has made."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "start.md").read_text()
CACHES, SHELL, APPS, *_ = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def run(folder, *command):
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def project(tmp_path, valkey_url):
    """A new project with the settings of the page."""
    run(tmp_path, "-m", "django", "startproject", "newcomer", ".")
    assert "redis://127.0.0.1:6379/1" in CACHES
    with (tmp_path / "newcomer" / "settings.py").open("a") as settings:
        settings.write(CACHES.replace("redis://127.0.0.1:6379", valkey_url))
        settings.write(APPS.replace("...,", "*INSTALLED_APPS,"))
    return tmp_path


def test_a_hit_is_seen(project):
    """Step 3, in the shell; what it asserts holds there."""
    assert "hits: 1" in run(project, "manage.py", "shell", "-c", f"{SHELL}\nprint('hits:', stats.hits)")


def test_the_checks_are_silent(project):
    """Step 4; and they would speak."""
    assert "no issues" in run(project, "manage.py", "check")
    memcached = {"BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache", "LOCATION": "127.0.0.1:1"}
    with (project / "newcomer" / "settings.py").open("a") as settings:
        settings.write(f'CACHES["remote"] = {memcached}')
    assert "tieredcache.W001" in run(project, "manage.py", "check")


def test_the_command_shows_the_aliases(project):
    """Step 4; on a machine that may be busy."""
    with (project / "newcomer" / "settings.py").open("a") as settings:
        settings.write('CACHES["remote"]["OPTIONS"] = {"SOCKET_CONNECT_TIMEOUT": 30, "SOCKET_TIMEOUT": 30}')
    shown = run(project, "manage.py", "tieredcache")
    assert "default" in shown
    assert "LOCAL_TIMEOUT" in shown
