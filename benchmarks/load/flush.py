"""What a request pays for the metrics in prometheus_client's multi-process mode; ten seconds.

A request through Django's WSGI handler that reads ten keys, nine of them hits, with the figures copied at its end and
without; of two aliases, one of which has changed. The rounds take turns, and the best of each counts.
"""

from __future__ import annotations

import os
import tempfile
from io import BytesIO
from time import process_time
from typing import Any, Final

from benchmarks.micro.caches import LOCMEM, LRU, set_up, tiered
from benchmarks.micro.command import options

REQUESTS: Final = 500
ROUNDS: Final = 20


def main() -> None:
    """Measure and print it."""
    options(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as directory:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory  # before prometheus_client is imported
        without, with_ = _measured()
    print(f"a request: {without:.0f} us; with the figures copied at its end: {with_:.0f} us, {with_ - without:.0f} us more")


def _measured() -> tuple[float, float]:
    from django.core.cache import cache
    from django.core.signals import request_finished
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse
    from django.urls import path

    def view(_: object) -> HttpResponse:
        for _ in range(9):
            cache.get("key")
        cache.get("absent")
        return HttpResponse("page")

    urls: Any = type("urls", (), {"urlpatterns": [path("", view)]})
    aliases = {"default": tiered(LOCAL_TIMEOUT=600), "remote": {"BACKEND": LOCMEM}, "local": {"BACKEND": LRU}}
    set_up(aliases, ALLOWED_HOSTS=["*"], ROOT_URLCONF=urls)
    from tieredcache.metrics import prometheus

    application = get_wsgi_application()
    cache.set("key", "value", None)

    def requests() -> float:
        began = process_time()
        for _ in range(REQUESTS):
            environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SERVER_NAME": "x", "SERVER_PORT": "80"}
            application({**environ, "wsgi.input": BytesIO()}, lambda *_: None).close()
        return (process_time() - began) / REQUESTS * 1e6

    prometheus.register()
    receiver = prometheus._figures.copy  # noqa: SLF001 - to take it away and put it back
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        request_finished.disconnect(receiver, dispatch_uid=prometheus.__name__)
        times[0].append(requests())
        request_finished.connect(receiver, dispatch_uid=prometheus.__name__)
        times[1].append(requests())
    return min(times[0]), min(times[1])


if __name__ == "__main__":
    main()
