"""Real workers: post on one, be redirected to another; and a process that was preloaded before it forked."""

import contextlib
import os
import sys
import threading
import time

import pytest

from tests.support import servers
from tests.support.requests import ask

pytestmark = pytest.mark.slow

TURNS = int(os.environ.get("TURNS", "200"))
PATIENCE = 60  # seconds in which a second worker must have answered


@contextlib.contextmanager
def site(kind, url, **environment):
    port = servers.free_port()
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.support.ryw.site", "REDIS_URL": f"{url}/15", **environment}
    bind = [f"{servers.HOST}:{port}"]
    if kind == "gunicorn":
        command = ["gunicorn", "tests.support.ryw.wsgi", "--workers", "4", "--no-control-socket", "--log-level", "warning"]
        command += ["--bind", *bind] + (["--preload"] if environment.get("PRELOAD") else [])
    else:
        command = ["uvicorn", "tests.support.ryw.asgi:application", "--workers", "2", "--log-level", "warning"]
        command += ["--host", servers.HOST, "--port", str(port)]
    with servers.running([sys.executable, "-m", *command], port, seconds=30, environment=environment):
        yield port


@contextlib.contextmanager
def traffic(port):
    """Others who keep the workers busy: else one of them may answer everything."""
    stop = threading.Event()

    def work():
        while not stop.is_set():
            ask(port, "GET", "/see/other/")

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def stale_pages(port, prefix, turns, least=0):
    """How often the old value was seen after posting and following the redirect, and how many turns and workers it took.

    It takes as many turns as asked for, and more until a second worker has answered and ``least`` pages were stale: nothing
    shares the requests out fairly.
    """
    cookie, stale, workers, turn = None, 0, set(), 0
    end = time.monotonic() + PATIENCE
    while turn < turns or ((len(workers) < 2 or stale < least) and time.monotonic() < end):
        _, location, cookie = ask(port, "POST", f"/{prefix}post/key/{turn}/", cookie)
        body, _, cookie = ask(port, "GET", location, cookie)
        value, worker, _ = body.split()
        workers.add(worker)
        stale += value != str(turn)
        # Others read it too, so that every worker has a local copy.
        ask(port, "GET", location)
        turn += 1
    return stale, turn, len(workers)


@pytest.mark.parametrize(("kind", "prefix"), [("gunicorn", ""), ("uvicorn", "a"), ("uvicorn", "")])
def test_post_and_redirect_across_workers(kind, prefix, valkey_url):
    """Without the middleware the old value is seen, and counted; with it, never."""
    with site(kind, valkey_url, RYW="0") as port, traffic(port):
        stale, turns, workers = stale_pages(port, prefix, TURNS, least=1)
    print(f"{kind}, /{prefix}see/: {stale} of {turns} pages stale without the middleware, {workers} workers")
    assert stale > 0
    assert workers > 1
    with site(kind, valkey_url, RYW="1") as port, traffic(port):
        stale, turns, workers = stale_pages(port, prefix, TURNS)
    print(f"{kind}, /{prefix}see/: {stale} of {turns} pages stale with it, {workers} workers")
    assert stale == 0
    assert workers > 1


def test_a_preloaded_process_forks_warm_workers(valkey_url):
    """gunicorn --preload: each worker's first read is a hit, and they go on writing and reading."""
    with site("gunicorn", valkey_url, PRELOAD="1") as port, traffic(port):
        workers = set()
        for _ in range(2000):
            value, worker, remote_hits = ask(port, "GET", "/see/preloaded/")[0].split()
            assert value == "1"
            # The parent's one remote read, and those of the others' key, which is not there.
            assert remote_hits == "1", "the entries of the parent are kept"
            workers.add(worker)
            if len(workers) > 1:
                break
        assert len(workers) > 1
        stale, turns, _ = stale_pages(port, "", 20)
        assert stale < turns
