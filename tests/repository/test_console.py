"""The documentation's commands run, each as a newcomer would type it, in a short form where the whole takes minutes."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import servers

pytestmark = [pytest.mark.slow, pytest.mark.source]

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = {
    command
    for page in PAGES
    for block in re.findall(r"^```console\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    for command in re.findall(r"^\$ (.+)$", block, re.MULTILINE)
}

# What is added to make a command short; of variables make takes the last.
SHORT = {
    "make demo": 'ARGS="--seconds 1"',
    "make test": 'CI= ARGS="-q -p no:randomly tests/backends/test_options.py"',
    "make bench": 'ARGS="--only miss --short"',
    "python -m benchmarks.micro.parts": "--turns 1",
}
# Run in a test of its own.
ELSEWHERE = {
    "docker compose up": "test_compose.py",
    "python manage.py tieredcache --alias default --alias local": "test_command.py",
    "make serve": "test_make_serve_keeps_the_shop_running",
    'pip install "django-tieredcache[redis]"': "test_pip_finds_what_the_package_needs",
    "python manage.py check": "test_start.py",
    "python manage.py tieredcache": "test_start.py",
}


@pytest.fixture
def environment(tmp_path):
    """An environment that ``make`` takes for one that it has made: this one's Python, every group marked as installed."""
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    for group in ("demo", "test", "docs", "bench", "chaos"):
        (folder / f"ready-{group}").touch()
    return folder


def run(command, environment, **others):
    variables = {name: value for name, value in os.environ.items() if name not in {"REDIS_URL", "MAKEFLAGS", "MAKELEVEL"}}
    variables["PATH"] = f"{environment / 'bin'}{os.pathsep}{variables['PATH']}"
    return subprocess.Popen(
        shlex.split(command), cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **others
    )


@pytest.mark.parametrize("command", sorted(COMMANDS - set(ELSEWHERE)))
def test_a_command_runs(command, environment):
    """And ends well; one that is on no list runs as it stands."""
    line = f"{command} {SHORT.get(command, '')}"
    if command.startswith("make"):
        line += f" VENV={environment}"
    process = run(line, environment)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, f"{line}\n{output}"
    assert output.strip()


def test_make_serve_keeps_the_shop_running(environment):
    """Until Ctrl-C, with the addresses to look at."""
    port = servers.free_port()
    process = run(f"make serve PORT={port} VENV={environment}", environment, start_new_session=True)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "Ctrl-C" in line:
            break
    assert process.poll() is None, "".join(lines)
    assert f"http://{servers.HOST}:{port}/tiers/" in "".join(lines)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    process.communicate(timeout=300)


def test_pip_finds_what_the_package_needs(environment, tmp_path):
    """The project's own files in place of what the index has of it; the index is asked for the rest."""
    report = tmp_path / "report.json"
    options = f"--dry-run --ignore-installed --quiet --report {report}"
    command = f'pip install {options} "django-tieredcache[redis] @ {ROOT.as_uri()}"'
    process = run(f"python -m {command}", environment)
    output, _ = process.communicate(timeout=300)
    if process.returncode and "No matching distribution" in output and not os.environ.get("CI"):
        pytest.skip("the package index cannot be reached")
    assert process.returncode == 0, output
    found = {package["metadata"]["name"].lower() for package in json.loads(report.read_text())["install"]}
    assert found >= {"django-tieredcache", "django", "lru-dict", "django-redis", "redis", "hiredis"}


def test_every_command_on_the_lists_is_in_the_documentation():
    """Or the lists would keep what has gone."""
    assert {*SHORT, *ELSEWHERE} <= COMMANDS
