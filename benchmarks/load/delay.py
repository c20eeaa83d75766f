"""A network in between: passes bytes on to a server after a while, as another machine's would arrive; until it is killed."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

from benchmarks.micro.command import options
from tests.support import servers

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def behind(url: str, seconds: float) -> Iterator[str]:
    """The URL of the same server, ``seconds`` further away there and back."""
    port = servers.free_port()
    command = [sys.executable, "-m", "benchmarks.load.delay", str(port), url.rpartition(":")[2], str(seconds)]
    with servers.running(command, port):
        yield f"redis://{servers.HOST}:{port}"


def carry(source: socket.socket, target: socket.socket, seconds: float) -> None:
    """One direction of one connection. The time that sleep() oversleeps (some 50 microseconds) is a network's jitter."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            time.sleep(seconds)  # this proxy simulates the latency of a network: the delay is what it is for
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def main() -> None:
    """Carry until it is killed."""
    parser = options(__doc__)
    parser.add_argument("port", type=int, help="where to listen")
    parser.add_argument("server", type=int, help="the server's port")
    parser.add_argument("seconds", type=float, help="there and back")
    arguments = parser.parse_args()
    listener = socket.create_server((servers.HOST, arguments.port))
    while True:
        here, _ = listener.accept()
        there = socket.create_connection((servers.HOST, arguments.server))
        for end in (here, there):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for pair in ((here, there), (there, here)):
            threading.Thread(target=carry, args=[*pair, arguments.seconds / 2], daemon=True).start()


if __name__ == "__main__":
    main()
