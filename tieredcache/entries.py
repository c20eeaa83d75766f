"""Entries of the local tier: a value, when it was read and its deadline."""

from __future__ import annotations

from pickle import loads
from typing import Any, Final, NamedTuple


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

UNREADABLE: Final = _Sentinel("UNREADABLE")
"""A value that does not decode, or an error that the remote swallowed: a miss, and not to be remembered as one."""

UNKNOWN: Final = _Sentinel("UNKNOWN")
"""The local tier cannot answer: ask the remote tier."""


class Times(NamedTuple):
    """Monotonic times of an entry, in seconds. ``deadline``: its real one, or ``NEVER``. ``expires``: the remote entry's."""

    read_at: float
    deadline: float
    expires: float


NO_TIMES: Final = Times(NEVER, NEVER, NEVER)
"""Where there is no entry."""


class BareEntry:
    """A value and its deadline, in seconds of the monotonic clock; at ``NEVER`` or past it the value is not served.

    Made without arguments, and filled then: an ``__init__`` would take longer than all the rest of it (100 ns for 35 on
    Python 3.11, and more on 3.13).
    """

    __slots__ = ("deadline", "value")

    deadline: float
    value: Any

    def kill(self) -> None:
        """Let nobody serve the value any more."""
        try:  # noqa: SIM105 - suppress() takes three times as long, and every refill kills what it replaces
            del self.value
        except AttributeError:
            pass  # killed before


class Entry(BareEntry):
    """A value that every reader may share.

    ``deadline`` and ``read_at`` are seconds of the monotonic clock. The fast path of ``TieredCache.get`` serves
    ``value`` where ``deadline`` lies ahead and looks no further, so an entry that needs more work than that keeps
    ``deadline`` at ``NEVER`` and its real one elsewhere: see ``BoxedEntry``.

    An entry is created unserved. ``publish`` makes it served, ``kill`` ends it for good, in whichever order they come:
    ``kill`` deletes the value, which nothing puts back, so a publication that comes late has nothing to serve.
    """

    __slots__ = ("expires", "read_at")

    def __init__(self, value: Any, read_at: float, expires: float = FOREVER) -> None:
        self.deadline: float = NEVER
        self.value = value
        self.read_at: float = read_at
        self.expires: float = expires  # when the remote entry does: past that it is not served even where stale ones are

    def publish(self, deadline: float) -> None:
        self.deadline = deadline

    @property
    def served_until(self) -> float:
        """The monotonic time from which this entry is not served, or ``NEVER``."""
        return self.deadline if hasattr(self, "value") else NEVER

    def is_live(self, now: float) -> bool:
        """Whether this entry has something to answer at ``now``."""
        return self.served_until > now

    def answer(self, now: float) -> Any:
        """What this entry answers at ``now``: the value, ``MISSING``, or ``UNKNOWN`` where it has nothing to say."""
        if self.deadline > now:
            try:
                return self.value
            except AttributeError:
                pass  # forgotten since it was looked up
        return UNKNOWN


NOTHING: Final = Entry(None, NEVER)
"""In place of an entry: the hit path has looked, and there is none."""


class BoxedEntry(Entry):
    """An entry whose value has to be unpacked for each reader; ``until`` is its deadline."""

    __slots__ = ("until",)

    def __init__(self, value: Any, read_at: float, expires: float = FOREVER) -> None:
        super().__init__(value, read_at, expires)
        self.until: float = NEVER

    def publish(self, deadline: float) -> None:
        self.until = deadline

    @property
    def served_until(self) -> float:
        return self.until if hasattr(self, "value") else NEVER


class PickledEntry(BoxedEntry):
    """Keeps a pickle, so that every reader gets an object of its own."""

    __slots__ = ()

    def answer(self, now: float) -> Any:
        if self.until > now:
            try:
                return loads(self.value)  # noqa: S301 - our own pickle, made at the fill, never out of this process
            except Exception:  # noqa: BLE001 - unpickling may raise anything
                # Forgotten meanwhile, or its class has changed since the fill: either way the remote tier knows better.
                self.kill()
        return UNKNOWN


class AbsentEntry(BoxedEntry):
    """Remembers that the remote tier has no such key."""

    __slots__ = ()

    def answer(self, now: float) -> Any:
        return MISSING if self.is_live(now) else UNKNOWN
