"""The page, and what it asks for. Each question is answered by some worker, which reports what it knows of itself.

Reports are kept in the remote tier for a few seconds, so that each worker can tell of all the others.
"""

from __future__ import annotations

import functools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.core.cache import caches
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from example_project.shop import cells
from example_project.shop.models import Flag, Price

if TYPE_CHECKING:
    from django.http import HttpRequest

WATCHED: Final = "GB-LND"
PREFIX: Final = "tiers."
REPORTED: Final = 10  # seconds that a report is kept
OUTAGE: Final = 10  # seconds
ME: Final = f"{socket.gethostname()}:{os.getpid()}"
LATEST: Final = 20  # pages of a worker
_pages = {"answered": 0}
_trips: deque[int] = deque(maxlen=LATEST)  # that each of the latest pages has made


class CountPages:
    """Middleware that counts what this worker has answered, except the questions of the page itself."""

    def __init__(self, get_response: Any) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Count it."""
        cells.choose()
        if request.path_info.startswith("/tiers/"):
            response: HttpResponse = self._get_response(request)
        else:
            before = trips()
            response = self._get_response(request)
            _trips.append(trips() - before)
            _pages["answered"] += 1
        return response


def trips() -> int:
    """Reads of the remote that this worker has waited for."""
    counted = cells.counted()
    return counted["remote_hits"] + counted["misses"]


def page(request: HttpRequest) -> HttpResponse:
    """The page; all that changes on it comes from ``data``."""
    options = settings.CACHES["default"]["OPTIONS"]
    context = {
        "bound": options["LOCAL_TIMEOUT"],
        "outage": OUTAGE,
        "latest": LATEST,
        "embedded": "DEMO_SERVER_PID" in os.environ,
        "watched": cells.subdivision(WATCHED)[0],
    }
    return render(request, "tiers/page.html", context)


def report() -> dict[str, Any]:
    """What this worker knows of itself. Its name may be of another server: so none of it is a clock of its own."""
    now = time.time()  # before the price is read
    counted = cells.counted()
    reads = counted["hits"] + counted["remote_hits"] + counted["misses"]
    return {
        **counted,
        "worker": ME,
        "hit_ratio": counted["hits"] / max(1, reads),
        "trips": sum(_trips) / max(1, len(_trips)),
        "pages": _pages["answered"],
        "reads": reads,
        "price": str(cells.price(WATCHED)[0]),
        "prefetch": cells.alias() == "default",
        "outage": caches[cells.alias()].local.in_outage,
        "at": now,
    }


def data(_: HttpRequest) -> JsonResponse:
    """Reports of all workers that have answered lately, this one's among them, and the last change."""
    mine = report()
    cache = caches["reports"]
    cache.set(f"{PREFIX}report.{ME}", mine, REPORTED)
    names: set[str] = cache.get(f"{PREFIX}workers", set())
    reports = cache.get_many([f"{PREFIX}report.{name}" for name in names])
    living = {found["worker"] for found in reports.values()} | {ME}
    if living != names:
        # Two workers may do this at once, and one of them be forgotten: until it answers next.
        cache.set(f"{PREFIX}workers", living, 60)
    workers = {found["worker"]: found for found in reports.values()} | {ME: mine}
    return JsonResponse(
        {
            "now": time.time(),
            "me": ME,
            "workers": sorted(workers.values(), key=lambda found: found["worker"]),
            "change": cache.get(f"{PREFIX}change"),
        }
    )


@require_POST
def change(_: HttpRequest) -> JsonResponse:
    """Give the watched row another price, as the admin would."""
    row = Price.objects.get(pk=WATCHED)
    before = row.amount
    while row.amount == before:
        row.amount = Decimal(random.randrange(300, 9900)).scaleb(-2)
    row.save()
    changed = {"price": str(row.amount), "before": str(before), "at": time.time(), "by": ME}
    caches["reports"].set(f"{PREFIX}change", changed, 60)
    return JsonResponse(changed)


@require_POST
def prefetch(_: HttpRequest) -> JsonResponse:
    """Turn prefetching on or off, for all workers within a second."""
    row = Flag.objects.get(pk="prefetch")
    row.on = not row.on
    row.save()
    return JsonResponse({"on": row.on})


def mine(_: HttpRequest) -> JsonResponse:
    """The price that this worker serves to this visitor."""
    return JsonResponse({"worker": ME, "price": str(cells.price(WATCHED)[0])})


@require_POST
def outage(_: HttpRequest) -> JsonResponse:
    """Let the embedded server hang, and go on after a while, whatever happens to this worker meanwhile."""
    if "DEMO_SERVER_PID" not in os.environ:
        return JsonResponse({"problem": "the server is not ours to stop"}, status=409)
    pid = int(os.environ["DEMO_SERVER_PID"])
    script = f"import os, time; time.sleep({OUTAGE}); os.kill({pid}, {int(signal.SIGCONT)})"  # the outage lasts that long
    subprocess.Popen([sys.executable, "-c", script])
    os.kill(pid, signal.SIGSTOP)
    return JsonResponse({"seconds": OUTAGE})


@functools.cache
def _charts() -> str:
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script


def charts(_: HttpRequest) -> HttpResponse:
    """The library that draws, from its package."""
    return HttpResponse(_charts(), content_type="text/javascript", headers={"Cache-Control": "max-age=86400"})
