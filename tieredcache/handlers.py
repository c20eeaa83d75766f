"""``cache`` and ``caches``: Django's pair, without its lookup of a backend for each call.

Django makes a backend for each thread and task, and looks it up for each call, which takes several times as long as a hit.
One backend of ours may serve them all: what it keeps is the process's, and its remote is looked up for each read. So of
an alias of ours everybody is given the same backend here, until ``CACHES`` changes. Of all other aliases Django's handler
is asked; and of a subclass of ours, which may keep what belongs to one thread.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

from django.conf import settings
from django.core.cache import DEFAULT_CACHE_ALIAS, CacheHandler
from django.core.cache import caches as django_caches
from django.core.cache.backends.base import BaseCache
from django.core.signals import setting_changed
from django.utils.connection import ConnectionProxy

from tieredcache.backends import LRUCache, TieredCache

if TYPE_CHECKING:
    _Proxy = ConnectionProxy[Any]
else:
    _Proxy = ConnectionProxy  # where it runs it takes no type

METHODS: Final = frozenset(name for name, value in vars(BaseCache).items() if name[0] != "_" and callable(value))
_FUNCTIONS: Final = {getattr(kind, name) for kind in (TieredCache, LRUCache) for name in METHODS}
"""What the proxy may keep a bound method of: not what has taken its place for a while, such as a mock."""


class SharedCaches(CacheHandler):
    """The backends by alias, as ``django.core.cache.caches``; one of ours is the same for all threads and tasks."""

    __slots__ = ("_assigned", "_shared")

    def __init__(self) -> None:
        # All else is Django's. Not by a __getattr__, which would make each lookup slower: a sixth of a hit on Python 3.11.
        self.__dict__ = django_caches.__dict__
        self._shared: dict[str, BaseCache] = {}
        self._assigned: set[str] = set()  # the aliases that code has given a backend of its own, in its thread or task

    def __getitem__(self, alias: str) -> BaseCache:
        try:
            return self._shared[alias]
        except KeyError:
            return self._find(alias)

    def _find(self, alias: str) -> BaseCache:
        shared = self._shared  # noted first: where CACHES changes meanwhile, this is not used any more
        backend = django_caches[alias]
        ours = type(backend) in {TieredCache, LRUCache} and alias not in self._assigned
        if not ours or self.settings is not settings.CACHES:  # CACHES has changed, and Django's handler not been reset yet
            return backend
        backend = shared.setdefault(alias, django_caches.create_connection(alias))
        if alias in self._assigned:  # meanwhile, by another thread
            shared.pop(alias, None)
        return backend

    def __setitem__(self, alias: str, backend: BaseCache) -> None:
        self._assigned.add(alias)
        self._unshare(alias)
        django_caches[alias] = backend

    def __delitem__(self, alias: str) -> None:
        self._unshare(alias)
        del django_caches[alias]

    def all(self, initialized_only: bool = False) -> list[BaseCache]:
        """The backends of all aliases, or of those that this thread has looked up by Django's handler."""
        return CacheHandler.all(django_caches, initialized_only)

    def reset(self, *, setting: str = "CACHES", **_: Any) -> None:
        """Ask Django for each backend again."""
        if setting == "CACHES":
            self._assigned = set()
            self._shared = {}  # whole: another thread may share one meanwhile
            _default.unbind()

    def _unshare(self, alias: str) -> None:
        self._shared.pop(alias, None)
        if alias == DEFAULT_CACHE_ALIAS:
            _default.unbind()


class SharedCache(_Proxy):
    """The default cache, as ``django.core.cache.cache``; of a shared backend it keeps the bound methods that were used."""

    # An attribute of __dict__ would take longer to find, by half of a hit on Python 3.13, beside a __getattr__.
    __slots__ = tuple(METHODS)

    def __getattr__(self, name: str) -> Any:
        shared = caches._shared  # noqa: SLF001 - as in _find()
        backend = caches[DEFAULT_CACHE_ALIAS]
        attribute = getattr(backend, name)
        if getattr(attribute, "__func__", None) in _FUNCTIONS and shared.get(DEFAULT_CACHE_ALIAS) is backend:
            object.__setattr__(self, name, attribute)
            if caches._shared.get(DEFAULT_CACHE_ALIAS) is not backend:  # noqa: SLF001 - it has been replaced meanwhile
                self.unbind()
        return attribute

    def __setattr__(self, name: str, value: Any) -> None:
        # A method that is replaced, by a mock, say, is replaced for every caller here.
        object.__setattr__(self, name, value) if name in METHODS else super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name) if name in METHODS else super().__delattr__(name)

    def unbind(self) -> None:
        """Forget the bound methods."""
        for name in METHODS:
            with suppress(AttributeError):
                object.__delattr__(self, name)


caches: Final = SharedCaches()
_default: Final = SharedCache(cast("Any", caches), DEFAULT_CACHE_ALIAS)
cache: Final = cast("TieredCache", _default)
setting_changed.connect(caches.reset)
