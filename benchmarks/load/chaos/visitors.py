"""The visitors, for Locust: so many pages and writes a second, each noted in a line of JSON.

``CHAOS_NOTES``: the file. ``CHAOS_PREFIX``: "a" for the async pages.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

from locust import FastHttpUser, constant_throughput, events, task

PREFIX = os.environ.get("CHAOS_PREFIX", "")
# A connection that is kept open stays with its worker.
ANY_WORKER = {"Connection": "close"}
_notes = Path(os.environ["CHAOS_NOTES"]).open("w", buffering=1 << 16)  # noqa: SIM115 - until the process ends
_numbers = itertools.count(1)


@events.request.add_listener
def note(
    name: str, start_time: float, response_time: float, response: Any, exception: BaseException | None, **_: Any
) -> None:
    """One line for each request: when it began, how long it took (seconds), how it ended."""
    text = None if response is None else response.text
    answer = json.loads(text) if text and not exception else {}
    status = 0 if response is None else response.status_code
    json.dump({"kind": name, "start": start_time, "seconds": response_time / 1000, "status": status, **answer}, _notes)
    _notes.write("\n")


@events.quitting.add_listener
def close(**_: Any) -> None:
    """Write what is left."""
    _notes.close()


class Reader(FastHttpUser):
    """Reads pages."""

    weight = 12
    wait_time = constant_throughput(20)
    network_timeout = connection_timeout = 30.0

    @task
    def read(self) -> None:
        """One page."""
        self.client.get(f"/{PREFIX}page/", name="page", headers=ANY_WORKER)


class Writer(FastHttpUser):
    """Writes a key of its own each time, and notes its number."""

    fixed_count = 1
    wait_time = constant_throughput(20)
    network_timeout = connection_timeout = 30.0

    @task
    def write(self) -> None:
        """One write."""
        number = next(_numbers)
        started = time.time()
        with self.client.get(f"/{PREFIX}write/{number}/", name="write", headers=ANY_WORKER, catch_response=True) as response:
            acknowledged = response.status_code == 200  # noqa: PLR2004
            response.success()
        json.dump({"kind": "written", "number": number, "start": started, "acknowledged": acknowledged}, _notes)
        _notes.write("\n")
