"""The site under test: a page that reads ten warm keys, one that writes, and one that reports the state of the process.

``CHAOS_CACHES``: the setting ``CACHES`` as JSON. ``CHAOS_LOG``: the file for the log of the logger ``tieredcache``.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import os
import random
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.asgi import get_asgi_application
from django.core.cache import cache
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path

from tieredcache.remote.circuit import Circuit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.http import HttpRequest, HttpResponse

KEYS = [f"warm{number}" for number in range(20)]
PER_PAGE = 10

# Settings of Django: this module is DJANGO_SETTINGS_MODULE too.
SECRET_KEY = "of no value"  # noqa: S105
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "benchmarks.load.chaos.site"
WSGI_APPLICATION = "benchmarks.load.chaos.site.application"
MIDDLEWARE: list[str] = []
CACHES = json.loads(os.environ["CHAOS_CACHES"])
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{process} {asctime} {message}", "style": "{"}},
    "handlers": {
        "file": {"class": "logging.FileHandler", "filename": os.environ["CHAOS_LOG"], "formatter": "line"},
        "nowhere": {"class": "logging.NullHandler"},
    },
    "loggers": {
        "tieredcache": {"handlers": ["file"]},
        "django.request": {"handlers": ["nowhere"], "propagate": False},
    },
}

# What the request that runs has done: connections opened, remote reads that failed. A list: threads that read for a task get
# copies of its context.
_done: contextvars.ContextVar[list[int] | None] = contextvars.ContextVar("done", default=None)


def _note(place: int) -> None:
    done = _done.get()
    if done is not None:
        done[place] += 1


sys.addaudithook(lambda event, _: _note(0) if event == "socket.connect" else None)


def _watch_failures() -> None:
    """Note each failed read for the request that sent it."""
    failed = Circuit.failed

    def noting(*arguments: Any) -> None:
        _note(1)
        failed(*arguments)

    Circuit.failed = noting  # type: ignore[method-assign]


def _begin() -> list[int]:
    _done.set(done := [0, 0])
    return done


def _page(values: dict[str, Any], done: list[int]) -> HttpResponse:
    return JsonResponse({"pid": os.getpid(), "connects": done[0], "failures": done[1], "values": values})


def page(_: HttpRequest) -> HttpResponse:
    """Ten of the warm keys, one by one, as a page reads them."""
    done = _begin()
    return _page({key: cache.get(key) for key in random.sample(KEYS, PER_PAGE)}, done)


async def apage(_: HttpRequest) -> HttpResponse:
    """The same, async."""
    done = _begin()
    return _page({key: await cache.aget(key) for key in random.sample(KEYS, PER_PAGE)}, done)


def write(_: HttpRequest, number: int) -> HttpResponse:
    """Write a key of its own; an error of the remote is the page's too."""
    cache.set(f"written{number}", number, None)
    return JsonResponse({"pid": os.getpid()})


async def awrite(_: HttpRequest, number: int) -> HttpResponse:
    """The same, async."""
    await cache.aset(f"written{number}", number, None)
    return JsonResponse({"pid": os.getpid()})


def _state(tasks: int) -> HttpResponse:
    gc.collect()
    local: Any = cache.local  # type: ignore[attr-defined]
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return JsonResponse(
        {
            "pid": os.getpid(),
            "threads": threading.active_count(),
            "tasks": tasks,
            "sockets": sum("socket:" in _link(name) for name in Path("/proc/self/fd").iterdir()),
            "memory": pages * os.sysconf("SC_PAGESIZE"),
            "outage": int(local.in_outage),
            "entries": len(local),
        }
    )


def _link(name: Path) -> str:
    try:
        return str(name.readlink())
    except OSError:
        return ""


def state(_: HttpRequest) -> HttpResponse:
    """Threads, sockets, memory, and what the tier has."""
    return _state(0)


async def astate(_: HttpRequest) -> HttpResponse:
    """The same, with tasks."""
    return _state(len(asyncio.all_tasks()))


urlpatterns: Iterable[Any] = [
    path("page/", page),
    path("apage/", apage),
    path("write/<int:number>/", write),
    path("awrite/<int:number>/", awrite),
    path("state/", state),
    path("astate/", astate),
]


def __getattr__(name: str) -> Any:
    # Made when the server asks for it: while Django reads this module as its settings it is too early.
    makers = {"application": get_wsgi_application, "async_application": get_asgi_application}
    if name in makers:
        application = makers[name]()
        _watch_failures()
        return application
    raise AttributeError(name)
