"""The hit path: ``get`` and ``aget``, made for each local tier, and the hits of a ``get_many``.

Everything here is paid by every hit, and nothing else is.

What each part costs, in percent of a hit, on Python 3.11 and 3.13 (``python -m benchmarks.parts``):

- ``lru`` is a variable of the function: as an attribute of the cache it would cost 15 % more on 3.11, where CPython does not
  specialise look-ups on a class that has ``__getattr__``, and nothing on 3.13. So each tier has a class of its own.
- ``clock()`` costs 30 to 35 %, and is what a deadline is.
- ``type(key) is str`` costs 10 %: a key of another type may be equal to a stored one and mean another to the remote.
- ``version is None`` costs 2 %: only keys of the default version are stored as they are.
- ``try`` costs 1 % or less while nothing is raised; ``lru.get(key)`` instead of it would cost 35 to 50 % more.
"""

from __future__ import annotations

import functools
from time import monotonic as clock
from typing import TYPE_CHECKING, Any, TypeVar

from tieredcache.entries import FOREVER, NOTHING
from tieredcache.freshness import follow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tieredcache.entries import Entry
    from tieredcache.tier import LocalTier

Cache = TypeVar("Cache", bound=type)
Method = TypeVar("Method", bound="Callable[..., Any]")


def _switch(demanding: bool) -> None:
    """While anybody demands freshness, let the hit path find every entry expired."""
    global clock  # noqa: PLW0603 - the name that the hit path reads
    global _real_clock  # noqa: PLW0603
    if clock is not _beyond:
        _real_clock = clock
    clock = _beyond if demanding else _real_clock


def _beyond() -> float:
    return FOREVER


_real_clock = clock
follow(_switch)


def slow_path(method: Method) -> Method:
    """Marks a method that the hit path may take the place of.

    The mark is the function itself: a wrapper copies the attribute and is not equal to it, and so it stays.
    """
    method.is_slow_path = method  # type: ignore[attr-defined]
    return method


def with_hit_path(kind: Cache, lru: Mapping[Any, Entry]) -> Cache:
    """A subclass of ``kind``, a ``TieredCache``, whose ``get`` and ``aget`` look into ``lru`` first.

    Only keys that are plain strings, of the default version, are stored in ``lru`` as they are; all others need formatting,
    which takes longer than all the rest. A value that takes more than handing over is kept in an entry with its deadline at
    ``NEVER``. What ``kind`` has overridden stays.
    """
    made: dict[str, Any] = {
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
        "made_from": kind,
    }
    for method in (_get(lru), _aget(lru)):
        # Not what another tier's class has: somebody may have made a subclass of that.
        own = (vars(base) for base in kind.__mro__ if "made_from" not in vars(base) or vars(base)["made_from"] is None)
        inherited: Any = next(names[method.__name__] for names in own if method.__name__ in names)
        marked: Any = getattr(inherited, "is_slow_path", None)
        if marked is inherited:
            made[method.__name__] = functools.update_wrapper(method, inherited)
    try:
        return type(kind)(kind.__name__, (kind,), made)
    except Exception:  # noqa: BLE001 - a metaclass or __init_subclass__ refuses: the slow path, then
        return kind


def _get(lru: Mapping[Any, Entry]) -> Callable[..., Any]:
    def get(self: Any, key: Any, default: Any = None, version: Any = None) -> Any:
        if version is None and type(key) is str:
            try:
                entry = lru[key]
                if entry.deadline > clock():
                    return entry.value
            except KeyError:
                entry = NOTHING  # spares a miss the same look-up again: 0.2 microseconds on 3.11, 0.4 on 3.13
            except AttributeError:
                pass  # forgotten this moment
        else:
            entry = None
        return self._get(key, default, version, entry)

    return get


def _aget(lru: Mapping[Any, Entry]) -> Callable[..., Any]:
    async def aget(self: Any, key: Any, default: Any = None, version: Any = None) -> Any:
        if version is None and type(key) is str:
            try:
                entry = lru[key]
                if entry.deadline > clock():
                    return entry.value
            except KeyError:
                entry = NOTHING
            except AttributeError:
                pass
        else:
            entry = None
        return await self._aget(key, default, version, entry)

    return aget


def peek(tier: LocalTier) -> Callable[[Any], Any]:
    """A function that looks a key of the local tier up in the local tier only: the value, or ``None``."""
    lru, duds = tier.lru, tier.duds

    def look(made: Any) -> Any:
        try:
            entry = lru[made]
            if entry.deadline > clock():
                return entry.value
        except KeyError:
            return None
        except AttributeError:
            pass  # forgotten this moment
        duds.add()  # found, but not served from here: it is looked up again
        return None

    return look


def many_hits(tier: LocalTier, keys: Iterable[Any], version: Any) -> tuple[dict[Any, Any], list[Any]]:
    """The hits up to the first key that is none, and the keys from there on."""
    found: dict[Any, Any] = {}
    if version is not None:
        return found, list(keys)
    lru = tier.lru
    now = clock()
    rest = iter(keys)  # for what is left: to count the keys would take a tenth longer
    for key in rest:
        if type(key) is not str:
            return found, [key, *rest]
        try:
            entry = lru[key]
            if entry.deadline > now:
                found[key] = entry.value
                continue
        except KeyError:
            return found, [key, *rest]
        except AttributeError:
            pass
        tier.duds.add()  # found, but not served from here: it is looked up again
        return found, [key, *rest]
    return found, []
