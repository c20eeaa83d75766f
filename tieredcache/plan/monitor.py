"""Watches the server of a remote by ``MONITOR``, over connections of its own, made as the remote's client makes its own."""

from __future__ import annotations

import math
import re
import time
from contextlib import ExitStack, suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from tieredcache.plan.events import Event, PlanError, error_name

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_EVENTS: Final = 2_000_000
DRAWS: Final = 50  # a client picks one of its replicas at random for each read
PATIENCE: Final = 10  # seconds in which a line that has begun must end: it may be as long as a value is large
PROBE: Final = "tieredcache-plan"
FORBIDDEN: Final = (
    "does not let this user run MONITOR. Allow it for as long as the plan takes (ACL SETUSER <user> +monitor), "
    "or record a trace elsewhere and pass it with --trace FILE."
)


def watch(cache: Any, alias: str, seconds: float, processes: int | None) -> tuple[list[Event], int]:
    """What is done to the keys of ``cache`` within ``seconds``, and how many commands were on other keys.

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


# --- the lines ---

_LINE: Final = re.compile(rb"(\d+\.\d+) \[(\d+) (.*?)\] (?=\")", re.DOTALL)
_ARGUMENT: Final = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)

AT_ONCE: Final = 1.0
"""Seconds within which a write follows the read that it was made for."""

# By command: the operation; which arguments are keys (from, step, to); which, counted from the key, is the value.
_ONE: Final = slice(1, 2)
_ALL: Final = slice(1, None)
_COMMANDS: Final[dict[bytes, tuple[str, slice, int]]] = {
    **dict.fromkeys((b"GET", b"GETEX"), ("get", _ONE, 0)),
    b"MGET": ("get", _ALL, 0),
    **dict.fromkeys((b"SET", b"SETNX", b"GETSET"), ("set", _ONE, 1)),
    **dict.fromkeys((b"SETEX", b"PSETEX"), ("set", _ONE, 2)),
    **dict.fromkeys((b"MSET", b"MSETNX"), ("set", slice(1, None, 2), 1)),
    **dict.fromkeys((b"DEL", b"UNLINK"), ("delete", _ALL, 0)),
    b"GETDEL": ("delete", _ONE, 0),
    **dict.fromkeys((b"EXPIRE", b"PEXPIRE", b"EXPIREAT", b"PEXPIREAT", b"PERSIST"), ("touch", _ONE, 0)),
    **dict.fromkeys((b"INCR", b"DECR", b"INCRBY", b"DECRBY", b"INCRBYFLOAT"), ("incr", _ONE, 0)),
}
_SCRIPTS: Final = (b"EVAL", b"FCALL")  # and EVALSHA, FCALL_RO and so on
_UNITS: Final = {b"EX": 1.0, b"PX": 0.001, b"SETEX": 1.0, b"PSETEX": 0.001, b"EXPIRE": 1.0, b"PEXPIRE": 0.001}


def parse(line: bytes) -> tuple[float, int, str, list[bytes]] | None:
    """Of a line of ``MONITOR`` the time, database, client, and command with arguments, as printed; ``None``: it is none."""
    head = _LINE.match(line)
    return head and (float(head[1]), int(head[2]), head[3].decode(errors="replace"), _ARGUMENT.findall(line, head.end()))


def unescape(argument: bytes) -> bytes:
    """The bytes that an argument was sent with: the server escapes them as Python does."""
    return argument.decode("unicode_escape").encode("latin-1")


class Recorder:
    """Makes events of lines. ``name``: a key as the application passed it to the cache; ``None``: it is not this alias's.

    ``MONITOR`` prints no replies. So a read is a miss where the trace knows that the key is not there: it was deleted, has
    expired, or, where nothing is known of it, is set by the same client at once.
    """

    def __init__(self, databases: set[int], name: Callable[[str], str | None]) -> None:
        self.events: list[Event] = []
        self.others: int = 0  # commands on keys that are none of this alias's
        self._databases = databases
        self._name = name
        self._until: dict[str, float] = {}  # when a key expires; -inf: it is not there
        self._unsure: dict[tuple[str, str], int] = {}  # the latest read of a key of which nothing is known
        self._caller: dict[object, str] = {}  # the client that has called a script, by connection
        self.ordinals: dict[str, int] = {}  # of each client, among those of its server
        self._clients: dict[object, int] = {}

    def feed(self, raw: bytes, connection: object = None, *, writes: bool = True) -> None:
        """Note what is in this line. ``writes``: not on a replica, which is sent those of its primary."""
        time, database, client, arguments = parse(raw) or (0, -1, "", [])
        if database not in self._databases or not arguments:
            return
        command = arguments[0].upper()
        if client == "lua":
            client = self._caller.get(connection, client)
        elif command.startswith(_SCRIPTS):
            self._caller[connection] = client
        known = _COMMANDS.get(command)
        if known is None or not (writes or known[0] == "get"):
            return
        operation, where, value = known
        if client not in self.ordinals:
            self.ordinals[client] = self._clients.get(connection, 0)
            self._clients[connection] = self.ordinals[client] + 1
        for number in range(*where.indices(len(arguments))):
            key = self._name(unescape(arguments[number]).decode(errors="surrogateescape"))
            if key is None:
                self.others += 1
                continue
            known_size = value and number + value < len(arguments)
            size = len(unescape(arguments[number + value])) if known_size else None
            self._note(Event(time, client, operation, key, size), [command, *arguments[number + 1 :]])

    def _note(self, event: Event, rest: list[bytes]) -> None:
        time, client, operation, key, _ = event
        until = self._until.get(key)
        there = None if until is None else until > time
        if operation == "get":
            if there is None:
                self._unsure[client, key] = len(self.events)
            elif not there:
                event = event._replace(operation="miss")
        elif operation == "set":
            options = [word.upper() for word in rest[2:6]]
            if there and (rest[0] in {b"SETNX", b"MSETNX"} or b"NX" in options):
                return  # it is refused
            read = self._unsure.pop((client, key), None)
            if there is None and read is not None and time - self.events[read].time <= AT_ONCE:
                self.events[read] = self.events[read]._replace(operation="miss")
            self._until[key] = time + _seconds(rest, options)
        elif operation == "delete":
            self._until[key] = -math.inf
        elif operation == "touch" and there:
            self._until[key] = time + _seconds(rest, [])
        elif operation == "incr" and not there:
            self._until[key] = math.inf
        self.events.append(event)


def _seconds(rest: list[bytes], options: list[bytes]) -> float:
    """In how many seconds a key expires that is set so; never, where it does not say. Points in time are not read."""
    unit, number = _UNITS.get(rest[0]), rest[1:2]
    for word, after in pairwise(options):
        if word in {b"EX", b"PX"}:
            unit, number = _UNITS[word], [after]
    return int(number[0]) * unit if unit and number and number[0].isdigit() else math.inf
