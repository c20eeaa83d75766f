"""Entries of the local tier: a value, when it was read and until when it may be served."""

from __future__ import annotations

import sys
from pickle import HIGHEST_PROTOCOL, PickleError, UnpicklingError, dumps, loads
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tieredcache.local.immutable import is_immutable

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    Trip: TypeAlias = Callable[[Hashable, "Entry"], None]


class _Sentinel:
    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


NEVER: Final = float("-inf")
"""The deadline of an entry that must not be served."""

FOREVER: Final = float("inf")
"""The deadline of an entry that does not expire."""

MISSING: Final = _Sentinel("MISSING")
"""The remote tier has no such key."""

UNKNOWN: Final = _Sentinel("UNKNOWN")
"""The local tier cannot answer: ask the remote tier."""

EXISTS: Final = _Sentinel("EXISTS")
"""The remote tier has such a key; its value was not asked for."""

VALUE_ERRORS: Final = (
    PickleError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a value's own code raises when it is unpickled. A time limit that a signal handler raises may strike there, too,
and is another: one that is a ``TimeoutError``, and so an ``OSError``, is let through before these."""


def loaded(classes: dict[str, str]) -> tuple[type[BaseException], ...]:
    """The classes that are named here by their modules: those that are there. What is not loaded has not been raised."""
    found = [getattr(sys.modules.get(module), name, None) for module, names in classes.items() for name in names.split()]
    return tuple([kind for kind in found if kind is not None])


def time_limits() -> tuple[type[BaseException], ...]:
    """The classes of what Celery and RQ raise in a task that takes too long."""
    return loaded({"billiard.exceptions": "SoftTimeLimitExceeded", "rq.timeouts": "BaseTimeoutException"})


def is_callers(error: BaseException) -> bool:
    """Whether it is a time limit of the caller: a ``TimeoutError`` of a socket has a number, or says this."""
    if type(error) is TimeoutError:
        return error.errno is None and str(error) != "timed out" and not str(error).endswith("operation timed out")
    return isinstance(error, time_limits())


class Pickled(bytes):
    """A value as an entry keeps it that gives each reader an object of its own. It never leaves this process."""

    __slots__ = ()


def packed(value: Any) -> Any:
    """``value`` itself where it is proved immutable, else ``Pickled``. Raises what the value's own code raises."""
    return value if is_immutable(value) else Pickled(dumps(value, HIGHEST_PROTOCOL))


def unpacked(kept: Any) -> Any:
    """The value that ``packed`` was given, or another one that is equal."""
    if type(kept) is not Pickled:
        return kept
    try:
        return unpickle(kept)
    except (AttributeError, KeyError) as error:  # to a reader these mean that there is no entry, or no value in it
        raise UnpicklingError(f"{type(error).__name__}: {error}") from error


class BareEntry:
    """A value and its deadline, in seconds of the monotonic clock; at ``NEVER`` or past it the value is not served.

    Created without arguments and filled afterwards: an ``__init__`` takes longer than the rest (100 ns against 35 on 3.11).
    ``kept``: what ``value`` is made from, here the same. ``derived``: ``kept`` as it was, the function that was given the
    value, and what that returned; see ``derive``. ``size``: bytes, estimated, where the store has a limit of them.
    """

    __slots__ = ("deadline", "derived", "size", "value")

    deadline: float
    size: int
    value: Any
    kept: Any  # another name of the slot
    derived: tuple[Any, Callable[[Any], Any], Any]

    def kill(self) -> Any:
        """Let nobody serve the value any more, and return what was kept: the caller decides where its destructor may run."""
        kept, self.deadline = getattr(self, "kept", None), NEVER
        try:  # noqa: SIM105 - suppress() takes three times as long, and every refill kills what it replaces
            del self.kept
        except AttributeError:
            pass  # killed before
        return kept

    def derive(self, source: Any, value: Any, build: Callable[[Any], Any]) -> Any:
        """What ``build`` makes of ``value``; remembered for as long as this entry keeps ``source``, unless it is ``None``.

        ``source``: what the entry kept when it answered ``value``, which may have been unpacked from it.
        """
        built = build(value)
        if built is not None:
            self.derived = source, build, built
        return built

    def derived_by(self, build: Callable[[Any], Any]) -> Any:
        """What ``derive`` has made of the value that this entry has now; ``None`` where it has made nothing."""
        try:
            source, maker, built = self.derived
            usable = source is self.kept and maker is build
        except AttributeError:  # nothing made yet, or killed
            return None
        return built if usable else None


BareEntry.kept = BareEntry.value  # type: ignore[misc]  # the slot itself, which a subclass may hide


class CopyingEntry(BareEntry):
    """An entry whose readers get objects of their own, unless the value is proved immutable: it keeps what is ``packed``."""

    __slots__ = ()

    @property
    def value(self) -> Any:
        return unpacked(self.kept)


class Entry(BareEntry):
    """One answer of the remote, unserved until it is published.

    The hit path returns ``value`` while ``deadline`` lies ahead, and looks at nothing else. So an entry whose value is
    unpacked for each reader keeps its ``deadline`` at ``NEVER``; ``until`` is the real deadline of every entry. Times are
    seconds of the monotonic clock. ``publish`` and ``kill`` may come in either order: a killed value never comes back.
    ``refill_at``: until then it may be served past its deadline, because another reader is asking, or its read has failed.
    ``trip``: is called with the first read of what was brought along with another key, whose ``deadline`` is ``NEVER`` until
    then. ``lives`` and ``placed``: see ``eviction``.
    """

    __slots__ = ("expires", "lives", "placed", "read_at", "refill_at", "trip", "unpack", "until")

    deadline: float
    placed: int

    def __init__(
        self, value: Any, unpack: Callable[[Any], Any] | None, read_at: float, expires: float, trip: Trip | None = None
    ) -> None:
        self.deadline = NEVER
        self.until: float = NEVER
        self.refill_at: float = NEVER
        self.value = value
        self.unpack: Callable[[Any], Any] | None = unpack  # None: every reader is given the same object
        self.read_at: float = read_at
        self.expires: float = expires  # when the remote entry expires: nothing is served past it, however stale
        self.trip: Trip | None = trip
        self.lives: int = 0

    def publish(self, until: float) -> None:
        """Let the value be served until this time."""
        self.until = until
        if self.unpack is None and self.trip is None:
            self.deadline = until

    def answer(self, now: float, stale: float = 0) -> Any:
        """The value, ``MISSING``, or ``UNKNOWN`` where this entry has nothing to say ``stale`` seconds past its deadline."""
        if self.until + stale > now:
            try:
                return self.value if self.unpack is None else self.unpack(self.value)
            except TimeoutError:
                raise
            except VALUE_ERRORS:  # forgotten meanwhile, or its class has changed since it was pickled
                self.kill()
        return UNKNOWN


def absent(_: Any) -> Any:
    """The ``unpack`` of an entry that remembers that the remote has no such key."""
    return MISSING


unpickle: Final = loads
"""The ``unpack`` of an entry that keeps a pickle, made at the fill and never out of this process."""
