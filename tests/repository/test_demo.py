"""The demo prints its table, and leaves nothing behind however it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from example_project import servers
from tests.support import servers as support

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def start(mark):
    environment = {**os.environ, "TIEREDCACHE_TEST": mark}
    environment.pop("REDIS_URL", None)
    command = [sys.executable, "-m", "example_project.demo", "--seconds", "1"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def left_behind(mark):
    """The processes that were started with this mark in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if f"TIEREDCACHE_TEST={mark}".encode() in (path / "environ").read_bytes():
                found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it has ended, or is not ours
            continue
    return found


def test_the_demo_prints_its_table():
    """Four ways, with requests, latencies, round trips and hit ratio."""
    mark = uuid.uuid4().hex
    process = start(mark)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    rows = {
        name: re.search(rf"^{name}\s+([\d.]+)\s+([\d.]+) ms\s+([\d.]+) ms\s+([\d.]+)\s+(.+)$", output, re.MULTILINE)
        for name in ("database only", "remote cache only", "tiered, PREFETCH 0", "tiered")
    }
    assert all(rows.values()), output
    assert float(rows["database only"][4]) == 0
    assert float(rows["remote cache only"][4]) >= 200
    for name in ("tiered, PREFETCH 0", "tiered"):  # in one second no copy expires, so there is nothing to tell them apart
        assert 0 < float(rows[name][4]) < float(rows["remote cache only"][4]) / 2
        assert rows[name][5].strip().endswith("% local")
    assert rows["remote cache only"][5].strip().endswith("% remote")
    assert not left_behind(mark)
    assert not list(ROOT.glob(f".demo-{process.pid}-*"))


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes by /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "moment", [None, "starting a Valkey", "loading countries", "database only: starting", "tiered: measuring"]
)
def test_interrupted_at_any_moment_it_leaves_nothing(how, moment):
    """Neither a process nor a file."""
    mark = uuid.uuid4().hex
    process = start(mark)
    if moment is None:
        time.sleep(0.1)  # while the interpreter starts, before there is anything to wait for
    else:
        for line in process.stdout:
            if moment in line:
                break
    process.send_signal(how)
    process.communicate(timeout=300)
    assert process.returncode != 0
    assert not left_behind(mark)
    assert not list(ROOT.glob(f".demo-{process.pid}-*"))


def test_a_signal_amid_the_start_of_a_server_leaves_none(monkeypatch):
    """It takes effect when the process is known: else nobody would stop it."""
    started = []

    class Interrupted(servers.Server):
        def __init__(self, *args, **settings):
            super().__init__(*args, **settings)
            started.append(self)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(servers, "Server", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        servers.launch([sys.executable, "-c", "import time; time.sleep(60)"], servers.free_port())
    assert started[0].returncode is not None


@pytest.mark.parametrize("module", [servers, support])
def test_a_server_is_not_started_on_a_port_that_another_one_has(module):
    """Its answers would be taken for those of the new one: here of one that does not even listen."""
    with socket.create_server((module.HOST, 0)) as other, pytest.raises(RuntimeError, match="another server answers there"):
        module.launch([sys.executable, "-c", "import time; time.sleep(60)"], other.getsockname()[1])
