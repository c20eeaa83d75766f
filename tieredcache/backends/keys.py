"""The remote tier of a ``TieredCache``, and what keys are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.cache import CacheHandler, caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT, default_key_func

from tieredcache.backends.get_or_set import GetOrSet
from tieredcache.config.registry import siblings, tier_for
from tieredcache.remote import reader_for
from tieredcache.remote.failures import packages_of

if TYPE_CHECKING:
    from collections.abc import Hashable

    from django.core.cache.backends.base import BaseCache

    from tieredcache.config.registry import Tier
    from tieredcache.remote import Reader


def _of_remote(name: str, setting: str) -> Any:
    """An attribute that decides the keys: it is the remote's, and can be changed there only."""

    def refuse(*_: object) -> None:
        raise AttributeError(
            f"{name} of a TieredCache is its remote's, because keys pass to the remote as they are: "
            f"assign it to cache.remote.{name}, or set {setting} of the remote's alias in CACHES"
        )

    return property(lambda cache: getattr(cache.remote, name), refuse)


class RemoteKeys(GetOrSet):
    """Knows the remote, and under which key each entry is kept.

    Two pairs of key and version have the same local key exactly where they have the same remote key. Most keys are strings
    of the default version: where the remote puts a constant prefix before these, their local key is the string itself, so
    that a hit has nothing to format. All others are made by the remote, for every read.
    """

    _handler: Any = None
    key_prefix: Any = _of_remote("key_prefix", "KEY_PREFIX")
    version: Any = _of_remote("version", "VERSION")
    key_func: Any = _of_remote("key_func", "KEY_FUNCTION")
    # Not an attribute that may be there or not: to look for it in vars() would make each hit on Python 3.11 2 % slower.
    default_timeout: Any = property(
        lambda cache: cache.remote.default_timeout if (own := cache._own_timeout) is DEFAULT_TIMEOUT else own,  # noqa: SLF001
        lambda cache, seconds: setattr(cache, "_own_timeout", seconds),
        doc="The default timeout of writes, in seconds: ``TIMEOUT`` of this alias where it has one, else the remote's.",
    )

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        # BaseCache.__init__ is not called: nearly all that it sets is the remote's, and is looked up there. Nor is the
        # remote made yet: a request that is served locally needs none.
        self._location = location
        self._tier: Tier = tier_for(RemoteKeys, location, params)
        self._settings = caches.settings
        self._own_timeout: Any = params.get("TIMEOUT", DEFAULT_TIMEOUT)

    @property
    def remote(self) -> BaseCache:
        """The remote backend of this thread or task. Asked for each time: a remote need not be safe to share."""
        if caches.settings.get(self._location) is self._tier.remote_settings:
            return caches[self._location]
        # CACHES is overridden, and this instance still held: it goes on with the settings that it was made in.
        self._handler = self._handler or CacheHandler(self._settings)
        return self._handler[self._location]  # type: ignore[no-any-return]

    def make_key(self, key: Any, version: Any = None) -> str:
        """The remote's key for ``(key, version)``, as its backend makes it."""
        return self.remote.make_key(key, version)

    def validate_key(self, key: str) -> None:
        """Raises, and warns, as the remote does of a key that it cannot have."""
        self.remote.validate_key(key)

    def get_backend_timeout(self, timeout: Any = DEFAULT_TIMEOUT) -> Any:
        """What the remote makes of ``timeout`` seconds, or of the default timeout of this alias."""
        return self.remote.get_backend_timeout(**self._timeout(timeout))

    def local_key(self, key: Any, version: Any = None) -> Hashable:
        """The local tier's key for ``(key, version)``: a string, or a tuple of the remote's whole key."""
        tier = self._tier
        reader = tier.reader or self._reader()
        # An empty key is never kept as it is: django-valkey passes it on without the prefix.
        if version is None and type(key) is str and key and tier.prefix:
            return key
        remote_key = reader.make_key(self.remote, key, version)
        if tier.prefix and len(remote_key) > len(tier.prefix) and remote_key.startswith(tier.prefix):
            return remote_key[len(tier.prefix) :]
        return (remote_key,)

    def _reader(self) -> Reader:
        tier = self._tier
        if tier.reader is None:
            remote = self.remote
            reader = reader_for(remote)
            reader.alias = tier.remote_alias
            noticed = any(other.reader and not other.prefix for other in siblings(tier))
            tier.prefix = "" if noticed else reader.prefix(remote)
            tier.has_servers = reader.has_servers(remote)
            tier.packages = packages_of(remote)
            tier.prefetches = tier.options.prefetch > 0 and reader.batches(remote)
            tier.reader = reader  # last: another thread may look at the rest as soon as it is there
        return tier.reader

    def _reached(self) -> BaseCache:
        """The remote, for a call that is about to reach it.

        What decides its keys is compared with what the local keys were made for: code may assign another prefix, version or
        key function at run time, and from then on the remote makes each key.
        """
        tier, remote = self._tier, self.remote
        if tier.prefix and not (
            remote.key_func is default_key_func and tier.prefix == f"{remote.key_prefix}:{remote.version}:"
        ):
            for each in siblings(tier):
                each.prefix = ""
                each.forget_all()  # the hit path would go on finding what is kept under the strings themselves
        return remote

    def _timeout(self, timeout: Any) -> dict[str, Any]:
        """The timeout to pass on; none where the remote's default applies (its cluster client's set_many takes none)."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self._own_timeout
        return {} if timeout is DEFAULT_TIMEOUT else {"timeout": timeout}
