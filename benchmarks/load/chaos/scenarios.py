"""The remotes that are broken, each in its way: what CACHES says of it, how it breaks, and how it is whole again."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis

from benchmarks.load.chaos.proxy import Proxy
from tests.support import servers
from tests.support.servers import HOST

if TYPE_CHECKING:
    import contextlib
    import subprocess

TIMEOUT = 0.25  # seconds, of the clients


class Scenario(ABC):
    """A remote, started by ``start``. ``loses``: what it held is gone afterwards. ``reads_fail``: while it is broken.

    ``elects``: it recovers by itself. What its replicas had not received at that moment is lost. ``servers``: those that are
    down one by one. ``lags``: it is read from replicas, which are behind where the machine is busy.
    """

    name = ""
    loses = False
    reads_fail = True
    lags = False
    elects = False
    servers = 1

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.stack = stack

    @abstractmethod
    def start(self) -> dict[str, Any]:
        """Start the servers; the settings of the remote alias."""

    @abstractmethod
    def break_(self) -> None:
        """Break it."""

    def restore(self) -> None:
        """Let it be whole again."""
        raise NotImplementedError  # of those that elect

    def launch(self, command: list[str], port: int) -> subprocess.Popen[bytes]:
        """A server that ends with the scenario."""
        process = servers.launch(command, port)
        self.stack.callback(servers.stop, process)
        return process

    def valkey(self, port: int, *options: str) -> subprocess.Popen[bytes]:
        """A Valkey server on ``port``."""
        directory = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="tieredcache-"))
        return self.launch([*servers.valkey_command(port, directory), *options], port)


def through_django_redis(port: int) -> dict[str, Any]:
    """django-redis, with time-outs that a page can wait for."""
    options = {"SOCKET_CONNECT_TIMEOUT": TIMEOUT, "SOCKET_TIMEOUT": TIMEOUT}
    return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"redis://{HOST}:{port}/0", "OPTIONS": options}


class Killed(Scenario):
    """SIGKILL; started again, empty."""

    name = "killed, restarted empty"
    loses = True

    def start(self) -> dict[str, Any]:
        self.port = servers.free_port()
        self.process = self.valkey(self.port)
        return through_django_redis(self.port)

    def break_(self) -> None:
        self.process.kill()
        self.process.wait()

    def restore(self) -> None:
        self.process = self.valkey(self.port)


class Stopped(Killed):
    """SIGSTOP: connections are accepted, nothing is answered."""

    name = "stopped (SIGSTOP)"
    loses = False

    def break_(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        self.stack.callback(self.process.send_signal, signal.SIGCONT)

    def restore(self) -> None:
        self.process.send_signal(signal.SIGCONT)


class Proxied(Killed):
    """Behind a proxy that goes on accepting connections, and passes nothing on."""

    name = "proxy that never answers"
    loses = False

    def start(self) -> dict[str, Any]:
        super().start()
        self.proxy = Proxy(self.port)
        self.stack.callback(self.proxy.stop)
        return through_django_redis(self.proxy.port)

    def break_(self) -> None:
        self.proxy.mute = True

    def restore(self) -> None:
        self.proxy.mute = False


class Refusing(Killed):
    """Answers reads, and refuses writes."""

    loses = reads_fail = False
    on: tuple[str, ...] = ()
    off: tuple[str, ...] = ()

    def _command(self, *command: str) -> None:
        with redis.Redis(port=self.port) as control:
            control.execute_command(*command)

    def break_(self) -> None:
        self._command(*self.on)

    def restore(self) -> None:
        self._command(*self.off)


class ReadOnly(Refusing):
    """A replica: it keeps what it has, because its primary is not there."""

    name = "read-only (a replica)"
    on = ("REPLICAOF", HOST, "1")
    off = ("REPLICAOF", "NO", "ONE")


class OutOfMemory(Refusing):
    """No room for anything."""

    name = "out of memory"
    on = ("CONFIG", "SET", "maxmemory", "1")
    off = ("CONFIG", "SET", "maxmemory", "0")


class Sentinels(Scenario):
    """Three Sentinels, a primary that is killed, two replicas."""

    name = "Sentinel election"
    elects = True
    lags = True

    def start(self) -> dict[str, Any]:
        ports = [servers.free_port() for _ in range(3)]
        self.primary = self.valkey(ports[0])
        for port in ports[1:]:
            self.valkey(port, "--replicaof", HOST, str(ports[0]))
        # A name of its own: django-redis shares the pools of one URL.
        name = f"primary{ports[0]}"
        directory = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="tieredcache-")))
        watchers = [servers.free_port() for _ in range(3)]
        for port in watchers:
            config = directory / f"{port}.conf"
            lines = [
                f"sentinel monitor {name} {HOST} {ports[0]} 2",
                f"sentinel down-after-milliseconds {name} 1000",
                f"sentinel failover-timeout {name} 3000",
            ]
            config.write_text("\n".join(lines) + "\n")
            self.launch([servers.valkey_binary(), str(config), "--sentinel", "--bind", HOST, "--port", str(port)], port)
        # Until the Sentinels know the replicas and each other.
        for port in watchers:
            with redis.Redis(port=port) as watcher:
                await_(lambda watcher=watcher: _watches(watcher), "the Sentinels did not find each other")
        options = {
            "CLIENT_CLASS": "django_redis.client.SentinelClient",
            "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
            "CONNECTION_POOL_CLASS": "redis.sentinel.SentinelConnectionPool",
            "SENTINELS": [[HOST, port] for port in watchers],
            "SENTINEL_KWARGS": {"socket_timeout": TIMEOUT},
            "SOCKET_CONNECT_TIMEOUT": TIMEOUT,
            "SOCKET_TIMEOUT": TIMEOUT,
        }
        return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"redis://{name}/0", "OPTIONS": options}

    def break_(self) -> None:
        self.primary.kill()
        self.primary.wait()


def _watches(watcher: redis.Redis) -> bool:
    (master,) = watcher.sentinel_masters().values()
    return bool(master["num-slaves"] == 2 and master["num-other-sentinels"] == 2)  # noqa: PLR2004


class Cluster(Scenario):
    """Three primaries, of which one is killed, and three replicas."""

    name = "Cluster failover"
    elects = True
    servers = 3
    primaries = 3

    def start(self) -> dict[str, Any]:
        directory = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="tieredcache-")))
        ports = [servers.free_port() for _ in range(2 * self.primaries)]
        self.processes = []
        for port in ports:
            options = ["--cluster-enabled", "yes", "--cluster-config-file", str(directory / f"{port}.conf")]
            options += ["--cluster-port", str(servers.free_port()), "--cluster-node-timeout", "1000"]
            self.processes.append(self.valkey(port, *options))
        servers.join_cluster(ports, self.primaries)
        options = {"BASE_CLIENT_KWARGS": {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}}
        return {
            "BACKEND": "django_valkey.cluster_cache.cache.ClusterValkeyCache",
            "LOCATION": f"valkey://{HOST}:{ports[1]}",
            "OPTIONS": options,
        }

    def break_(self) -> None:
        self.processes[0].kill()
        self.processes[0].wait()


class Memcached(Scenario):
    """SIGKILL; started again, empty."""

    name = "Memcached killed"
    loses = True

    def start(self) -> dict[str, Any]:
        self.port = servers.free_port()
        self.restore()
        options = {"connect_timeout": TIMEOUT, "timeout": TIMEOUT, "retry_timeout": -1, "retry_attempts": 1_000_000_000}
        return {
            "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
            "LOCATION": f"{HOST}:{self.port}",
            "OPTIONS": options,
        }

    def break_(self) -> None:
        # Its parent may be the one that answers: it and all that it has started.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def restore(self) -> None:
        command = servers.memcached_command(self.port)
        self.process = self.launch(command, self.port)


def await_(condition: Any, problem: str, seconds: float = 30) -> None:
    """Wait until ``condition()`` is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(problem)
        time.sleep(0.05)  # a process that starts sends no signal when it is ready: it is polled, until the deadline above


ALL: tuple[type[Scenario], ...] = (
    Killed,
    Stopped,
    Proxied,
    ReadOnly,
    OutOfMemory,
    Sentinels,
    Cluster,
    Memcached,
)
"""In the order of the table."""
