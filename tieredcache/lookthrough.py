"""Looking through to the remote's own methods, so that code written for the remote goes on working."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

READS: Final = frozenset(
    # Methods of django-redis, django-valkey and cachex that change nothing, or nothing that get() would return: taking a
    # lock is a write to the lock's own key. Their async forms, with an "a" in front, are meant too.
    [
        "client_list",
        "get_client",
        "get_client_with_index",
        "get_encoder",
        "get_lock",
        "hexists",
        "hget",
        "hgetall",
        "hkeys",
        "hlen",
        "hmget",
        "hvals",
        "info",
        "iter_keys",
        "key_func",
        "keys",
        "keyslot",
        "lindex",
        "llen",
        "lock",
        "lrange",
        "make_pattern",
        "memory_usage",
        "mget",
        "mget_nonatomic",
        "pexpiretime",
        "expiretime",
        "ping",
        "pttl",
        "readonly",
        "reverse_key",
        "scan",
        "scard",
        "sdiff",
        "sinter",
        "sismember",
        "smembers",
        "smismember",
        "srandmember",
        "sscan",
        "sscan_iter",
        "sunion",
        "ttl",
        "type",
        "zcard",
        "zcount",
        "zrange",
        "zrangebyscore",
        "zrank",
        "zrevrange",
        "zrevrangebyscore",
        "zrevrank",
        "zscore",
    ]
)


def look_through(remote: object, name: str, clear: Callable[[], None]) -> Any:
    """The attribute ``name`` of ``remote``; a method that is not known to only read calls ``clear`` when it is done."""
    attribute = getattr(remote, name)
    if not callable(attribute) or isinstance(attribute, type) or name.startswith("_"):
        return attribute
    if name in READS or name.removeprefix("a") in READS:
        return attribute

    @functools.wraps(attribute)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            result = attribute(*args, **kwargs)
        finally:
            clear()
        # Some have done nothing yet: clear once more when they have.
        if inspect.isawaitable(result):
            return _await(result, clear)
        if inspect.isgenerator(result):
            return _iterate(result, clear)
        if inspect.isasyncgen(result):
            return _aiterate(result, clear)
        return result

    return call


async def _await(result: Awaitable[Any], clear: Callable[[], None]) -> Any:
    try:
        return await result
    finally:
        clear()


def _iterate(items: Iterator[Any], clear: Callable[[], None]) -> Iterator[Any]:
    try:
        yield from items
    finally:
        clear()


async def _aiterate(items: AsyncIterator[Any], clear: Callable[[], None]) -> AsyncIterator[Any]:
    try:
        async for item in items:
            yield item
    finally:
        clear()
