"""Real workers, scraped by way of prometheus_client's multi-process mode: the sum over all of them is what was done.

And scraped by a real Prometheus, for docs/operate: what it is asked by the dashboard has answers.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.parse
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, sleep

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import servers
from tests.support.programs import need
from tests.support.requests import ask

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operate.md").read_text()
OPERATE = ROOT / "docs" / "operate"
CONFIG = re.search(r"```python\n(# gunicorn.conf.py\nimport os.*?)```", PAGE, re.DOTALL)[1]
REQUESTS = 120
FOUND = "tieredcache_remote_hits_total + tieredcache_hits_total"
WORKERS = 3


@contextlib.contextmanager
def site(kind, url, directory, **environment):
    """The port of the site, and the process that is the parent of its workers."""
    port = servers.free_port()
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.support.scraped.site",
        "REDIS_URL": f"{url}/14",
        "PROMETHEUS_MULTIPROC_DIR": str(directory),
        **environment,
    }
    if kind == "uvicorn":
        command = ["uvicorn", "tests.support.scraped.asgi:application", "--workers", str(WORKERS), "--log-level", "warning"]
        command += ["--host", servers.HOST, "--port", str(port)]
    else:
        (directory / "gunicorn.conf.py").write_text(CONFIG)
        command = ["gunicorn", "tests.support.scraped.wsgi", "--workers", str(WORKERS), "--no-control-socket"]
        command += ["--log-level", "warning", "--bind", f"{servers.HOST}:{port}"]
        command += ["--config", str(directory / "gunicorn.conf.py")]
        command += ["--threads", "4"] if kind == "gunicorn with threads" else []
        command += ["--preload"] if environment.get("PRELOAD") else []
    process = servers.launch([sys.executable, "-m", *command], port, seconds=30, environment=environment)
    try:
        yield port
    finally:
        servers.stop(process)


def work(port, path):
    """The workers that have answered, and how many requests, each for a key of its own.

    ``REQUESTS`` of them, and as many again until a second worker has answered: nothing shares the requests out fairly.
    """
    workers, asked = set(), 0
    end = monotonic() + 60
    with ThreadPoolExecutor(6) as pool:
        while not asked or (len(workers) < 2 and monotonic() < end):
            keys = [uuid.uuid4().hex for _ in range(REQUESTS)]
            workers |= set(pool.map(lambda key: int(ask(port, "GET", f"/{path}/{key}/")[0]), keys))
            asked += REQUESTS
    return workers, asked


def scrape(port):
    """What the site tells, by name and alias."""
    text = ask(port, "GET", "/metrics/")[0]
    return {
        (sample.name, sample.labels["alias"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def eventually(port, wanted):
    """The first scrape that is as ``wanted``, or the last: a worker answers before its request is finished."""
    end = monotonic() + 20
    while not wanted(found := scrape(port)) and monotonic() < end:
        sleep(0.05)
    return found


def counted(requests):
    """What so many requests count.

    Threads that write at the same time may keep each other's reads from being kept, because keys share marks: then a hit is
    a remote hit once more.
    """
    return {"tieredcache_misses_total": requests, FOUND: 4 * requests, "tieredcache_entries": requests}


def of(alias, found, names):
    return {name: sum(found.get((part, alias), 0) for part in name.split(" + ")) for name in names}


@pytest.mark.parametrize(
    ("kind", "path"), [("gunicorn", "work"), ("gunicorn with threads", "work"), ("uvicorn", "work"), ("uvicorn", "awork")]
)
def test_the_sum_over_all_workers_is_what_was_done(kind, path, valkey_url, tmp_path):
    """Every read of every worker is counted once, by whichever of them the scrape is answered."""
    with site(kind, valkey_url, tmp_path) as port:
        workers, asked = work(port, path)
        expected = counted(asked)
        found = eventually(port, lambda found: of("default", found, expected) == expected)
    assert of("default", found, expected) == expected
    assert len(workers) > 1
    assert found["tieredcache_misses_total", "local"] == asked
    # Room for so many in each of the workers that have answered.
    assert found["tieredcache_max_entries", "default"] == 5000 * len(workers)


def test_what_was_counted_before_the_fork_is_told_once(valkey_url, tmp_path):
    """By a parent that has preloaded the site, whose entries do not count: it serves nobody."""
    with site("gunicorn", valkey_url, tmp_path, PRELOAD="1") as port:
        workers, asked = work(port, "work")
        expected = counted(asked)
        expected[FOUND] += 11
        expected["tieredcache_entries"] += len(workers)  # each has the preloaded one
        found = eventually(port, lambda found: of("default", found, expected) == expected)
    assert of("default", found, expected) == expected
    assert len(workers) > 1


def test_a_worker_that_ends_leaves_its_counts_and_takes_its_entries(valkey_url, tmp_path):
    """Counters go on from where they were; what only the dead worker held is gone."""
    with site("gunicorn", valkey_url, tmp_path) as port:
        workers, asked = work(port, "work")
        before = counted(asked)
        assert of("default", eventually(port, lambda found: of("default", found, before) == before), before) == before
        os.kill(min(workers), signal.SIGTERM)
        gone = eventually(port, lambda found: found["tieredcache_entries", "default"] < asked)
        assert gone["tieredcache_entries", "default"] < asked
        assert gone["tieredcache_hits_total", "default"] == 3 * asked
        _, again = work(port, "work")
        after = {**counted(asked + again), "tieredcache_entries": gone["tieredcache_entries", "default"] + again}
        assert of("default", eventually(port, lambda found: of("default", found, after) == after), after) == after


# --- docs/operate ---


def queries():
    """Those of the dashboard, as Grafana asks them where every alias is chosen, by their panels."""
    panels = json.loads((OPERATE / "grafana.json").read_text())["panels"]
    for panel in panels:
        for target in panel["targets"]:
            query = target["expr"].replace("$alias", ".+").replace("$__rate_interval", "5s")
            yield f"{panel['title']} {target['refId']}", query.replace("[2m]", "[5s]")


@contextlib.contextmanager
def prometheus(scraped, folder):
    """Ask a Prometheus that scrapes that port: a function of a query, which returns its value for each alias."""
    port = servers.free_port()
    job = {"job_name": "site", "metrics_path": "/metrics/", "static_configs": [{"targets": [f"{servers.HOST}:{scraped}"]}]}
    config = {"global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"}, "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(json.dumps(config))  # which is YAML
    command = [need("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    command += [f"--web.listen-address={servers.HOST}:{port}"]

    def answers(query):
        found = json.loads(ask(port, "GET", f"/api/v1/query?query={urllib.parse.quote(query)}")[0])
        return {each["metric"].get("alias"): float(each["value"][1]) for each in found["data"]["result"]}

    with servers.running(command, port, seconds=30):
        yield answers


def test_every_query_of_the_dashboard_is_answered(valkey_url, tmp_path):
    """By a Prometheus that scrapes a site at work, for each alias; and the hit ratio is that of the site: 3 of 5 reads."""
    asked = dict(queries())
    found = {}
    with site("gunicorn", valkey_url, tmp_path) as port, prometheus(port, tmp_path) as answers:
        end = monotonic() + 60
        while not all(each.keys() >= {"default", "local"} for each in found.values()) or not found:
            assert monotonic() < end, found
            work(port, "work")
            found = {panel: answers(query) for panel, query in asked.items()}
    assert len(found) > 8
    assert found["Hit ratio A"] == {"default": pytest.approx(0.6, abs=0.05), "local": 0}
    assert found["Outage A"]["default"] == found["Remote errors A"]["default"] == 0
    assert 0 < found["Entries against MAX_ENTRIES A"]["default"] < 1


@pytest.mark.parametrize(
    "arguments", [("check", "rules", OPERATE / "alerts.yml"), ("test", "rules", Path(__file__).with_name("alerts.yml"))]
)
def test_the_alerts_are_rules_that_tell_what_they_should(arguments):
    """By Prometheus' own tool: each fires where it is wanted, and all are silent where the site is well."""
    done = subprocess.run([need("promtool"), *arguments], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
