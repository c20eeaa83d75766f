"""Sources of lookup tables, and threads and modes that read them."""

import threading

ROWS = [
    {"code": "GB", "name": "United Kingdom", "population": 68},
    {"code": "FR", "name": "France", "population": 66},
    {"code": "XX", "name": None, "population": 0},
]


class Source:
    """A callable that counts its calls; rows that are an exception are raised."""

    def __init__(self, rows=ROWS):
        self.rows = rows
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if isinstance(self.rows, Exception):
            raise self.rows
        return self.rows


def in_threads(count, work):
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def look(mode, table, key, default=None):
    """By ``get``, or by ``aget`` in an event loop of its own."""
    return mode(table).get(key, default)


def refuses(monkeypatch, remote, *methods):
    """From now on ``remote`` cannot be reached by these methods."""

    def refuse(*args, **kwargs):
        raise ConnectionError("refused")

    for name in methods:
        monkeypatch.setattr(type(remote), name, refuse)
