"""Readers for Redis and Valkey: values and TTLs in one trip, for the clients whose reads are known.

The order is GET, then PTTL. Whatever is changed between the two is changed after the read, and so within the staleness
bound; in the other order a value could be kept with the longer TTL of the one it replaced. A subclass that reads in its own
way is left to the general reader, which asks for the TTL in a second call.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from asgiref.sync import sync_to_async
from django.core.cache.backends.redis import RedisCache, RedisCacheClient

from tieredcache.local.entries import EXISTS, MISSING, VALUE_ERRORS, is_callers
from tieredcache.remote.circuit import WHOLE
from tieredcache.remote.failures import Swallowed, undecodable_errors
from tieredcache.remote.reader import Reader, Undecodable, in_seconds, no_ttl
from tieredcache.remote.script import GONE, ManyKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from tieredcache.remote.reader import Answer

    Pipe: TypeAlias = tuple[Any, list[str], Callable[[Any], Any]]


class PipelinedReader(ManyKeys):
    """GET and PTTL in one trip, wanted or not; the rest is what a client does differently."""

    def open(self, remote: Any, keys: Sequence[Any], version: Any) -> Pipe:
        """What a read needs of a remote: a connection, the keys' names there, and what decodes a value."""
        raise NotImplementedError

    def failed(self, remote: Any, connection: Any, error: Exception) -> None:
        """Raise what the remote's own read would raise; return where it would swallow ``error`` and call it a miss."""
        raise error

    def has_servers(self, remote: Any) -> bool:
        return False

    def batches(self, remote: Any) -> bool:
        return True

    def threaded(self, remote: Any) -> bool:
        return True  # none of these clients has async reads of its own

    def get(self, remote: Any, key: Any, version: Any, *, ttl: bool = True) -> Answer:
        connection, (name,), decode = self.open(remote, (key,), version)
        try:
            # Not as a context manager: execute() cleans up by itself, and every miss would pay for the second time.
            pipe = connection.pipeline(transaction=False)
            # What get() and pttl() call.
            pipe.execute_command("GET", name)
            pipe.execute_command("PTTL", name)
            value, left = pipe.execute(raise_on_error=False)
            if isinstance(value, Exception):
                raise value  # noqa: TRY301 - as the remote would
        except Exception as error:
            self.failed(remote, connection, error)
            raise Swallowed from error
        return _answer(value, left, decode)

    def get_many(
        self, remote: Any, keys: Sequence[Any], version: Any, *, ttl: bool = True, asked: int | None = None
    ) -> list[Answer]:
        connection, names, decode = self.open(remote, keys, version)
        try:
            values, ttls = self.ask(connection, names)
        except Exception as error:
            self.failed(remote, connection, error)
            raise Swallowed from error
        if asked is None:
            asked = len(keys)
        found = enumerate(zip(values, ttls, strict=True))
        return [_answer(value, pttl, decode, asked=place < asked) for place, (value, pttl) in found]


def _answer(value: Any, pttl: Any, decode: Callable[[Any], Any], *, asked: bool = True) -> Answer:
    """The answer that these replies are. No error of the value's own code is raised where nobody has ``asked`` for it."""
    if value is None:
        # MGET says "none" of a value of another type, too, for which GET is an error: then there is something to expire.
        return MISSING, None if pttl == GONE else 0.0
    try:
        decoded = decode(value)
    except Exception as error:
        known = not isinstance(error, TimeoutError) and isinstance(error, (*VALUE_ERRORS, *undecodable_errors()))
        if is_callers(error) or (asked and not known):
            raise  # a time limit, which may be of a class that is not known
        return Undecodable(error), None  # it cannot be read, and so is no answer
    if pttl == -1:
        return decoded, None  # does not expire
    # Gone by the time PTTL ran. An error: the server does not tell us. Neither is to be kept.
    return decoded, 0.0 if isinstance(pttl, Exception) else max(0, pttl) / 1000


class DjangoReader(PipelinedReader):
    """Django's own ``RedisCache``."""

    def open(self, remote: Any, keys: Sequence[Any], version: Any) -> Pipe:
        names = list(map(partial(remote.make_and_validate_key, version=version), keys))  # on Python 3.11 a call less
        client = remote._cache
        return client.get_client(names[0] if len(names) == 1 else None), names, client._serializer.loads


