"""Bad links to a server: TCP proxies on the loopback that are thin, lose connections, or pass no reply on for a while."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from urllib.parse import urlsplit

HOST = "127.0.0.1"
SMALL = 4096  # bytes: a reply of more is collected whole before it is passed on
QUIET = 0.02  # seconds without a byte that end a reply


class Link:
    """A proxy in a thread of its own. It counts connections whose last request has no reply yet.

    ``delay``: seconds until a reply is passed on. ``rate``: bytes per second; a reply is passed on whole, after as long as
    its bytes take. ``resets``: the share of replies in whose place the connection is reset, drawn with ``seed``.
    """

    def __init__(self, url, *, delay=0.0, rate=None, resets=0.0, seed=0):
        parts = urlsplit(url)
        self._target = parts.hostname, parts.port
        self._delay, self._rate = delay, rate
        self._resets = resets
        self._random = random.Random(seed)
        self._started = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=[self._run()], daemon=True)
        self._thread.start()
        assert self._started.wait(10), "the link did not start"
        self.url = f"{parts.scheme}://{HOST}:{self.port}{parts.path}"

    def hold(self):
        """Pass no reply on until ``release``."""
        self._call(self._passing.clear)

    def release(self):
        """Pass replies on again, beginning with those that were held back, or accept connections again."""
        self._call(self._mend)

    def cut(self):
        """Reset every connection, and each new one, until ``release``."""
        self._call(self._cut)

    def _mend(self):
        self._cut_off = False
        self._passing.set()

    def _cut(self):
        self._cut_off = True
        for task in self._tasks:
            task.cancel()

    def stop(self):
        """Close every connection and end the thread."""
        self._call(self._stopping.set)
        self._thread.join(10)

    def _call(self, function):
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (function(), done.set()))
        assert done.wait(10), "the link does not run"

    async def _run(self):
        self._loop = asyncio.get_running_loop()
        self._passing, self._stopping = asyncio.Event(), asyncio.Event()
        self._passing.set()
        self._cut_off = False
        self._tasks = set()
        server = await asyncio.start_server(self._accept, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stopping.wait()
        server.close()
        for _ in range(10):  # a connection that was being accepted has no task before the next turn
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.001)

    async def _accept(self, reader, writer):
        self._tasks.add(task := asyncio.current_task())
        upstream = None
        try:
            if self._cut_off:
                return
            server, upstream = await asyncio.open_connection(*self._target)
            ways = [asyncio.ensure_future(way) for way in (self._up(reader, upstream), self._down(server, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # the server refuses, or the test is over
        finally:
            self._tasks.discard(task)
            for end in filter(None, (writer, upstream)):
                _reset(end)

    async def _up(self, client, server):
        while data := await client.read(2**16):
            if client.at_eof():
                break
            server.write(data)
            await server.drain()

    async def _down(self, server, client):
        while data := await server.read(2**18):
            if self._rate is not None:
                data = await _whole(data, server)
                await asyncio.sleep(len(data) / self._rate)
            if self._delay:
                await asyncio.sleep(self._delay)
            await self._passing.wait()
            if self._random.random() < self._resets:
                return
            client.write(data)
            await client.drain()


def _reset(writer):
    # Closed with a linger time of zero, a socket sends a reset.
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _whole(data, server):
    while len(data) > SMALL:
        try:
            more = await asyncio.wait_for(server.read(2**18), QUIET)
        except TimeoutError:
            break
        if not more:
            break
        data += more
    return data


@contextlib.contextmanager
def link(url, **ills):
    """A ``Link`` to the server at ``url`` until the block ends."""
    proxy = Link(url, **ills)
    try:
        yield proxy
    finally:
        proxy.stop()
