"""What lets django-debug-toolbar's cache panel, and others that wrap an instance's methods, see a ``TieredCache`` at work.

The panel wraps the sync methods of every cache instance that a request uses, and leaves itself on the instance as
``_djdt_panel``: ``None`` while it does not record. Two kinds of calls would escape it, both of them ours: async ones, which
Django's own backends make by way of the sync methods and a ``TieredCache`` does not, and the pipelined reads of a remote,
which its ``get`` knows nothing of. Nothing here is paid by an instance that is not recorded.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import sync_to_async

if TYPE_CHECKING:
    from collections.abc import Callable

MARKS: Final = frozenset({"_djdt_panel", "_sentry_patched"})
"""What tools leave on an instance that they have wrapped. One on the remote says nothing of the tiered cache above it."""

_METHODS: Final = (
    "add",
    "clear",
    "decr",
    "decr_version",
    "delete",
    "delete_many",
    "get",
    "get_many",
    "has_key",
    "incr",
    "incr_version",
    "set",
    "set_many",
    "touch",
)


class PanelMark:
    """``_djdt_panel`` of a ``TieredCache``: once a panel records it, its async methods call the sync ones while one does."""

    def __get__(self, cache: object, owner: type) -> Any:
        try:
            return vars(cache)["_djdt_panel"]
        except (KeyError, TypeError):
            raise AttributeError("_djdt_panel") from None

    def __set__(self, cache: object, panel: object) -> None:
        names = vars(cache)
        names["_djdt_panel"] = panel
        if panel is not None and "aget" not in names:
            names.update({f"a{name}": _recorded(cache, name) for name in _METHODS})


def _recorded(cache: object, name: str) -> Callable[..., Any]:
    own = getattr(cache, f"a{name}")

    @functools.wraps(own)
    async def call(*args: Any, **kwargs: Any) -> Any:
        if vars(cache)["_djdt_panel"] is None:
            return await own(*args, **kwargs)
        return await sync_to_async(getattr(cache, name))(*args, **kwargs)

    return call


def show(remote: object, name: str, *args: Any, **kwargs: Any) -> None:
    """Repeat a read by the method of ``remote`` that it stands in for, where a panel records: what it returns is dropped.

    What it raises is not ours to tell: the read that follows will meet it too.
    """
    if vars(remote).get("_djdt_panel") is not None:
        with contextlib.suppress(Exception):
            getattr(remote, name)(*args, **kwargs)
