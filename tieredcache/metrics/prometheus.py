"""The figures for Prometheus, by way of prometheus_client: of this process, or of all workers in its multi-process mode.

They are copied into metrics of prometheus_client: at each scrape, and in that mode (``PROMETHEUS_MULTIPROC_DIR``) at the end
of every request too. There a scrape is answered by one worker, out of files in which all of them keep their metrics: the sum
over all workers is what they had done when each of them last finished a request.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Final

from django.core.signals import request_finished

from tieredcache.metrics.figures import FIGURES, read

try:
    from prometheus_client import REGISTRY, Counter, Gauge
except ModuleNotFoundError as _missing:
    raise ImportError(
        'tieredcache.metrics.prometheus needs prometheus_client: pip install "django-tieredcache[prometheus]".'
    ) from _missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric


class Figures:
    """The figures of this process, copied into metrics of prometheus_client before it collects them: a collector.

    Not derived from its ``Collector``: without the extra, type checkers would know nothing of this class.
    """

    def __init__(self) -> None:
        self.copied: dict[str, dict[str, int]] = {}
        self.begin()

    def begin(self) -> None:
        """Make metrics that stand at nothing. What has been copied stays noted: in a child process it is the parent's."""
        self.lock: threading.RLock = threading.RLock()  # reentrant: a destructor may copy the figures during that
        metrics: dict[str, Any] = {}
        for figure in FIGURES:
            # A gauge is that of the living workers: one that has ended holds no entries.
            mode = {} if figure.counter else {"multiprocess_mode": "livesum" if figure.sums else "livemax"}
            kind: Any = Counter if figure.counter else Gauge
            metrics[figure.field] = kind(figure.prometheus, figure.text, ["alias"], registry=None, **mode)
        self._metrics: dict[str, Any] = metrics  # all at once: another thread of a child process may copy the figures

    def describe(self) -> Iterator[Metric]:
        """The metrics without their values: nothing is read."""
        return (family for metric in self._metrics.values() for family in metric.describe())

    def collect(self) -> Iterator[Metric]:
        """The metrics."""
        self.copy()
        return (family for metric in self._metrics.values() for family in metric.collect())

    def copy(self, *, gauges: bool = True, **_: Any) -> None:
        """Copy the figures: of counters what has been added, gauges as they are. Other arguments are those of a signal."""
        with self.lock:  # not around the loops themselves: on Python 3.13 a time limit at the end of one would pass by it
            self._copy(gauges=gauges)

    def _copy(self, *, gauges: bool) -> None:
        for alias, stats in read().items():
            copied = self.copied.setdefault(alias, {})
            for figure in FIGURES:
                now, before, metric = getattr(stats, figure.field), copied.get(figure.field), self._metrics[figure.field]
                if not figure.counter:
                    if gauges:
                        metric.labels(alias).set(now)
                elif now != before:
                    copied[figure.field] = now  # first: a destructor that runs during this may copy them, too
                    # Less than before: of a new local tier, because CACHES is overridden.
                    metric.labels(alias).inc(now if before is None or now < before else now - before)


_figures: Final = Figures()


def register(registry: CollectorRegistry = REGISTRY) -> None:
    """Add the figures of all aliases to ``registry``: before this process forks, so in ``AppConfig.ready``.

    Raises ``ValueError`` where ``registry`` has them already.
    """
    collector: Any = _figures
    registry.register(collector)
    _figures.copy(gauges=False)
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        request_finished.connect(_figures.copy, dispatch_uid=__name__)


def flush() -> None:
    """Copy the figures now: in multi-process mode, after what is no request, such as a task."""
    _figures.copy()


def _before_fork() -> None:
    if _figures.copied:  # else nothing is registered
        # What a preloading parent has counted is reported by the parent, once. Its entries are not: it serves no requests.
        _figures.copy(gauges=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_figures.begin)
