"""What ``MONITOR`` prints, line by line, as events."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from tieredcache.plan.events import Event

if TYPE_CHECKING:
    from collections.abc import Callable

_LINE: Final = re.compile(rb"(\d+\.\d+) \[(\d+) (.*?)\] (?=\")", re.DOTALL)
_ARGUMENT: Final = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
_ESCAPED: Final = re.compile(rb"\\(x[0-9a-f]{2}|.)", re.DOTALL)
_CONTROL: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}

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


class Line(NamedTuple):
    """``arguments``: as they are printed, escaped; the first is the command."""

    time: float
    database: int
    client: str
    arguments: list[bytes]


def parse(line: bytes) -> Line | None:
    """One line of ``MONITOR``; ``None`` for anything else."""
    head = _LINE.match(line)
    if head is None:
        return None
    return Line(float(head[1]), int(head[2]), head[3].decode(errors="replace"), _ARGUMENT.findall(line, head.end()))


def unescape(argument: bytes) -> bytes:
    """The bytes that an argument was sent with."""
    return _ESCAPED.sub(_original, argument) if b"\\" in argument else argument


def _original(found: re.Match[bytes]) -> bytes:
    code: bytes = found[1]
    return bytes([int(code[1:], 16)]) if len(code) > 1 else _CONTROL.get(code, code)


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
        line = parse(raw)
        if line is None or line.database not in self._databases or not line.arguments:
            return
        command, client = line.arguments[0].upper(), line.client
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
        arguments = line.arguments
        for number in range(*where.indices(len(arguments))):
            key = self._name(unescape(arguments[number]).decode(errors="surrogateescape"))
            if key is None:
                self.others += 1
                continue
            size = None
            if value and number + value < len(arguments):
                size = len(_ESCAPED.sub(b".", arguments[number + value]))
            self._note(Event(line.time, client, operation, key, size), [command, *arguments[number + 1 :]])

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
