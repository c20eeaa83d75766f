"""The figures, as Prometheus and OpenTelemetry are told of them."""

import dataclasses
import inspect
import io
import json
import os
import re
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest
import yaml
from django.core.cache import caches
from django.test import override_settings
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, InMemoryMetricReader, PeriodicExportingMetricReader
from prometheus_client import CollectorRegistry, Counter, generate_latest

from tests.support.caches import LRU, TIERED
from tests.support.processes import in_child
from tieredcache import Stats
from tieredcache.metrics import figures, opentelemetry, prometheus

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operate.md").read_text()
FIELDS = [field.name for field in dataclasses.fields(Stats)]
COUNTERS = [
    field for field in FIELDS if field not in {"entries", "max_entries", "bytes", "max_bytes", "oldest_stale_seconds"}
]


def settings_of(**more):
    """A tiered cache, "default", over "remote", an ``LRUCache``, "local", and more."""
    location = uuid.uuid4().hex
    return {
        "default": {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": {"LOCAL_TIMEOUT": 600}},
        "remote": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": location},
        "local": {"BACKEND": LRU, "LOCATION": location, "OPTIONS": {"MAX_ENTRIES": 2}},
        **more,
    }


@pytest.fixture
def site():
    """Two caches that have counted something."""
    with override_settings(CACHES=settings_of()):
        for cache in (caches["default"], caches["local"]):
            for key in "abc":
                cache.set(key, key)
            for key in "accdd":
                cache.get(key)
            cache.delete("c")
        yield


@pytest.fixture
def registry(monkeypatch):
    """One to which the figures have been added, and in which nothing has been counted."""
    monkeypatch.setattr(prometheus, "_figures", prometheus.Figures())
    found = CollectorRegistry()
    prometheus.register(found)
    return found


def stats_of(alias):
    return dataclasses.asdict(caches[alias].stats())


def scraped(registry, alias):
    """By field, what a scrape tells of ``alias``."""
    return {figure.field: registry.get_sample_value(figure.prometheus, {"alias": alias}) for figure in figures.FIGURES}


def test_every_figure_of_stats_is_told():
    """And nothing else; each under names of its own."""
    assert [figure.field for figure in figures.FIGURES] == FIELDS
    assert [figure.field for figure in figures.FIGURES if figure.counter] == COUNTERS
    for name in ("prometheus", "opentelemetry", "text"):
        assert len({getattr(figure, name) for figure in figures.FIGURES}) == len(FIELDS)


def test_prometheus_is_told_what_stats_says(site, registry):
    """At the scrape, with the alias as label; of the aliases that have such figures."""
    for alias in ("default", "local"):
        assert scraped(registry, alias) == stats_of(alias)
    assert stats_of("default")["hits"] == 1
    other = CollectorRegistry()
    prometheus.register(other)
    assert scraped(other, "default") == stats_of("default"), "counted once, however often they are shown"
    caches["default"].get("a")
    assert scraped(registry, "default")["hits"] == 2
    text = generate_latest(registry).decode()
    assert '# TYPE tieredcache_hits_total counter\ntieredcache_hits_total{alias="default"} 2.0\n' in text
    assert '# TYPE tieredcache_entries gauge\ntieredcache_entries{alias="default"} 1.0\n' in text
    assert 'alias="remote"' not in text
    # Of each counter, prometheus_client adds when it began.
    assert text.count('alias="default"') == len(FIELDS) + text.count('_created{alias="default"}')


def test_registering_twice_is_an_error(registry):
    """Each figure would be reported twice."""
    with pytest.raises(ValueError, match="tieredcache_hits"):
        prometheus.register(registry)


MULTI_PROCESS = """
import json, os, django
from django.conf import settings
tiered = {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": "remote"}
locmem = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
settings.configure(CACHES={"default": tiered, "remote": locmem})
django.setup()
from django.core.cache import cache
from django.core.signals import request_finished
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from tieredcache.metrics import prometheus

def scrape():
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    found = {sample.name: sample.value for family in registry.collect() for sample in family.samples}
    print(json.dumps([found.get(f"tieredcache_{name}") for name in ("hits_total", "misses_total", "entries")]))

prometheus.register()
cache.set("a", 1)
for key in "aaab":
    cache.get(key)
scrape()
request_finished.send(None)
scrape()
cache.get("a")
cache.clear()
scrape()
prometheus.flush()
scrape()
cache.get("b")
pid = os.fork()
if not pid:
    scrape()
    cache.get("c")
    prometheus.flush()
    scrape()
    os._exit(0)
os.waitpid(pid, 0)
"""


def test_in_multi_process_mode_the_end_of_a_request_copies_the_figures(tmp_path):
    """And flush() does, outside of requests; a fork, too, except for the entries: those of the parent serve nobody."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MULTI_PROCESS],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    assert [json.loads(line) for line in run.stdout.splitlines()] == [
        [0, 0, None],
        [2, 1, 1],  # hits, misses, entries, when a request has finished
        [2, 1, 1],
        [3, 1, 0],  # flushed
        [3, 2, 0],  # in a child process: what its parent had counted was copied by the fork
        [3, 3, 0],
    ]


def test_copying_amid_copying_adds_nothing_twice(site, registry, monkeypatch):
    """As a destructor may do that runs there."""
    inc = Counter.inc

    def copying(self, amount=1):
        monkeypatch.setattr(Counter, "inc", inc)
        prometheus.flush()
        self.inc(amount)

    monkeypatch.setattr(Counter, "inc", copying)
    caches["default"].get("a")
    prometheus.flush()
    assert scraped(registry, "default") == stats_of("default")


def test_a_counter_never_goes_down(site, registry):
    """Not even for the moment between a lookup that is counted and finding that it is no hit."""
    store = caches["default"]._tier
    caches["default"].get("a")
    store.lru["a"]  # a lookup under way
    before = scraped(registry, "default"), stats_of("default")
    store.not_hits += 1  # it finds nothing to serve
    assert (scraped(registry, "default"), stats_of("default")) == before
    caches["default"].get("a")
    caches["default"].get("a")
    assert scraped(registry, "default")["hits"] == stats_of("default")["hits"] == before[0]["hits"] + 1


def test_counters_go_on_where_caches_is_overridden(site, registry):
    """As they do for Prometheus when a process is started again: what the new local tier counts is added."""
    before = scraped(registry, "default")["misses"]
    with override_settings(CACHES=settings_of()):
        caches["default"].get("x")
        assert scraped(registry, "default")["misses"] == before + 1


def test_aliases_of_one_local_tier_are_told_once():
    """By the first of them: a sum over the aliases would count everything twice."""
    settings = settings_of()
    settings["same"], settings["same store"] = settings["default"], settings["local"]
    with override_settings(CACHES=settings):
        assert list(figures.read()) == ["default", "local"]


def test_a_mistake_in_an_alias_is_no_reason_to_tell_nothing():
    """Of the others; it is told where the alias is used."""
    wrong = {"wrong": {"BACKEND": TIERED, "LOCATION": "nowhere"}, "gone": {"BACKEND": "gone.Cache"}, "nothing": {}}
    with override_settings(CACHES=settings_of(**wrong)):
        assert list(figures.read()) == ["default", "local"]


def test_no_remote_is_made():
    """A scrape connects to nothing, and makes no instance for the thread or task that it comes in."""

    class Unmade:
        def __init__(self, *args):
            raise AssertionError

    figures.Unmade = Unmade
    try:
        with override_settings(CACHES=settings_of(remote={"BACKEND": "tieredcache.metrics.figures.Unmade"})):
            assert list(figures.read()) == ["default", "local"]
            assert caches.all(initialized_only=True) == []
    finally:
        del figures.Unmade


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_child_begins_at_nothing(site):
    """For Prometheus: what its parent has counted is reported by the parent."""
    registry = CollectorRegistry()
    prometheus.register(registry)
    caches["default"].get("a")

    def check():
        assert scraped(registry, "default")["hits"] is None
        caches["default"].get("a")
        assert scraped(registry, "default")["hits"] == 1
        assert scraped(registry, "default")["entries"] == stats_of("default")["entries"] > 0

    assert in_child(check)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_child_waits_for_no_lock_of_its_parent(site, monkeypatch):
    """A thread that the parent had at the fork may have been copying the figures."""
    monkeypatch.setattr(prometheus._figures, "copied", {})  # else the fork itself waits, until they have been copied
    held, go = threading.Event(), threading.Event()

    def hold():
        with prometheus._figures.lock:
            held.set()
            go.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        assert in_child(prometheus.flush)
    finally:
        go.set()
        thread.join()


def observed(reader):
    """By name, the unit, the kind and the points of each metric."""
    (resource,) = reader.get_metrics_data().resource_metrics
    (scope,) = resource.scope_metrics
    assert (scope.scope.name, bool(scope.scope.version)) == ("tieredcache", True)
    return {metric.name: metric for metric in scope.metrics}


def test_opentelemetry_is_told_what_stats_says(site):
    """By the real SDK: sums, of which the counters only grow, with the alias as attribute."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    opentelemetry.register(provider)
    try:
        found = observed(reader)
        assert found.keys() == {figure.opentelemetry for figure in figures.FIGURES}
        for figure in figures.FIGURES:
            metric = found[figure.opentelemetry]
            assert (metric.unit, metric.description) == (figure.unit, figure.text)
            assert getattr(metric.data, "is_monotonic", None) is (figure.counter if figure.sums else None)
            points = {point.attributes["tieredcache.alias"]: point.value for point in metric.data.data_points}
            assert points == {alias: stats_of(alias)[figure.field] for alias in ("default", "local")}
        caches["default"].get("a")
        point = observed(reader)["tieredcache.hits"].data.data_points[0]
        assert point.value == stats_of("default")["hits"] == 2
    finally:
        provider.shutdown()


def test_the_sdk_exports_them(site):
    """By the reader and the exporter that the page names."""
    out = io.StringIO()
    provider = MeterProvider([PeriodicExportingMetricReader(ConsoleMetricExporter(out=out))])
    opentelemetry.register(provider)
    provider.shutdown()
    (resource,) = json.loads(out.getvalue())["resource_metrics"]
    metrics = {metric["name"]: metric for metric in resource["scope_metrics"][0]["metrics"]}
    points = metrics["tieredcache.hits"]["data"]["data_points"]
    assert {point["attributes"]["tieredcache.alias"]: point["value"] for point in points} == {
        alias: stats_of(alias)["hits"] for alias in ("default", "local")
    }


def test_names_for_opentelemetry_follow_its_rules():
    """Those of the semantic conventions for names and units, as far as a test can tell."""
    for figure in figures.FIGURES:
        parts = figure.opentelemetry.split(".")
        assert parts[0] == "tieredcache"
        assert figure.unit.startswith("{") or figure.unit in {"By", "s"}
        assert not figure.unit.endswith("s}"), "singular"
        assert "total" not in figure.opentelemetry
        assert (parts[-1] in {"count", "limit", "usage", "oldest"}) is not figure.counter


@pytest.mark.parametrize(
    ("module", "missing", "extra"),
    [("prometheus", "prometheus_client", "prometheus"), ("opentelemetry", "opentelemetry", "opentelemetry")],
)
def test_without_the_extra_the_import_says_so(module, missing, extra):
    """And nothing else of the package imports either."""
    code = f"""
import sys
sys.modules[{missing!r}] = None
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["tieredcache"])
django.setup()
import tieredcache.backends, tieredcache.middleware, tieredcache.lookups, tieredcache.metrics.figures
assert not {{"prometheus_client", "opentelemetry"}} & {{name for name, found in sys.modules.items() if found}}
try:
    import tieredcache.metrics.{module}
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert f'pip install "django-tieredcache[{extra}]"' in run.stdout


def test_the_page_lists_every_figure():
    """And no other: each with its names and its meaning."""
    rows = [(f"`{figure.prometheus}`", f"`{figure.opentelemetry}`", figure.text) for figure in figures.FIGURES]
    listed = re.findall(r"^\| (`tieredcache_\S+) \| (\S+) \| (.+) \|$", PAGE, re.MULTILINE)
    assert listed == rows


def test_the_queries_ask_for_metrics_that_exist():
    """Those of the dashboard and of the alerts, which the page explains: test_scrapes.py has a Prometheus run them."""
    operate = ROOT / "docs" / "operate"
    panels = json.loads((operate / "grafana.json").read_text())["panels"]
    (group,) = yaml.safe_load((operate / "alerts.yml").read_text())["groups"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]] + [rule["expr"] for rule in group["rules"]]
    asked = set(re.findall(r"\btieredcache_\w+", "".join(queries)))
    assert asked <= {figure.prometheus for figure in figures.FIGURES}
    explained = re.findall(r"^- (?:`(\w+)`|\*\*([^*]+)\*\*): ", PAGE.partition("## Prometheus")[2], re.MULTILINE)
    assert [title or alert for alert, title in explained] == [
        *(panel["title"] for panel in panels),
        *(rule["alert"] for rule in group["rules"]),
    ]


def test_stats_says_what_the_figures_mean():
    """Its docstrings and the table are of one mind, word for word."""
    source = inspect.getsource(Stats)
    for figure in figures.FIGURES:
        said = " ".join(re.search(rf'{figure.field}: (?:int|float) = 0\n    """(.*?)"""', source, re.DOTALL)[1].split())
        assert said.startswith(figure.text.rstrip(".")), figure.field


@pytest.mark.slow
def test_what_copying_costs_can_be_measured_again():
    """By the command that the page names; it prints both times, and what the one is more than the other."""
    assert "`python -m benchmarks.load.flush`" in PAGE
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.load.flush"], capture_output=True, text=True, check=True, timeout=300, cwd=ROOT
    )
    without, copied, more = (int(number) for number in re.findall(r"(-?\d+) us", run.stdout))
    assert abs(copied - without - more) <= 1  # each is rounded
