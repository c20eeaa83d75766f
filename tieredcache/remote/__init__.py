"""Asking another cache: how each kind is read, what its failures mean, and which reads may be sent while it fails."""

from tieredcache.remote.failures import client_error
from tieredcache.remote.reader import Reader
from tieredcache.remote.redis import reader_for

__all__ = ["Reader", "client_error", "reader_for"]
