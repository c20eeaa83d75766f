"""The errors of this package, and how those of clients are described and kept."""

from __future__ import annotations

from typing import Any, Final

_DEPTH: Final = 4  # how far into an error's causes and arguments we look


class Swallowed(Exception):  # noqa: N818 - never seen outside
    """The remote read failed, and the remote itself would have called it a miss; ``__cause__`` is the client's error."""


class RemoteOutage(Exception):  # noqa: N818 - what it is, in the word of the docs
    """A read that was not tried, because the remote has failed a moment ago; ``__cause__`` is how it failed.

    It is an instance of the class of that error, too, so that who catches the client's errors catches this.
    """

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteOutage, self.args


def cause(error: BaseException) -> BaseException:
    """The client's error."""
    return error.__cause__ if isinstance(error, Swallowed) and error.__cause__ else error


def describe(error: BaseException) -> str:
    """The kind of ``error`` and what it says, in one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - it is the remote that has failed, not its error
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def without_frames(error: BaseException, depth: int = _DEPTH) -> BaseException:
    """A copy of ``error`` without its traceback, to be kept for a while: frames hold requests, and sockets."""

    def bare(part: Any) -> Any:
        return without_frames(part, depth - 1) if isinstance(part, BaseException) else part

    kind = type(error)
    try:
        if depth == 0:
            raise RecursionError  # noqa: TRY301 - in a circle, or too deep to matter
        copy: BaseException = kind.__new__(kind, *map(bare, error.args))  # not called: what __init__ takes is its own affair
        copy.__dict__.update({name: bare(part) for name, part in vars(error).items()})
    except Exception:  # noqa: BLE001 - a class that cannot be made so; that it failed is what counts
        copy = ConnectionError(describe(error))
    if error.__cause__ is not None and depth:
        copy.__cause__ = without_frames(error.__cause__, depth - 1)
    return copy


def outage_class(kind: type[BaseException]) -> type[RemoteOutage]:
    """A ``RemoteOutage`` that is a ``kind`` too, where there can be one."""
    try:
        made = type("RemoteOutage", (RemoteOutage, kind), {"__module__": RemoteOutage.__module__})
        made.__new__(made, "")
    except Exception:  # noqa: BLE001 - a class that does not go with another, or wants more than a text
        return RemoteOutage
    return made
