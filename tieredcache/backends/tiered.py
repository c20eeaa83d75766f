"""``TieredCache``: Django's cache interface over a local tier and a remote one. This module reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.safestring import SafeString

from tieredcache.backends.local import Local
from tieredcache.backends.passthrough import pass_through
from tieredcache.backends.reads import RemoteReads
from tieredcache.clock import clock
from tieredcache.freshness import accepts, accepts_once, demands
from tieredcache.local.entries import MISSING, UNKNOWN
from tieredcache.local.immutable import share_instances_of
from tieredcache.local.sample import again

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from tieredcache.local.early import Early
    from tieredcache.local.inflight import Inflight
    from tieredcache.local.stats import Stats
    from tieredcache.local.tier import Read

# Template fragments: a str without a __dict__, and with nothing to change.
share_instances_of(SafeString)


class TieredCache(RemoteReads):
    """A cache that reads the local tier first and the remote one second, and writes to the remote one.

    ``location``: the alias of the remote tier. ``params``: ``OPTIONS`` and ``TIMEOUT``, the default timeout of writes in
    seconds; where it is not set, the remote's applies. Raises ``ImproperlyConfigured`` for a mistake in either.

    Whatever the remote raises passes through, unless ``REMOTE_ERRORS`` is ``"ignore"`` and the error is that the remote has
    failed. In an outage a read that is not sent, and finds nothing that stands in for its answer, raises ``RemoteOutage``.

    The hit path is in ``get``, and again in ``aget``, ``get_many`` and ``derived``: a call would add a third to it. What
    each part costs, in percent of a hit (``python -m benchmarks.micro.parts``): the clock 30 to 35, which deadlines need;
    ``type(key) is str`` 10, because a key of another type may be equal to a stored one and mean another to the remote;
    ``self._lru`` 9 on Python 3.11 and 1 on 3.12 and 3.13; ``demands`` 1 to 3; ``version is None`` 2; ``try`` 1 at most.
    ``aget`` adds 45 to 60: a coroutine is made, run and thrown away, which takes 40 to 45 where it does nothing (``python -m
    benchmarks --only aget``). A miss in a coroutine of its own, for a smaller frame, would save 1. What is awaited must be
    a coroutine, because ``asyncio.create_task`` takes nothing else.
    """

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(location, params)
        self._lru = self._tier.lru
        self.inflight: Inflight = self._tier.inflight
        self.early: Early = self._tier.early
        self.refresh_early: float = self._tier.options.refresh_early

    @property
    def local(self) -> Local:
        """The local tier: ``len()``, ``clear()``, ``forget(key, version=None)``. It never touches the remote's entries."""
        return Local(self._tier, self.local_key)

    def stats(self) -> Stats:
        """What this process has counted, over all instances of this alias."""
        return self._tier.stats(self._tier.options.max_entries)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or hasattr(type(self), name):
            return object.__getattribute__(self, name)  # raises again what has led here
        return pass_through(self._reached(), name, self._begin_write, lambda: self._end_write(None, None))

    # --- reads ---

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        """The value of ``key``, from the local tier where it has it, else from the remote one; ``default`` from neither."""
        if version is None and type(key) is str:
            try:
                entry = self._lru[key]
                if entry.deadline > clock() and (not demands or accepts(entry.read_at)):
                    return entry.value
                self._tier.not_hits += 1  # it is looked up once more below
            except (KeyError, AttributeError):  # not there, or forgotten this moment
                pass
        read, value = self._look(key, version)
        if read is not None:
            value = self._fetch("get", read)[0]
        return default if value is MISSING else value

    async def aget(self, key: Any, default: Any = None, version: Any = None) -> Any:
        """As ``get``; a hit does not leave the event loop, or even yield to it."""
        if version is None and type(key) is str:
            try:
                entry = self._lru[key]
                if entry.deadline > clock() and (not demands or accepts(entry.read_at)):
                    return entry.value
                self._tier.not_hits += 1
            except (KeyError, AttributeError):
                pass
        read, value = self._look(key, version)
        if read is not None:
            value = (await self._afetch("get", read))[0]
        return default if value is MISSING else value

    def has_key(self, key: Any, version: Any = None) -> bool:
        """Whether ``key`` exists: where no local copy tells, the remote does, and no value is read or kept."""
        read, value = self._look(key, version, exists=True)
        if read is not None:
            value = self._fetch("exists", read)[0]
        return value is not MISSING

    async def ahas_key(self, key: Any, version: Any = None) -> bool:
        """As ``has_key``."""
        read, value = self._look(key, version, exists=True)
        if read is not None:
            value = (await self._afetch("exists", read))[0]
        return value is not MISSING

    def _look(self, key: Any, version: Any, *, exists: bool = False) -> tuple[Read | None, Any]:
        """What the local tier answers, or else the read that has to be made."""
        tier, local_key = self._tier, self.local_key(key, version)
        # Looked up first: what is not there costs serve() an exception.
        value = tier.serve(local_key, accepts) if local_key in tier.index else UNKNOWN
        if value is UNKNOWN:
            return tier.begin(key, version, local_key), None
        if tier.options.staleness_sample and not exists and (read := again(tier, key, version, local_key)):
            return read, None
        return None, value

    def get_many(self, keys: Iterable[Any], version: Any = None) -> dict[Any, Any]:
        """The values of those of ``keys`` that exist; one remote read for all that the local tier has not."""
        found, rest = self._hits(keys, version)
        if rest:
            plan, reads = self._look_many(rest, version)
            answers = dict(zip(reads, self._fetch("get_many", *reads.values()), strict=True)) if reads else {}
            for key, local_key, served in plan:
                value = answers.pop(local_key, UNKNOWN) if served is UNKNOWN else served
                if value is UNKNOWN:  # another name of a key, which is given an object of its own
                    value = self.get(key, MISSING, version)
                elif value is MISSING:
                    answers[local_key] = MISSING  # the answer to all names of the key
                if value is not MISSING:
                    found[key] = value
        return found

    async def aget_many(self, keys: Iterable[Any], version: Any = None) -> dict[Any, Any]:
        """As ``get_many``; where all are hits it does not leave the event loop."""
        found, rest = self._hits(keys, version)
        if rest:
            plan, reads = self._look_many(rest, version)
            answers = dict(zip(reads, await self._afetch("get_many", *reads.values()), strict=True)) if reads else {}
            for key, local_key, served in plan:
                value = answers.pop(local_key, UNKNOWN) if served is UNKNOWN else served
                if value is UNKNOWN:
                    value = await self.aget(key, MISSING, version)
                elif value is MISSING:
                    answers[local_key] = MISSING  # the answer to all names of the key
                if value is not MISSING:
                    found[key] = value
        return found

    def _hits(self, keys: Iterable[Any], version: Any) -> tuple[dict[Any, Any], list[Any]]:
        """The hits up to the first key that is none, and the keys from there on."""
        found: dict[Any, Any] = {}
        if version is not None:
            return found, list(keys)
        lru, now, demanded = self._lru, clock(), bool(demands)
        rest = iter(keys)  # for what is left: to count the keys would take a tenth longer
        for key in rest:
            try:
                if type(key) is str:
                    entry = lru[key]
                    if entry.deadline > now and (not demanded or accepts(entry.read_at)):
                        found[key] = entry.value
                        continue
                    self._tier.not_hits += 1
            except (KeyError, AttributeError):
                pass
            return found, [key, *rest]
        return found, []

    def _look_many(self, keys: list[Any], version: Any) -> tuple[list[tuple[Any, Hashable, Any]], dict[Hashable, Read]]:
        """The keys with what the local tier answers, and the reads that have to be made, by local key.

        Two keys that are one to the remote (``1`` and ``"1"``) are asked for once; one that is given twice is planned once.
        """
        tier, index = self._tier, self._tier.index
        plan: list[tuple[Any, Hashable, Any]] = []
        reads: dict[Hashable, Read] = {}
        given: dict[Any, Hashable] = {}
        for key in keys:
            local_key, value = self.local_key(key, version), UNKNOWN
            try:
                if given.get(key) == local_key:  # else an equal one was given since: 1 and True are one key to a dict only
                    continue
                given[key] = local_key
            except TypeError:  # it cannot be hashed: a miss
                pass
            if local_key not in reads:
                # Looked up first: what is not there costs serve() an exception.
                if local_key in index:
                    value = tier.serve(local_key, accepts)
                if value is UNKNOWN:
                    reads[local_key] = tier.begin(key, version, local_key)
                elif tier.options.staleness_sample and (read := again(tier, key, version, local_key)):
                    reads[local_key], value = read, UNKNOWN
            plan.append((key, local_key, value))
        return plan, reads

    # --- what is made of a local copy, such as the index of a lookup table ---

    def derived(self, key: str, build: Callable[[Any], Any]) -> Any:
        """What ``derive`` has made of the local copy of ``key`` by ``build``; ``None`` where none may be served.

        Within a demand on freshness, a copy read since it began will do.
        """
        try:
            entry = self._lru[key]
            if entry.until > clock() and (not demands or accepts_once(entry.read_at)):
                source, maker, built = entry.derived
                if source is entry.value and maker is build:
                    return built
            self._tier.not_hits += 1
        except AttributeError:  # nothing derived so far, or forgotten this moment
            self._tier.not_hits += 1
        except KeyError:
            pass
        return self._tier.derived(self.local_key(key), build, accepts_once)

    def derive(self, key: str, build: Callable[[Any], Any]) -> Any:
        """What ``build`` makes of the local copy of ``key``; ``None`` where there is none that may be served.

        It is kept beside the copy and forgotten with it; of two functions, the last to be passed counts.
        """
        return self._tier.derive(self.local_key(key), build, accepts_once)

    def mark(self, key: str) -> object:
        """An object that is another one once ``key`` has been written or forgotten in this process."""
        return self._tier.mark(self.local_key(key))

    def local_timeout(self, key: str) -> float:
        """The seconds for which a local copy of ``key`` may be served; 0: none is kept."""
        return self._tier.options.timeout_for(key)