class DjangoSubclassReader(Reader):
    """A subclass of Django's own ``RedisCache`` that reads in its own way. It has no ``ttl()``: its client is asked."""

    def _ttl(self, remote: Any, key: Any, version: Any) -> float | None:
        try:
            name = remote.make_and_validate_key(key, version=version)
            return in_seconds(remote, "pttl", remote._cache.get_client(name).pttl(name))
        except Exception as error:  # noqa: BLE001 - a time limit is raised again
            return no_ttl(remote, error)

    async def _attl(self, remote: Any, key: Any, version: Any) -> float | None:
        return await sync_to_async(self._ttl)(remote, key, version)


class ClientReader(PipelinedReader):
    """django-redis and django-valkey, which are built alike."""

    def __init__(self, interrupted: Any, errors: tuple[type[Exception], ...]) -> None:
        self._interrupted = interrupted
        self._errors = errors

    def open(self, remote: Any, keys: Sequence[Any], version: Any) -> Pipe:
        client = remote.client
        names = list(map(partial(client.make_key, version=version), keys))  # as above
        return client.get_client(write=False), names, client.decode

    def exists(self, remote: Any, key: Any, version: Any, *, ttl: bool = False) -> Answer:
        if not remote._ignore_exceptions:
            return super().exists(remote, key, version)
        try:
            found = remote.client.has_key(key, version=version)
        except self._interrupted as error:
            raise Swallowed from error.__cause__ or error
        return (EXISTS if found else MISSING), None

    def failed(self, remote: Any, connection: Any, error: Exception) -> None:
        if not (isinstance(error, self._errors) and remote._ignore_exceptions):
            raise error
        if remote._log_ignored_exceptions:
            remote.logger.error("Exception ignored", exc_info=error)


class ValkeyReader(ClientReader):
    """django-valkey, whose ``get_many`` is a pipeline of GETs: a key of another type is an error there, not a miss."""

    mget = False


class ClusterReader(ClientReader):
    """django-valkey on a cluster: a command names one key, and the pipeline sends one batch to each node."""

    scripts = False
    cluster = True
    _latest: Any = None  # the client that has read last: it knows the nodes, and making another one connects to them

    def open(self, remote: Any, keys: Sequence[Any], version: Any) -> Pipe:
        pipe = super().open(remote, keys, version)
        self._latest = pipe[0]
        return pipe

    def has_servers(self, remote: Any) -> bool:
        return True

    def server(self, remote: Any, key: Any, version: Any) -> Hashable:
        try:
            server: Hashable = self._latest.get_node_from_key(remote.client.make_key(key, version=version)).name
        except Exception:  # noqa: BLE001 - no read has come so far, or the client knows of no node for this key
            return WHOLE
        return server

    def failed(self, remote: Any, connection: Any, error: Exception) -> None:
        if isinstance(error, self._errors):
            raise self._interrupted(connection=connection) from error
        raise error


def _reads_like(remote: object, backend: type, client: object, client_class: type) -> bool:
    """Whether ``remote`` and its client read as the classes we know do, not in a subclass's own way."""
    return all(
        getattr(type(found), name) is getattr(known, name)
        for found, known in ((remote, backend), (client, client_class))
        for name in ("get", "get_many", "make_key")
        if hasattr(known, name)
    )


# Of the clients that are built alike: where the backend is, the client, its errors, and the reader.
_ALIKE: Final = (
    ("django_redis.cache", "RedisCache", "django_redis.client.default", "DefaultClient", ClientReader),
    ("django_valkey.cache", "ValkeyCache", "django_valkey.base_client", "ClientCommands", ValkeyReader),
    (
        "django_valkey.cluster_cache.cache",
        "ClusterValkeyCache",
        "django_valkey.cluster_cache.client.default",
        "DefaultClusterClient",
        ClusterReader,
    ),
)


def reader_for(remote: Any) -> Reader:
    """The reader that knows ``remote`` best."""
    if isinstance(remote, RedisCache):
        return DjangoReader() if _reads_like(remote, RedisCache, remote._cache, RedisCacheClient) else DjangoSubclassReader()
    for module, name, client_module, client_name, reader in _ALIKE:
        # Looked up, not imported: where the module is not loaded, the remote is not of its class.
        backend = getattr(sys.modules.get(module), name, None)
        if backend is not None and isinstance(remote, backend):
            source = sys.modules[client_module]
            if _reads_like(remote, backend, remote.client, getattr(source, client_name)):
                return reader(source.ConnectionInterrupted, source._main_exceptions)
    return Reader()
