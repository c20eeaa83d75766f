"""Another process's writes: the warm keys, again and again, straight to the remote; and when each had completed."""

from __future__ import annotations

import bisect
import threading
import time
from typing import Any

from django.utils.module_loading import import_string

INTERVAL = 0.01  # seconds between two writes


def make_remote(config: dict[str, Any]) -> Any:
    """The backend of the remote alias, as Django makes it."""
    params = dict(config)
    backend: Any = import_string(params.pop("BACKEND"))
    return backend(params.pop("LOCATION"), params)


class Publisher(threading.Thread):
    """Writes ``[number, time]`` to one key after the other until it is stopped."""

    def __init__(self, config: dict[str, Any], keys: list[str]) -> None:
        super().__init__(daemon=True)
        self._config = config
        self._keys = keys
        self._running = True
        # By key: when write number 0, 1, ... had completed. None: it may or may not have been done.
        self.completed: dict[str, list[float]] = {key: [] for key in keys}
        self.failures: list[float] = []
        self.successes: list[float] = []

    def run(self) -> None:
        remote = make_remote(self._config)
        while self._running:
            for key in self._keys:
                self._write(remote, key)
                time.sleep(INTERVAL)  # a fixed rate of writes is part of the load: a loop would fill a processor

    def _write(self, remote: Any, key: str) -> None:
        number = len(self.completed[key])
        try:
            remote.set(key, [number, time.time()], None)
        except Exception:  # noqa: BLE001 - whatever the client raises
            self.failures.append(time.time())
            # Whether it was done or not: it is not known to have replaced the one before.
            self.completed[key].append(float("inf"))
        else:
            self.successes.append(time.time())
            self.completed[key].append(time.time())

    def finish(self) -> None:
        """Write no more."""
        self._running = False
        self.join()

    def age(self, key: str, number: int, start: float) -> float:
        """For how many seconds the value ``number`` of ``key`` had been replaced at ``start``; 0: it had not."""
        later = min(self.completed[key][number + 1 :], default=float("inf"))
        return max(0.0, start - later)

    def back(self, broken: float) -> float | None:
        """When the first write succeeded after the last that has failed since ``broken``; ``None``: not yet for all keys."""
        failures = [moment for moment in self.failures if moment > broken]
        last = failures[-1] if failures else broken
        first = bisect.bisect(self.successes, last)
        # As many as there are keys, so that none of them is still failing.
        return self.successes[first] if len(self.successes) - first >= len(self._keys) else None
