"""Watches the server of a remote by ``MONITOR``, over connections of its own, made as the remote's client makes its own."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Final

from tieredcache.plan.events import PlanError
from tieredcache.plan.parser import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieredcache.plan.events import Event

MOST_EVENTS: Final = 2_000_000
DRAWS: Final = 50  # a client picks one of its replicas at random for each read
PATIENCE: Final = 10  # seconds in which a line that has begun must end: it may be as long as a value is large
PROBE: Final = "tieredcache-plan"
FORBIDDEN: Final = (
    "does not let this user run MONITOR. Allow it for as long as the plan takes (ACL SETUSER <user> +monitor), "
    "or record a trace elsewhere and pass it with --trace FILE."
)


def watch(cache: Any, alias: str, seconds: float, processes: int | None) -> tuple[list[Event], int]:
    """What is done to the keys of ``cache`` in so many seconds, and how many commands were on other keys.

    ``processes``: how many there are; ``None``: it goes by the names and addresses of their connections. Raises
    ``PlanError``, which quotes no setting, and leaves no connection.
    """
    with ExitStack() as stack:
        try:
            pools = _pools(cache)
            if not pools:
                raise PlanError(f"{alias!r} is no cache of django-redis, django-valkey or Django's RedisCache.")  # noqa: TRY301
            connections, named = _connect(stack, pools)
            databases = {int(pool.connection_kwargs.get("db") or 0) for pool, _ in pools}
            recorder = Recorder(databases, _names(cache))
            _read(connections, recorder, time.monotonic() + seconds)
        except PlanError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the client raises: its text may quote a URL with a password
            raise PlanError(f"The server of {alias!r} {_problem(error)}") from None
    process = {
        client: str(number % processes) if processes else named.get(client, client)
        for client, number in recorder.ordinals.items()
    }
    events = [event._replace(process=process[event.process]) for event in recorder.events]
    return sorted(events, key=lambda event: event.time), recorder.others


def _pools(cache: Any) -> list[tuple[Any, bool]]:
    """The connection pools of the client that ``cache`` has; and whether each leads to a primary."""
    client = getattr(cache, "client", None) or getattr(cache, "_cache", None)
    if client is None or not hasattr(client, "get_client"):
        return []
    if shards := getattr(client, "_serverdict", None):  # django-redis' ShardClient
        return [(shard.connection_pool, True) for shard in shards.values()]
    raw = client.get_client(write=True)
    if hasattr(raw, "get_primaries"):  # a cluster
        connect = getattr(raw, "get_valkey_connection", None) or raw.get_redis_connection
        return [(connect(node).connection_pool, True) for node in raw.get_primaries()]
    readers = {id(pool): pool for _ in range(DRAWS) if (pool := client.get_client(write=False).connection_pool)}
    readers.pop(id(raw.connection_pool), None)
    return [(raw.connection_pool, True), *((pool, False) for pool in readers.values())]


def _connect(stack: ExitStack, pools: list[tuple[Any, bool]]) -> tuple[list[tuple[Any, bool]], dict[str, str]]:
    """A connection to each server that prints what it is sent; and the process of each client that has a name."""
    connections: list[tuple[Any, bool]] = []
    named: dict[str, str] = {}
    servers = set()
    for pool, primary in pools:
        # Not from the pool, which has its limit.
        connection = pool.connection_class(**pool.connection_kwargs | {"socket_timeout": PATIENCE})
        stack.callback(connection.disconnect)
        connection.connect()
        server = connection._sock.getpeername()  # noqa: SLF001 - the client does not tell
        if server in servers:  # a Sentinel that knows of no replica names the primary
            continue
        servers.add(server)
        with suppress(Exception):  # a server that does not tell: then each connection counts as a process
            connection.send_command("CLIENT", "LIST")
            named |= _processes(connection.read_response(disable_decoding=True))
        connection.send_command("MONITOR")
        connection.read_response()
        connections.append((connection, primary))
    return connections, named


def _processes(clients: Any) -> dict[str, str]:
    """By the address of a connection that has a name: its host and name, which connections of one process share."""
    found = {}
    for line in bytes(clients).decode(errors="replace").splitlines():
        about = dict(word.partition("=")[::2] for word in line.split(" "))
        if about.get("name"):
            found[about["addr"]] = f"{about['addr'].rpartition(':')[0]} {about['name']}"
    return found


def _read(connections: list[tuple[Any, bool]], recorder: Recorder, end: float) -> None:
    while time.monotonic() < end and len(recorder.events) < MOST_EVENTS:
        for connection, primary in connections:
            if connection.can_read(0.05 / len(connections)):
                for _ in range(1000):
                    line = connection.read_response(disable_decoding=True)
                    if isinstance(line, bytes):
                        recorder.feed(line, connection, writes=primary)
                    if time.monotonic() > end or not connection.can_read(0):
                        break


def _names(cache: Any) -> Callable[[str], str | None]:
    """What finds out how the application names a key; where a ``KEY_FUNCTION`` does more than add a prefix: as it is."""
    prefix, found, _ = str(cache.make_key(PROBE)).partition(PROBE)
    if not found or _ or not prefix:
        return lambda key: key
    return lambda key: key[len(prefix) :] if key.startswith(prefix) else None


def _problem(error: Exception) -> str:
    """What is wrong, without the text of ``error``."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "NoPermissionError" in kinds or ("ResponseError" in kinds and re.match(r"unknown command|NOPERM", str(error))):
        return FORBIDDEN
    remedy = "It is reached by the settings of the alias, and by nothing else: check these."
    return f"could not be watched: {error_name(error)}. {remedy}"


def error_name(error: BaseException) -> str:
    """What ``error`` is, without its text, which may quote a URL with a password; the system's reason where there is one."""
    cause: BaseException | None = error
    reason, seen = "", set[int]()  # django-redis raises an error from the one that it has caused itself: a circle
    while cause is not None and not reason and id(cause) not in seen:
        seen.add(id(cause))
        reason = (isinstance(cause, OSError) and cause.strerror) or ""
        cause = cause.__cause__ or cause.__context__
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__
