"""The figures for Prometheus, by way of prometheus_client: of this process, or of all workers in its multi-process mode.

In that mode (``PROMETHEUS_MULTIPROC_DIR``) a scrape is answered by one worker, out of files in which all of them keep their
metrics, and what a collector would gather is left out. So there the figures are copied into such metrics at the end of every
request: the sum over all workers is what they had done when each of them last finished one.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from django.core.signals import request_finished

from tieredcache.forks import in_child
from tieredcache.locks import guard
from tieredcache.metrics.figures import FIGURES, read

try:
    from prometheus_client import REGISTRY, Counter, Gauge
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector
except ModuleNotFoundError as _missing:
    raise ImportError(
        'tieredcache.metrics.prometheus needs prometheus_client: pip install "django-tieredcache[prometheus]".'
    ) from _missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

    from tieredcache.metrics.figures import Counts

_LABELS = ("alias",)


def register(registry: CollectorRegistry = REGISTRY) -> None:
    """Tell ``registry`` of the figures of all aliases: once for each process, before it forks, so in ``AppConfig.ready``.

    Raises ``ValueError`` where ``registry`` has them already, ``RuntimeError`` for a second call in multi-process mode.
    """
    global _workers  # noqa: PLW0603 - of the process, as the files are
    read()  # so that a fork finds all aliases known
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        registry.register(ProcessFigures())
        return
    if _workers is not None:
        raise RuntimeError(
            "tieredcache.metrics.prometheus.register() has been called already: call it once for each process."
        )
    _workers = WorkerFigures(registry)
    request_finished.connect(_on_request_finished, dispatch_uid=__name__)


def flush() -> None:
    """Copy the figures to the other workers' files, outside of requests: after a task, say. Nothing outside of that mode."""
    if _workers is not None:
        _workers.flush()


class ProcessFigures(Collector):
    """The figures of this process, read when they are asked for."""

    def describe(self) -> Iterator[Metric]:
        """The metrics without their values: nothing is read."""
        return self._metrics({})

    def collect(self) -> Iterator[Metric]:
        """The metrics."""
        return self._metrics(read())

    def _metrics(self, counted: dict[str, Counts]) -> Iterator[Metric]:
        for figure in FIGURES:
            kind = CounterMetricFamily if figure.counter else GaugeMetricFamily
            metric = kind(figure.prometheus, figure.text, labels=_LABELS)
            for alias, counts in counted.items():
                metric.add_metric([alias], counts[figure.field])
            yield metric


class WorkerFigures:
    """The figures of this process, copied into metrics of prometheus_client, which adds up those of all workers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counters = {
            figure.field: Counter(figure.prometheus, figure.text, _LABELS, registry=registry)
            for figure in FIGURES
            if figure.counter
        }
        # Of living workers only: what is gone holds nothing. gunicorn has to tell who is, see the docs.
        self._gauges = {
            figure.field: Gauge(figure.prometheus, figure.text, _LABELS, registry=registry, multiprocess_mode="livesum")
            for figure in FIGURES
            if not figure.counter
        }
        self.after_fork()

    def after_fork(self) -> None:
        """Begin at nothing in a child process, which has a file of its own."""
        self._lock = guard(threading.RLock())
        self._copied: dict[str, Counts] = {}

    def flush(self, *, gauges: bool = True) -> None:
        """Copy what has changed since it was copied last."""
        with self._lock:
            for alias, counts in read().items():
                copied = self._copied.setdefault(alias, {})
                for field, now in counts.items():
                    before = copied.get(field)
                    if now == before or not (gauges or field in self._counters):
                        continue
                    # Noted first: a destructor that runs amid this may flush, too.
                    copied[field] = now
                    if field in self._counters:
                        # Less than before: of a local tier made anew, because CACHES was overridden.
                        more = now if before is None or now < before else now - before
                        self._counters[field].labels(alias).inc(more)
                    else:
                        self._gauges[field].labels(alias).set(now)


_workers: WorkerFigures | None = None


def _on_request_finished(**_: Any) -> None:
    flush()


def _before_fork() -> None:
    if _workers is not None:
        # What a preloading parent has counted is told by it, once. Its entries are not: it serves nobody.
        _workers.flush(gauges=False)


def _after_fork_in_child() -> None:
    if _workers is not None:
        _workers.after_fork()


in_child(_after_fork_in_child, before=_before_fork)
