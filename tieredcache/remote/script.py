"""Values and TTLs of many keys: one command, a script, where the server runs it; else, and for a few keys, a pipeline.

A pipeline packs and parses two commands for each key, and that is most of what a read of a hundred keys takes. Nothing comes
between the commands of a script; in the pipeline, too, the values are read first: see ``tieredcache.remote.redis``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from tieredcache.remote.failures import describe, is_refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

FEWEST: Final = 5  # keys from which the script takes less time than the pipeline, with each client
MOST: Final = 5_000  # keys: Lua passes no more than some 8,000 arguments to a function
TRUSTED: Final = 20  # keys that it has found, see below
GONE: Final = -2  # what PTTL says of a key that is not there
# An error of PTTL, by an ACL, is a reply like others. No key is written, so a replica runs it. Bytes, because the client would
# look up how to encode a text for each call.
SCRIPT: Final = b"""\
local values, ttls, call = redis.call('MGET', unpack(KEYS)), {}, redis.pcall
for i, key in ipairs(KEYS) do ttls[i] = call('PTTL', key) end
return {values, ttls}
"""

logger: Final = logging.getLogger("tieredcache")


class Script:
    """The script, and what this process has learned of how one remote runs it. Shared by all threads.

    A proxy that spreads keys over several servers may send the whole script to one of them, where the other keys are missing.
    So until it has found ``TRUSTED`` keys, whatever it misses is asked for again.

    ``runs``: whether it may be tried. ``mget``: a key of another type is missing to the remote, as it is to MGET.
    """

    def __init__(self, *, runs: bool, mget: bool) -> None:
        self._runs = runs
        self._mget = mget
        self._found = 0

    def ask(self, connection: Any, names: Sequence[str], alias: str) -> tuple[Sequence[Any], Sequence[Any]]:
        """The values of ``names`` and what PTTL says of them; raises what the remote's own read would raise.

        ``alias``: of the remote, for the log. A server that refuses the script is asked by pipelines from then on.
        """
        found: list[Any] = []
        refusal = ""
        if self._runs and FEWEST <= len(names) <= MOST:
            try:
                found, ttls = connection.register_script(SCRIPT)(names)
            except Exception as error:
                if not is_refusal(error):
                    raise
                refusal = describe(error)
            else:
                missing = found.count(None)
                doubtful = missing and (self._found < TRUSTED or (not self._mget and _are_of_another_type(found, ttls)))
                self._found += len(found) - missing
                if not doubtful:
                    return found, ttls
        values, ttls = pipelined(connection, names, mget=self._mget)
        # Where that has raised as well it was no matter of the script: a key, say, that the user may not read.
        if any(first is None and second is not None for first, second in zip(found, values, strict=False)):
            refusal = "it does not find every key"
        if refusal and self._runs:
            self._runs = False
            logger.warning("The remote cache %r reads many keys by a pipeline: its server runs no script (%s).", alias, refusal)
        return values, ttls


def _are_of_another_type(values: Sequence[Any], ttls: Sequence[Any]) -> bool:
    """Whether there is something that MGET calls missing; or may be, where PTTL is an error."""
    return any(value is None and ttl != GONE for value, ttl in zip(values, ttls, strict=True))


def pipelined(connection: Any, names: Sequence[str], *, mget: bool) -> tuple[Sequence[Any], Sequence[Any]]:
    """The same by a pipeline. ``mget``: one command may name many keys."""
    with connection.pipeline(transaction=False) as pipe:
        if mget:
            pipe.mget(names)
            for name in names:
                pipe.pttl(name)
            # Errors are replies: that of a PTTL is no reason not to return the value.
            found, *ttls = pipe.execute(raise_on_error=False)
            values = [found] if isinstance(found, Exception) else found
        else:
            for name in names:
                pipe.get(name)
                pipe.pttl(name)
            replies = pipe.execute(raise_on_error=False)
            values, ttls = replies[::2], replies[1::2]
    for value in values:
        if isinstance(value, Exception):
            raise value  # as the remote would
    return values, ttls
