"""The remote's own methods through a ``TieredCache``, so that code written for the remote goes on working."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# Methods of django-redis, django-valkey and django-cachex that change nothing, or nothing that get() would return: taking a
# lock is a write to the lock's own key. Their async forms, with an "a" in front, are meant as well.
READS: Final = frozenset(
    """
    client_list expiretime get_client get_client_with_index get_encoder get_lock hexists hget hgetall hkeys hlen hmget
    hvals info iter_keys key_func keys keyslot lindex llen lock lrange make_pattern memory_usage mget mget_nonatomic
    pexpiretime ping pttl readonly reverse_key scan scard sdiff sinter sismember smembers smismember srandmember sscan
    sscan_iter sunion ttl type zcard zcount zrange zrangebyscore zrank zrevrange zrevrangebyscore zrevrank zscore
    """.split()  # noqa: SIM905 - a list of one name a line would be half of this module
)


def pass_through(remote: object, name: str, before: Callable[[], None], after: Callable[[], None]) -> Any:
    """The attribute ``name`` of ``remote``; a method that is not known to only read calls the two functions around it."""
    attribute = getattr(remote, name)
    if not callable(attribute) or isinstance(attribute, type) or name in READS or name.removeprefix("a") in READS:
        return attribute

    @functools.wraps(attribute)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            before()
            result = attribute(*args, **kwargs)
            after()
        except BaseException:  # a time limit, say, that a signal handler has raised in after(): it may be repeated
            after()
            raise
        return _await(result, after) if inspect.isawaitable(result) else result

    return call


async def _await(result: Awaitable[Any], after: Callable[[], None]) -> Any:
    try:
        found = await result
        after()
    except BaseException:  # as above
        after()
        raise
    return found
