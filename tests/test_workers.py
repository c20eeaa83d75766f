"""Real workers: post on one, be redirected to another; and a process that was preloaded before it forked."""

import contextlib
import http.client
import os
import sys
import threading

import pytest

from example_project import servers

TURNS = int(os.environ.get("TURNS", "200"))


@contextlib.contextmanager
def site(kind, url, **environment):
    port = servers.free_port()
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.ryw.site", "REDIS_URL": f"{url}/15", **environment}
    bind = [f"{servers.HOST}:{port}"]
    if kind == "gunicorn":
        command = ["gunicorn", "tests.ryw.wsgi", "--workers", "4", "--no-control-socket", "--log-level", "warning", "--bind"]
        command += bind + (["--preload"] if environment.get("PRELOAD") else [])
    else:
        command = ["uvicorn", "tests.ryw.asgi:application", "--workers", "2", "--log-level", "warning"]
        command += ["--host", servers.HOST, "--port", str(port)]
    with servers.running([sys.executable, "-m", *command], port, seconds=30, environment=environment):
        yield port


def ask(port, method, path, cookie=None):
    """One request, on a connection of its own, and so to any worker; what it answered, and the cookie it set."""
    connection = http.client.HTTPConnection(servers.HOST, port, timeout=30)
    connection.request(method, path, headers={"Cookie": cookie} if cookie else {})
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    assert response.status in (200, 302), body
    made = response.headers["Set-Cookie"]
    return body, response.headers["Location"], made.partition(";")[0] if made else cookie


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


def stale_pages(port, prefix, turns):
    """Of so many times posting and following the redirect, how often the old value was seen; and by how many workers."""
    cookie, stale, workers = None, 0, set()
    for turn in range(turns):
        _, location, cookie = ask(port, "POST", f"/{prefix}post/key/{turn}/", cookie)
        body, _, cookie = ask(port, "GET", location, cookie)
        value, worker, _ = body.split()
        workers.add(worker)
        stale += value != str(turn)
        # Others read it too, so that every worker has a local copy.
        ask(port, "GET", location)
    return stale, len(workers)


@pytest.mark.parametrize(("kind", "prefix"), [("gunicorn", ""), ("uvicorn", "a"), ("uvicorn", "")])
def test_post_and_redirect_across_workers(kind, prefix, valkey_url):
    """Without the middleware the old value is seen, and counted; with it, never."""
    with site(kind, valkey_url, RYW="0") as port, traffic(port):
        stale, workers = stale_pages(port, prefix, TURNS)
    print(f"{kind}, /{prefix}see/: {stale} of {TURNS} pages stale without the middleware, {workers} workers")
    assert stale > 0
    assert workers > 1
    with site(kind, valkey_url, RYW="1") as port, traffic(port):
        stale, workers = stale_pages(port, prefix, TURNS)
    print(f"{kind}, /{prefix}see/: {stale} of {TURNS} pages stale with it, {workers} workers")
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
        stale, _ = stale_pages(port, "", 20)
        assert stale < 20
