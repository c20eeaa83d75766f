"""Reading the remote tier: a value and its remaining life, in one trip where the remote allows."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tieredcache.readers.base import Answer, Reader

if TYPE_CHECKING:
    from django.core.cache.backends.base import BaseCache

__all__ = ["Answer", "Reader", "reader_for"]


def reader_for(remote: BaseCache) -> Reader:
    """The reader that knows ``remote`` best. A backend may bring its own, as the class attribute ``tieredcache_reader``."""
    own: Any = getattr(type(remote), "tieredcache_reader", None)
    if isinstance(own, Reader):
        return own
    # Looked up, not imported: where none of these modules is loaded, the remote cannot be one of theirs.
    if {"redis", "valkey"} & sys.modules.keys():
        from tieredcache.readers.pipelined import pipelined_reader_for

        if pipelined := pipelined_reader_for(remote):
            return pipelined
    return Reader()
