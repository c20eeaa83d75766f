"""What tracers and metrics of others see of the remote alone they see through a tier, and the hits besides."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.modes import Async, Sync

READS, ASYNC_READS = ["a", "a", "a", "a, b"], ["a", "a", "a"]
OFF = {"DD_REMOTE_CONFIGURATION_ENABLED": "0", "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "0"}


def seen(tool, url):
    """Of each way to call each alias: the keys in calls to the tier and to the remote, and how many commands were seen."""
    command = [sys.executable, "-m", "tests.support.traced", tool, f"{url}/9"]
    done = subprocess.run(command, env={**os.environ, **OFF}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = {}
    for way, (calls, commands) in json.loads(done.stdout).items():
        keys = {place: [key.replace("a b", "a, b") for by, key in calls if by == place] for place in ("tier", "remote")}
        found[way] = keys["tier"], keys["remote"], len(commands)
    return found


@pytest.mark.parametrize(
    ("tool", "package", "around"),
    [("sentry", "sentry_sdk", (["a"], [])), ("datadog", "ddtrace", (["a"], ["a"]))],  # Sentry does not wrap delete
)
def test_a_tracer_sees_the_calls_to_the_tier_and_to_the_remote(tool, package, around, valkey_url):
    """As many calls to the tier, hits among them, as it sees to the remote alone; two commands fewer, or more, were hits.

    Not async ones: of Django's async methods such tools see the sync ones that these call, and ours call none.
    """
    pytest.importorskip(package)
    before, after = around
    assert seen(tool, valkey_url) == {
        "remote": ([], before + READS + after, 6),
        "async remote": ([], before + ASYNC_READS + after, 5),
        "default": (before + READS + after, before + after, 4),
        "async default": ([], before + after, 3),
    }


def test_opentelemetry_sees_each_command_when_the_client_is_instrumented(valkey_url):
    """It is the client that it instruments: hits are not there to be seen, and value and TTL are one span."""
    pytest.importorskip("opentelemetry.instrumentation.redis")
    found = {way: commands for way, (_, _, commands) in seen("opentelemetry", valkey_url).items()}
    assert found == {"remote": 6, "async remote": 5, "default": 4, "async default": 3}


@pytest.mark.parametrize(("backend", "label"), [("RedisCache", "redis"), ("NativeRedisCache", "native_redis")])
def test_django_prometheus_counts_remote_reads_when_its_backend_is_the_remote(backend, label, valkey_url, make_cache, clock):
    """Hits are not its to count. No copy outlives the remote's entry, although the backend reads in its own way."""
    metrics = pytest.importorskip("django_prometheus.cache.metrics")
    module = pytest.importorskip("django_prometheus.cache.backends.redis")
    if not hasattr(module, backend):
        pytest.skip(f"django-prometheus has {backend} from 2.4 on, which does not install with Django 6.1")

    def counts():
        counters = (metrics.django_cache_get_total, metrics.django_cache_hits_total, metrics.django_cache_misses_total)
        return [counter.labels(backend=label)._value.get() for counter in counters]

    remote = {"BACKEND": f"{module.__name__}.{backend}", "LOCATION": f"{valkey_url}/10"}
    cache = make_cache(remote, LOCAL_TIMEOUT=60, JITTER=0)
    before = counts()
    for mode, key in ((Sync(cache), "sync"), (Async(cache), "async")):
        mode.set(key, "value", 30)
        for _ in range(3):
            assert mode.get(key) == "value"
            assert mode.get(f"no-{key}", "none") == "none"
        clock.move(29)
        assert mode.get(key) == "value"
        clock.move(2)
        assert mode.get(key) == "value", "the server's clock has not been moved"
    assert [now - then for now, then in zip(counts(), before, strict=True)] == [10, 4, 6]
