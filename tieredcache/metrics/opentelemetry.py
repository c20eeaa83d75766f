"""The figures for OpenTelemetry: observable instruments, which its SDK reads whenever it exports.

The semantic conventions (1.44.0) have none for caches. So these follow their general rules: names in a namespace of our own,
counted things in braces as units, plural for counters alone, ``.count`` and ``.limit`` for what goes up and down.
"""

from __future__ import annotations

import functools
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from tieredcache.metrics.figures import FIGURES, read

try:
    from opentelemetry.metrics import Observation, get_meter
except ModuleNotFoundError as _missing:
    raise ImportError(
        'tieredcache.metrics.opentelemetry needs opentelemetry-api: pip install "django-tieredcache[opentelemetry]".'
    ) from _missing

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

ALIAS: Final = "tieredcache.alias"
"""The attribute of every observation."""


def register(provider: MeterProvider | None = None) -> None:
    """Observe the figures of all aliases with a meter of ``provider``, by default the global one: once for each process.

    After the fork, where the SDK is set up too.
    """
    meter = get_meter("tieredcache", version("django-tieredcache"), provider)
    for figure in FIGURES:
        make: Any = meter.create_observable_up_down_counter if figure.sums else meter.create_observable_gauge
        if figure.counter:
            make = meter.create_observable_counter
        make(figure.opentelemetry, [functools.partial(_observe, figure.field)], figure.unit, figure.text)


def _observe(field: str, _: object) -> list[Observation]:
    return [Observation(getattr(stats, field), {ALIAS: alias}) for alias, stats in read().items()]
