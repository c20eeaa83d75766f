"""Values and TTLs of many keys: by one script, where the server runs it; else, and for a few keys, by a pipeline.

A pipeline packs and parses two commands for each key, and that is most of what a read of a hundred keys takes. Nothing comes
between the commands of a script; a pipeline reads the values first, see ``tieredcache.remote.redis``.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any, Final

from tieredcache.remote.failures import describe, is_refusal, may_be_repeated
from tieredcache.remote.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Sequence

FEWEST: Final = 16  # keys; for fewer the pipeline takes hardly longer, and the server executes one command less
MOST: Final = 5_000  # keys: Lua passes no more than some 8,000 arguments to a function
LARGE: Final = 400_000  # bytes from which it takes longer than the pipeline, because Lua copies the values
TRUSTED: Final = 20  # keys
GONE: Final = -2  # what PTTL says of a key that is not there
# An error of PTTL, by an ACL, is a reply. Nothing is written, so replicas run it. Bytes, which the client need not encode.
SCRIPT: Final = b"""\
local values, ttls, call = redis.call('MGET', unpack(KEYS)), {}, redis.pcall
for i, key in ipairs(KEYS) do ttls[i] = call('PTTL', key) end
return {values, ttls}
"""
SHA: Final = hashlib.sha1(SCRIPT, usedforsecurity=False).hexdigest()
logger: Final = logging.getLogger("tieredcache")


class ManyKeys(Reader):
    """Reads many keys of one remote, and remembers whether its server runs the script.

    A proxy in front of several servers may send it to one of them, where the keys of the others are missing. So until it has
    found ``TRUSTED`` keys, what it misses is asked for again; and once more by the script, if it is there then.
    """

    mget: bool = True  # as the remote's own get_many; else that is a pipeline of GETs, to which another type is an error
    cluster: bool = False  # where an MGET takes the keys of one slot only
    scripts: bool = True  # until the server has refused them
    _found: int = 0
    _large: bool = False  # whether the values that were read last are

    def ask(self, connection: Any, names: list[str]) -> tuple[list[Any], list[Any]]:
        """The values of ``names`` and what PTTL says of them; raises what the remote's own read would raise."""
        found: list[Any] = []
        refusal = ""
        if self.scripts and FEWEST <= len(names) <= MOST and not self._large:
            try:
                found, ttls = _run(connection, names)
            except Exception as error:
                if not is_refusal(error, closed=not self._found):
                    raise
                refusal = describe(error)
            else:
                missing = found.count(None)
                doubtful = missing and self._found < TRUSTED
                self._found += len(found) - missing
                if missing and not self.mget:  # a value of another type is missing to MGET, and an error to GET
                    doubtful = doubtful or any(value is None and ttl != GONE for value, ttl in zip(found, ttls, strict=True))
                if not doubtful:
                    self._large = _are_large(found)
                    return found, ttls
        values, ttls = _pipelined(connection, names, mget=self.mget, cluster=self.cluster)
        self._large = _are_large(values)
        # Where that has raised as well it was no matter of the script: a key, say, that the user may not read.
        if found and _misses(found, values):
            if _misses(_run_again(connection, names), values):  # else another process has written them after the script
                refusal = "it does not find every key"
            self._found = 0
        if refusal and self.scripts:
            self.scripts = False
            logger.warning("The remote cache %r runs no script, and reads many keys by a pipeline: %s", self.alias, refusal)
        return values, ttls


def _run(connection: Any, names: list[str]) -> Any:
    """Not EVALSHA: a server that holds writes back, in a failover, lets any script wait that might write."""
    try:
        return connection.evalsha_ro(SHA, len(names), *names)
    except Exception as error:
        if type(error).__name__ != "NoScriptError":
            raise
    connection.script_load(SCRIPT)
    return connection.evalsha_ro(SHA, len(names), *names)


def _run_again(connection: Any, names: list[str]) -> Any:
    try:
        values, _ = _run(connection, names)
    except Exception as error:
        if not may_be_repeated(error, frozenset()):  # a time limit of the caller
            raise
        return ()  # the pipeline has the values
    return values


def _misses(found: Sequence[Any], values: list[Any]) -> bool:
    return any(one is None and value is not None for one, value in zip(found, values, strict=False))


def _are_large(values: list[Any]) -> bool:
    return sum(map(len, filter(None, values))) > LARGE


def _pipelined(connection: Any, names: list[str], *, mget: bool, cluster: bool) -> tuple[list[Any], list[Any]]:
    together = mget and not cluster
    with connection.pipeline(transaction=False) as pipe:
        if together:
            pipe.mget(names)
        for name in () if together else names:
            pipe.get(name)
        for name in names:
            pipe.pttl(name)
        # Errors are replies: that of a PTTL is no reason not to return the value.
        replies = pipe.execute(raise_on_error=False)
    values, ttls = replies[: -len(names)], replies[-len(names) :]
    for place, value in enumerate(values):
        if isinstance(value, Exception):
            if together or not (mget and str(value).startswith("WRONGTYPE")):
                raise value  # as the remote would
            values[place] = None
    return (values[0] if together else values), ttls
