"""``TieredCache``: Django's cache interface over a local tier and a remote one."""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import sync_to_async
from django.core.cache import caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.utils.safestring import SafeString

from tieredcache.backends.hits import many_hits, peek, slow_path, with_hit_path
from tieredcache.backends.local import Local
from tieredcache.backends.writes import RemoteWrites
from tieredcache.debug_toolbar import MARKS, PanelMark
from tieredcache.entries import MISSING, NOTHING, UNKNOWN
from tieredcache.failures import packages_of
from tieredcache.fill import Fill, Look
from tieredcache.fills import Fills
from tieredcache.freshness import note_write
from tieredcache.isolation import share_instances_of
from tieredcache.lookthrough import look_through
from tieredcache.readers import reader_for
from tieredcache.readers.base import local_key
from tieredcache.readers.chained import ChainReader
from tieredcache.registry import tier_for

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable
    from typing import Self

    from django.core.cache.backends.base import BaseCache

    from tieredcache.entries import Entry
    from tieredcache.readers import Reader
    from tieredcache.stats import Stats

_SIMPLE: Final = {str, int, float, bool}

# Template fragments: a str without a __dict__, and with nothing to change.
share_instances_of(SafeString)


class TieredCache(RemoteWrites):
    """A cache that reads the local tier first and the remote one second, and writes to the remote one.

    ``location``: the alias of the remote tier. ``params``: ``OPTIONS`` and ``TIMEOUT``, the default timeout of writes in
    seconds; where it is not set, the remote's applies. Raises ``ImproperlyConfigured`` for a mistake in either.

    Whatever the remote raises passes through, unless ``REMOTE_ERRORS`` is ``"ignore"`` and the error is that the remote has
    failed. In an outage a read that is not tried, and finds nothing that stands in for its answer, raises ``RemoteOutage``.
    """

    tieredcache_reader: ChainReader = ChainReader()

    made_from: type[TieredCache] | None = None
    _djdt_panel = PanelMark()

    def __new__(cls, location: str = "", params: dict[str, Any] | None = None) -> Self:
        """Of a class that is the tier's own, with the hit path built in.

        Here, because CPython does not specialise calls on an instance whose class was changed after it was made: there
        ``cache.get`` takes half as long again on 3.12 and 3.13. A subclass with an ``__init__`` of its own may change
        ``params`` in it, and ``copy`` passes none: these find their class later.
        """
        kind: type[Self] = cls
        tier = None
        if params is not None and cls.__init__ is TieredCache.__init__:
            tier = tier_for(TieredCache, location, params)
            kind = tier.class_of(vars(cls).get("made_from") or cls, with_hit_path)
            if not issubclass(kind, cls):
                kind, tier = cls, None  # of another tier's own class: Python would not call __init__
        self = object.__new__(kind)
        if tier is not None:
            self._tier = tier
        return self

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        # BaseCache.__init__ is not called: all it sets (version, key_prefix, key_func, ...) is the remote's, and is looked
        # up there. Nor is the remote made yet: a request that is served locally needs none.
        self._location = location
        if not hasattr(self, "_tier"):
            self._tier = tier_for(TieredCache, location, params)
            kind = type(self)
            self.__class__ = self._tier.class_of(vars(kind).get("made_from") or kind, with_hit_path)
        self._default_timeout = params.get("TIMEOUT", DEFAULT_TIMEOUT)
        if "TIMEOUT" in params:
            self.default_timeout: float | None = params["TIMEOUT"]

    # --- the tiers ---

    @property
    def remote(self) -> BaseCache:
        """The remote backend of this thread or task. Asked for each time: a remote need not be safe to share."""
        return caches[self._location]

    @property
    def local(self) -> Local:
        """The local tier: ``len()``, ``clear()``, ``forget(key, version=None)``. It never touches the remote."""
        return Local(self._tier, self.local_key)

    def keep_shared(self, key: str) -> float:
        """Give every reader of ``key`` the same object, as ``SHARE_VALUES`` does; returns its local timeout, in seconds."""
        made = self.local_key(key)
        if made not in self._tier.shared:
            self._tier.shared.add(made)
            self._tier.forget(made)  # a copy that is not
        return self._tier.options.timeout_for(key)

    def peek(self, key: str) -> tuple[Callable[[Any], Any], Hashable]:
        """What looks into the local tier alone, for any thread, and what to ask it for where ``key`` is meant."""
        return peek(self._tier), self.local_key(key)

    def stats(self) -> Stats:
        """What this process has counted, over all instances of this alias."""
        return self._tier.stats()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in {"_location", "_tier"} or name in MARKS:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        own = getattr(type(self), name, None)
        if isinstance(own, property):  # what made it fail was an AttributeError too: that is what has to be seen
            return own.fget(self)  # type: ignore[misc]
        return look_through(self._remote(), name, self._clear_local)

    def _remote(self) -> BaseCache:
        """The remote backend for one sync call, which is over before another task of this thread goes on.

        Remembered, because Django's look-up takes 4 microseconds after a wait for the network: a sixth of all that a miss
        adds to the trip itself. In the context, as Django does, and for this thread only, which may have inherited it; until
        CACHES is overridden.
        """
        remembered = self._tier.remote
        thread, connections, remote = remembered.get()
        known: Any = caches._connections  # type: ignore[attr-defined]  # noqa: SLF001 - another when CACHES is overridden
        if thread != get_ident() or connections is not known:
            remote = caches[self._location]
            remembered.set((get_ident(), known, remote))
        found: BaseCache = remote
        return found

    def make_key(self, key: Any, version: Any = None) -> str:
        """The remote's key for ``(key, version)``, as its backend makes it."""
        made: str = self._remote().make_key(key, version)
        return made

    def validate_key(self, key: str) -> None:
        """Raises, and warns, as the remote does of a key that it cannot have."""
        self._remote().validate_key(key)

    def get_backend_timeout(self, timeout: Any = DEFAULT_TIMEOUT) -> Any:
        """What the remote makes of ``timeout`` seconds, or of the default timeout of this alias."""
        return self._remote().get_backend_timeout(**self._timeout(timeout))

    def _clear_local(self) -> None:
        note_write()
        for tier in self._tier.siblings:
            tier.clear()

    # --- reads ---

    @slow_path
    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        """The value of ``key``, from the local tier where it has it, else from the remote one; ``default`` from neither."""
        return self._get(key, default, version, None)

    @slow_path
    async def aget(self, key: Any, default: Any = None, version: Any = None) -> Any:
        """As ``get``; a hit does not leave the event loop, or even yield to it."""
        return await self._aget(key, default, version, None)

    # ``entry``: what the hit path has found under the key as it is, and not served; ``NOTHING``: that there is none;
    # ``None``: it has not looked.

    def _get(self, key: Any, default: Any, version: Any, entry: Entry | None) -> Any:
        if entry is None or entry is NOTHING:
            value, made = self._serve(key, version, entry)
        else:  # a value to unpickle, nearly always: through _serve such a hit would take 15 to 40 % more
            value, made = self._tier.serve(key, entry), key
        if value is UNKNOWN:
            with self._fill(made, key, version) as fill:
                if fill.admitted():
                    reader = self._tier.reader or self._reader()
                    fill.keep(*reader.get(self._remote(), key, version, life=fill.timeout > 0))
            value = fill.result()
        return default if value is MISSING else value

    def _serve(self, key: Any, version: Any, entry: Entry | None) -> tuple[Any, Hashable]:
        """What the local tier answers, and its key."""
        if entry is NOTHING and key and self._tier.home is not None:
            return UNKNOWN, key
        made = self.local_key(key, version)
        return self._tier.serve(made, None), made

    def _read_in_thread(self, fill: Fill, key: Any, version: Any) -> None:
        with fill:
            if fill.still_admitted():
                fill.keep(*self._reader().get(self._remote(), key, version, life=fill.timeout > 0))

    async def _aget(self, key: Any, default: Any, version: Any, entry: Entry | None) -> Any:
        if entry is None or entry is NOTHING:
            value, made = self._serve(key, version, entry)
        else:
            value, made = self._tier.serve(key, entry), key
        if value is UNKNOWN:
            with self._fill(made, key, version) as fill:
                if fill.admitted():
                    reader, remote = self._reader(), self.remote
                    if reader.threaded(remote):
                        await sync_to_async(self._read_in_thread)(fill, key, version)
                    else:
                        fill.keep(*await reader.aget(remote, key, version, life=fill.timeout > 0))
            value = fill.result()
        return default if value is MISSING else value

    def get_many(self, keys: Iterable[Any], version: Any = None) -> dict[Any, Any]:
        """The values of those of ``keys`` that exist; one remote read for all that the local tier has not."""
        found, rest = many_hits(self._tier, keys, version)
        if rest:
            with Fills(self._tier) as fills:
                self._plan(rest, version, fills)
                if fills.admitted():
                    asked, life = fills.asked, fills.longest_timeout > 0
                    fills.keep(self._reader().get_many(self._remote(), asked, version, life=life))
            fills.result()
            for key in fills.deliver(found):
                if (value := self.get(key, MISSING, version)) is not MISSING:
                    found[key] = value
        return found

    def _read_many_in_thread(self, fills: Fills, version: Any) -> None:
        with fills:
            if fills.still_admitted():
                fills.keep(self._reader().get_many(self._remote(), fills.asked, version, life=fills.longest_timeout > 0))

    async def aget_many(self, keys: Iterable[Any], version: Any = None) -> dict[Any, Any]:
        """As ``get_many``; where all are hits it does not leave the event loop."""
        found, rest = many_hits(self._tier, keys, version)
        if rest:
            with Fills(self._tier) as fills:
                self._plan(rest, version, fills)
                if fills.admitted():
                    reader, remote = self._reader(), self.remote
                    if reader.threaded(remote):
                        await sync_to_async(self._read_many_in_thread)(fills, version)
                    else:
                        fills.keep(await reader.aget_many(remote, fills.asked, version, life=fills.longest_timeout > 0))
            fills.result()
            for key in fills.deliver(found):
                if (value := await self.aget(key, MISSING, version)) is not MISSING:
                    found[key] = value
        return found

    def has_key(self, key: Any, version: Any = None) -> bool:
        """Whether ``key`` exists; the remote's answer is not kept, because it comes without the value."""
        made = self.local_key(key, version)
        known: bool | None = self._tier.has(made)
        if known is None:
            with Look(self._tier, made, self._server(key, version)) as look:
                if look.admitted():
                    look.tell(self._reader().has_key(self._remote(), key, version))
            known = look.result()
        return known

    def _look_in_thread(self, look: Look, key: Any, version: Any) -> None:
        with look:
            if look.still_admitted():
                look.tell(self._reader().has_key(self._remote(), key, version))

    async def ahas_key(self, key: Any, version: Any = None) -> bool:
        """As ``has_key``."""
        made = self.local_key(key, version)
        known: bool | None = self._tier.has(made)
        if known is None:
            with Look(self._tier, made, self._server(key, version)) as look:
                if look.admitted():
                    remote = self.remote
                    if self._reader().threaded(remote):
                        await sync_to_async(self._look_in_thread)(look, key, version)
                    else:
                        look.tell(await self._reader().ahas_key(remote, key, version))
            known = look.result()
        return known

    def _plan(self, keys: list[Any], version: Any, fills: Fills) -> None:
        serve = self._tier.serve
        for key in keys:
            made = self.local_key(key, version)
            if fills.asks(made):
                fills.ask(key, made, None)
                continue
            value = serve(made, None)
            if value is UNKNOWN:
                fills.ask(key, made, self._fill(made, key, version))
            else:
                fills.served(key, made, value)

    def _reader(self) -> Reader:
        tier = self._tier
        if tier.reader is None:
            remote = self._remote()
            reader = reader_for(remote)
            tier.home = reader.home(remote)
            if tier.home is not None:
                tier.prefix = tier.home.removesuffix(f":{remote.version}:")
            tier.packages = packages_of(remote)
            tier.reader = reader
        return tier.reader

    def is_out(self, key: Any, version: Any = None) -> bool:
        """Whether the server of ``key`` could not be read when it was tried last."""
        return self._tier.gate.covers(self._server(key, version))

    @property
    def home(self) -> str | None:
        """What the remote puts before every ``str`` key of the default version, or ``None``."""
        self._reader()
        return self._tier.home

    def remote_key(self, key: Any, version: Any = None) -> str:
        """The key under which the remote keeps ``(key, version)``."""
        return self._reader().make_key(self._remote(), key, version)

    def local_key(self, key: Any, version: Any = None) -> Hashable:
        """The local tier's key for ``(key, version)``."""
        tier = self._tier
        reader = tier.reader or self._reader()
        # Without the remote, where it is known what it would make: of strings and numbers, but for those that django-valkey
        # takes for nothing.
        if tier.home is not None and key and type(key) in _SIMPLE:
            if version is None:
                return str(key)
            if version and type(version) in _SIMPLE:
                return local_key(f"{tier.prefix}:{version}:{key}", tier.home)
        return local_key(reader.make_key(self._remote(), key, version), tier.home)

    def _fill(self, made: Hashable, key: Any, version: Any) -> Fill:
        tier, name = self._tier, str(key)
        options = tier.options
        share = (options.share_values is not False and options.shares(name)) or made in tier.shared
        return Fill(tier, made, self._server(key, version), options.timeout_for(name), share=share)

    def _server(self, key: Any, version: Any) -> Callable[[], Hashable]:
        """Tells, when it is called, which of the remote's servers has the key."""
        return lambda: self._reader().server(self._remote(), key, version)
