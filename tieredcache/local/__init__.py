"""The memory of this process: entries, and what is served, kept and forgotten. It knows neither Django nor a network."""

from tieredcache.local.entries import time_limits
from tieredcache.local.inflight import PATIENCE, Computation, running_loop

__all__ = ["PATIENCE", "Computation", "running_loop", "time_limits"]
