"""Every kind of gunicorn's workers, and Celery's: own writes, an outage of the server, new workers, a clean end."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from tests.support import servers
from tests.support.requests import ask

pytestmark = pytest.mark.slow

VISITORS, TURNS = 20, 5
KINDS = {"sync": [], "gthread": ["--threads", "8"], "gevent": [], "eventlet": []}
SITE = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.support.ryw.site"}
# The last gunicorn that has an eventlet worker; not in a group, because others notice that eventlet is there.
WITH_EVENTLET = ["gunicorn==25.3.0", "eventlet==0.41.3"]


@pytest.fixture(scope="module")
def with_eventlet(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("eventlet"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-warn-conflicts", "--target", folder, *WITH_EVENTLET]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{WITH_EVENTLET} cannot be installed:\n{done.stderr}")
    return folder


@pytest.fixture
def path(request):
    """What comes first on the path of this kind of worker."""
    return request.getfixturevalue("with_eventlet") if request.node.callspec.params["kind"] == "eventlet" else ""


@contextlib.contextmanager
def gunicorn(kind, url, path, *options, preload):
    """A site on such workers, which ends without complaint when it is told to; yields its port."""
    port = servers.free_port()
    environment = {**SITE, "PYTHONPATH": path, "REDIS_URL": f"{url}/15", "PRELOAD": str(int(preload))}
    with tempfile.NamedTemporaryFile() as log:
        command = [sys.executable, "-m", "gunicorn", "tests.support.ryw.wsgi", "--bind", f"{servers.HOST}:{port}"]
        command += ["--worker-class", kind, *KINDS[kind], *options, *["--preload"] * preload]
        command += ["--no-control-socket", "--log-level", "warning", "--log-file", log.name]
        process = servers.launch(command, port, seconds=30, environment=environment)
        try:
            yield port
            process.terminate()
            assert process.wait(60) == 0  # gunicorn itself gives its workers 30
        finally:
            servers.stop(process)
        complaints = [line for line in log.read().decode().splitlines() if "eventlet worker is DEPRECATED" not in line]
        assert complaints == []


@contextlib.contextmanager
def valkey(port):
    with tempfile.TemporaryDirectory() as folder, servers.running(servers.valkey_command(port, folder), port):
        yield f"redis://{servers.HOST}:{port}"


def value(port, path, **allowed):
    return ask(port, "GET", path, **allowed)[0].split()[0]


def at_once(port, path, allowed):
    """What is answered to twice as many visitors, so that every connection of the client's pool is used."""
    with ThreadPoolExecutor(2 * VISITORS) as pool:
        return set(pool.map(lambda visitor: value(port, path.format(visitor), allowed=allowed), range(2 * VISITORS)))


def visit(port, visitor):
    """What a visitor writes is seen in the same request and in the next; what all read never goes back."""
    last = 0
    for turn in range(1, TURNS + 1):
        assert value(port, f"/turn/{visitor}/{turn}/") == str(turn)
        assert value(port, f"/see/{visitor}/") == str(turn)
        if visitor == 0:
            ask(port, "POST", f"/post/shared/{turn}/")
        found = int(value(port, "/see/shared/").replace("None", "0"))
        assert found >= (turn if visitor == 0 else last)
        last = found


def visit_at_once(port):
    ask(port, "POST", "/post/shared/0/")
    with ThreadPoolExecutor(VISITORS) as pool:
        list(pool.map(lambda visitor: visit(port, visitor), range(VISITORS)))


@pytest.mark.parametrize(
    ("kind", "preload"), [("sync", False), ("gthread", True), ("gevent", False), ("gevent", True), ("eventlet", True)]
)
def test_a_worker_sees_its_own_writes_and_survives_an_outage(kind, preload, path):
    """Many visitors at once, before and after it; in between, what has to be asked for fails at once, and hits do not."""
    server = servers.free_port()
    with contextlib.ExitStack() as stack:
        with valkey(server) as url:
            port = stack.enter_context(gunicorn(kind, url, path, preload=preload))
            visit_at_once(port)
            assert value(port, "/turn/known/1/") == "1"
        began = time.monotonic()
        assert at_once(port, "/see/cold{}/", [500]) == {"<!doctype"}
        assert value(port, "/see/known/") == "1"
        assert time.monotonic() - began < 10
        with valkey(server):
            # Under eventlet each connection that has been in the client's pool costs a request, with the remote alone too.
            rounds = 0
            while rounds < 3:
                rounds = rounds + 1 if at_once(port, "/turn/again{}/1/", [200, 500]) == {"1"} else 0
                assert time.monotonic() - began < 30, "it has not recovered"
            visit_at_once(port)


# Not eventlet: gunicorn's worker resets connections then, of any application.
@pytest.mark.parametrize(("kind", "preload"), [("sync", True), ("gthread", False), ("gevent", True)])
def test_no_request_fails_when_workers_are_replaced(kind, preload, path, valkey_url):
    """``--max-requests``: each new worker begins with an empty tier, or with its parent's."""
    options = ["--workers", "2", "--max-requests", "20"]
    with gunicorn(kind, valkey_url, path, *options, preload=preload) as port, ThreadPoolExecutor(4) as pool:
        workers, rounds = set(), 0
        while len(workers) < 4 and (rounds := rounds + 1) < 100:
            answers = list(pool.map(lambda n: ask(port, "GET", f"/turn/own{n}/{n}/")[0].split(), range(20)))
            assert [answer[0] for answer in answers] == [str(n) for n in range(20)]
            workers |= {worker for _, worker, _ in answers}
        assert len(workers) >= 4, "two have been replaced"


def test_a_celery_task_sees_its_own_writes_when_its_worker_has_forked(valkey_url):
    """What the parent had read is a hit in each child; what a task writes is seen by itself, at once."""
    celery = pytest.importorskip("celery")
    if tuple(map(int, redis.__version__.split(".")[:2])) < (6, 1):
        pytest.skip("Celery's broker wants redis-py 6.1 or later, which the oldest cell does not have")
    environment = {**SITE, "REDIS_URL": f"{valkey_url}/14", "BROKER": f"{valkey_url}/13", "PRELOAD": "1"}
    command = [sys.executable, "-m", "celery", "--app", "tests.support.ryw.tasks", "worker", "--pool", "prefork"]
    command += ["--concurrency", "2", "--loglevel", "warning", "--without-gossip", "--without-mingle"]
    worker = servers.Server(command, stdin=subprocess.DEVNULL, env=environment, start_new_session=True)
    try:
        app = celery.Celery(broker=environment["BROKER"], backend=environment["BROKER"])
        results = [app.send_task("tests.support.ryw.tasks.turn", [f"key{n % 5}", n]) for n in range(40)]
        found = [result.get(timeout=30) for result in results]
        worker.terminate()
        assert worker.wait(60) == 0
    finally:
        servers.stop(worker)
        app.close()
    assert [own for _, own, _, _ in found] == list(range(40))
    assert {preloaded for _, _, preloaded, _ in found} == {1}
    assert len({process for *_, process in found}) == 2
