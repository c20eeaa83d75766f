"""A server in between that can stop passing anything on."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading

from tests.support.servers import HOST


class Proxy:
    """Passes bytes between its port and another, in one thread; ``mute``: accepts, reads, and passes nothing on."""

    def __init__(self, target: int) -> None:
        self.mute = False
        self._target = target
        self._running = True
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server((HOST, 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close everything."""
        self._running = False
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def _run(self) -> None:
        while self._running:
            for key, _ in self._selector.select(0.05):
                if key.fileobj is self._listener:
                    client, _ = self._listener.accept()
                    server = socket.create_connection((HOST, self._target))
                    self._selector.register(client, selectors.EVENT_READ, server)
                    self._selector.register(server, selectors.EVENT_READ, client)
                else:
                    self._pass(key.fileobj, key.data)  # type: ignore[arg-type]

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            data = source.recv(1 << 16)
            if data and not self.mute:
                sink.sendall(data)
        except OSError:
            data = b""
        if not data:
            for end in (source, sink):
                with contextlib.suppress(KeyError):
                    self._selector.unregister(end)
                end.close()
