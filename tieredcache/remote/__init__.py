"""Asking another cache: how each kind is read, what its failures mean, and which reads may be sent while it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tieredcache.remote.failures import client_error
from tieredcache.remote.reader import Reader
from tieredcache.remote.redis import pipelined_reader_for

if TYPE_CHECKING:
    from django.core.cache.backends.base import BaseCache

__all__ = ["Reader", "client_error", "reader_for"]


def reader_for(remote: BaseCache) -> Reader:
    """The reader that knows ``remote`` best."""
    return pipelined_reader_for(remote) or Reader()
