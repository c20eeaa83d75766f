"""What must not be stale: the built-in prefixes, as the packages use their keys from several processes."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.core.cache.backends.redis import RedisCache

from tieredcache.config.excluded import EXCLUDED, EXCLUDED_PREFIXES

ROOT = Path(__file__).parents[2]
LIMIT = 10


@pytest.mark.parametrize("prefix", EXCLUDED_PREFIXES)
def test_a_change_by_another_process_is_seen(make_cache, mode, prefix):
    """A `get` that follows another process's `set` or `delete`, of a key that this process has read."""
    cache = make_cache(LOCAL_TIMEOUT=60, MISS_TIMEOUT=60)
    key = f"{prefix}0123abcd"
    assert mode(cache).get(key) is None
    assert not mode(cache).has_key(key)
    cache.remote.set(key, [1])
    assert mode(cache).has_key(key)
    assert mode(cache).get(key) == [1]
    cache.remote.set(key, [1, 2])
    assert mode(cache).get_many([key]) == {key: [1, 2]}
    cache.remote.delete(key)
    assert mode(cache).get(key) is None
    assert len(cache.local) == 0


def test_a_key_that_is_not_excluded_would_be_stale(make_cache, mode):
    """The same steps without an excluded prefix: else the test above would prove nothing."""
    cache = make_cache(LOCAL_TIMEOUT=60)
    cache.remote.set("allauth:0123abcd", [1])
    assert mode(cache).get("allauth:0123abcd") == [1]
    cache.remote.set("allauth:0123abcd", [1, 2])
    assert mode(cache).get("allauth:0123abcd") == [1]


def test_every_row_has_its_source():
    """Package and version, file and line, and why."""
    for row in EXCLUDED:
        assert row.package.split()[-1][0].isdigit(), row
        path, line = row.source.split(":")
        assert path.endswith(".py"), row
        assert int(line) > 0, row
        assert row.reason, row


WORKER = """
import sys, time
from django.conf import settings
url, key = sys.argv[1:]
settings.configure(CACHES={
    "default": {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": "remote", "OPTIONS": {"LOCAL_TIMEOUT": 60}},
    "remote": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url},
})
from django.core.cache import cache

def locked(use):
    while not cache.add(key + ":lock", True, timeout=10):
        time.sleep(0.001)
    try:
        return use()
    finally:
        cache.delete(key + ":lock")

def allowed():
    return len(cache.get(key, [])) < 10

def consume():
    history = cache.get(key, [])
    if len(history) >= 10:
        return False
    cache.set(key, [time.time(), *history], 60)
    return True

locked(allowed)
cache.incr(key + ":ready")
while cache.remote.get(key + ":ready") < 4:
    time.sleep(0.01)
print(sum(locked(allowed) and locked(consume) for _ in range(10)))
"""


@pytest.mark.parametrize(("prefix", "exact"), [("allauth:rl:", True), ("other:rl:", False)])
def test_a_rate_limit_is_exact_across_processes(valkey_url, prefix, exact):
    """allauth's: a list that is looked at first, and read and stored again within a lock, by four workers.

    One attempt of ten was made before. All have looked before any of them counts.
    """
    url = f"{valkey_url}/11"
    key = f"{prefix}allauth.account:login_failed:10/1m/ip:ip:10.0.0.1"
    remote = RedisCache(url, {})
    remote.set(key, [time.time()], 60)
    remote.set(f"{key}:ready", 0, 60)
    command = [sys.executable, "-c", WORKER, url, key]
    workers = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    passed = sum(int(worker.communicate(timeout=300)[0]) for worker in workers)
    remote.clear()
    remote.close()
    assert passed == LIMIT - 1 if exact else passed > LIMIT - 1
