"""The remote reads of ``TieredCache``: sent or held back, answered or failed, and what stands in for an answer."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import BaseCache

from tieredcache.backends.writes import RemoteWrites
from tieredcache.freshness import accepts
from tieredcache.local.entries import EXISTS, MISSING, UNKNOWN, is_callers
from tieredcache.local.sample import compare
from tieredcache.remote.circuit import WHOLE
from tieredcache.remote.failures import Swallowed, client_error, is_remote_error, may_be_repeated, says_down
from tieredcache.remote.reader import Undecodable

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from tieredcache.local.inflight import Computation
    from tieredcache.local.tier import Read
    from tieredcache.remote.reader import Answer


class RemoteReads(RemoteWrites):
    """Sends a read to the remote and keeps its answer, or finds what stands in for it."""

    def _fetch(self, method: str, *reads: Read) -> list[Any]:
        """The values of these keys, of one version: the remote's answers, or what stands in for them.

        ``method``: the reader's: ``"get"``, ``"exists"`` or ``"get_many"``.
        """
        tier, remote = self._tier, self._reached()
        many = method == "get_many"
        each = many and tier.has_servers  # some of the servers may be down, and others not
        if tier.circuit.failing:
            if each:
                return [self._fetch("get", read)[0] for read in reads]
            if instead := self._held_back(reads):
                return instead
        ttl = reads[0].timeout > 0 or any(read.timeout > 0 for read in reads)
        try:
            reader = tier.reader or self._reader()
            answers = self._bring(remote, reads) if tier.prefetches and method != "exists" else None
            if answers is None:
                keys = [read.key for read in reads] if many else reads[0].key
                answer = getattr(reader, method)(remote, keys, reads[0].version, ttl=ttl)
                answers = answer if many else [answer]
        except BaseException as error:  # noqa: BLE001 - raised there, unless something stands in for the answers
            if each and is_remote_error(error, tier.packages):
                return [self._fetch("get", read)[0] for read in reads]  # that shows which server it was
            return self._failed(reads, error)
        return self._keep(reads, answers)

    async def _afetch(self, method: str, *reads: Read) -> list[Any]:
        """As ``_fetch``."""
        tier, remote = self._tier, self._reached()
        reader = self._reader()
        if reader.threaded(remote):  # all of it: a task that waits for the thread looks at the circuit when its turn comes
            return await sync_to_async(self._fetch)(method, *reads)
        if tier.circuit.failing and (instead := self._held_back(reads)):
            return instead
        many = method == "get_many"
        keys = [read.key for read in reads] if many else reads[0].key
        ttl = reads[0].timeout > 0 or any(read.timeout > 0 for read in reads)
        try:
            answer = await getattr(reader, f"a{method}")(remote, keys, reads[0].version, ttl=ttl)
        except BaseException as error:  # noqa: BLE001 - as above
            return self._failed(reads, error)
        return self._keep(reads, answer if many else [answer])

    # --- what is read along with a key, because they were read together before ---

    def _bring(self, remote: BaseCache, reads: Sequence[Read]) -> list[Answer] | None:
        """Ask for these and for what they bring along, which is kept.

        ``None``: they are asked for alone, because they bring nothing, or the remote has failed or has no answer to one.
        """
        tier, first = self._tier, reads[0]
        if first.version is not None or tier.circuit.failing or first.local_key not in tier.prefetch.known:
            return None
        trip = tier.prefetch.trip(dict.fromkeys(map(attrgetter("local_key"), reads)), tier.index, accepts)
        if trip is None:
            return None
        trip.keys = [pair for pair in trip.keys if pair[0] is pair[1] or self._is_key(*pair)]
        along = [tier.begin(key, None, local_key) for key, local_key in trip.keys]
        if tier.has_servers:  # no read waits for another server than its own, which may be down
            servers = {self._server(read) for read in reads}
            along = [read for read in along if self._server(read) in servers]
            trip.keys = [(read.key, read.local_key) for read in along]
        if not along:
            return None
        keys = [read.key for read in (*reads, *along)]
        try:
            answers = self._reader().get_many(remote, keys, None, asked=len(reads))
        except Exception as error:
            tier.prefetch.pause()
            if may_be_repeated(error, tier.packages):
                return None
            raise
        for read, (value, ttl) in zip(along, answers[len(reads) :], strict=True):
            if type(value) is not Undecodable and (tier.prefix or type(read.local_key) is not str):
                if value is MISSING:
                    tier.prefetch.missing(read.local_key)
                tier.keep(read, value, ttl, trip.proved)
        answers = answers[: len(reads)]
        # Something is there that the one command for all keys calls missing: what the remote's own get() says of it counts.
        return None if any(value is MISSING and ttl is not None for value, ttl in answers) else answers

    def _is_key(self, key: Any, local_key: Hashable) -> bool:
        """Whether this is still the local key: the tenant may be another, and may be refused this key."""
        try:
            return self.local_key(key) == local_key
        except Exception as error:
            if is_callers(error):
                raise
            return False

    # --- what comes of a remote read ---

    def _keep(self, reads: Sequence[Read], answers: Sequence[Answer]) -> list[Any]:
        """Keep these answers; the values, ``MISSING`` where there is none."""
        tier, values, succeeded = self._tier, [], False
        for read, (value, ttl) in zip(reads, answers, strict=True):
            server = self._server(read) if tier.has_servers else WHOLE
            if type(value) is Undecodable:
                tier.circuit.ended(server, read.local_key)
                tier.undecodable(read, tier.remote_alias, value.error)
                values.append(MISSING)
                continue
            values.append(value)
            if tier.has_servers or not succeeded:
                tier.circuit.succeeded(server)
                succeeded = True
            if value is EXISTS:
                tier.remote_hits += 1
                continue
            if not tier.prefix and type(read.local_key) is str:  # made before the remote's prefix was found to have changed
                read.timeout = 0
            if value is MISSING:
                tier.misses += 1
                tier.prefetch.missing(read.local_key)
            else:
                tier.remote_hits += 1
            if tier.options.staleness_sample:
                compare(tier, read, value)
            tier.keep(read, value, ttl)
            learns = tier.prefetches and read.version is None and type(read.key) is str
            if learns and (entry := tier.index.get(read.local_key)) is not None:
                tier.prefetch.note(read.key, read.local_key, entry, read.started)
        return values

    def _failed(self, reads: Sequence[Read], error: BaseException) -> list[Any]:
        """What stands in for the answers of a remote that has failed; raises ``error`` where nothing does."""
        tier, read = self._tier, reads[0]
        server = self._server(read)
        if not is_remote_error(client_error(error), tier.packages):
            tier.circuit.ended(server, read.local_key)
            if not isinstance(error, Swallowed):
                raise error
            tier.misses += len(reads)  # as the remote calls it
            return [MISSING] * len(reads)
        tier.remote_errors += 1
        if says_down(error):
            tier.circuit.failed(server, read.local_key, read.started, error)
        else:
            tier.circuit.ended(server, read.local_key)
        ignore = isinstance(error, Swallowed) or tier.options.remote_errors == "ignore"
        values = [tier.without_remote(read.local_key, accepts, ignore=ignore) for read in reads]
        if any(value is UNKNOWN for value in values):
            raise error
        return values

    def _held_back(self, reads: Sequence[Read]) -> list[Any] | None:
        """What stands in for the answers, where the circuit, which is not closed, does not let these reads be sent together.

        They are for one server. Raises ``RemoteOutage`` where nothing stands in and it is down.
        """
        tier, server = self._tier, self._server(reads[0])
        has_copy = all(tier.stand_in(read.local_key, accepts) for read in reads)
        if tier.circuit.admits(server, reads[0].local_key, has_copy=has_copy):
            return None
        down = tier.circuit.is_open(server)
        ignore = down and (tier.circuit.swallows(server) or tier.options.remote_errors == "ignore")
        values = [tier.without_remote(read.local_key, accepts, ignore=ignore) for read in reads]
        if not any(value is UNKNOWN for value in values):
            return values
        if down:
            raise tier.circuit.error(server)
        return None  # a copy has gone this moment or does not decode, so ask

    def _can_store(self, key: Any, version: Any) -> bool:
        """Whether a value for ``key`` can be stored: not while its server is down."""
        tier = self._tier
        server = self._reader().server(self.remote, key, version) if tier.has_servers else WHOLE
        return not tier.circuit.is_open(server)

    async def _astore_own(self, own: Computation, *computed: Any) -> Any:
        threaded = getattr(type(self.remote), "aadd", BaseCache.aadd) is BaseCache.aadd  # it calls add() in Django's thread
        if threaded and own in self.inflight.under_way:
            # In one step: sync code of this task, which uses the same thread, could write in between, and must not wait.
            return await sync_to_async(self._store_own)(own, *computed)
        return await super()._astore_own(own, *computed)

    def _server(self, read: Read) -> Hashable:
        return self._reader().server(self.remote, read.key, read.version) if self._tier.has_servers else WHOLE
