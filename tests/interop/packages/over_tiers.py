"""Loaded by pytest in the process that runs a package's suite: puts tiers in front of its caches, reports what came of it.

By itself, and on the path by itself: the packages have a ``tests`` of their own.
"""

import json
import os
from pathlib import Path

import pytest

OPTIONS = json.loads(os.environ["OVER_TIERS"])
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"

outcomes = {}
reasons = {}
kept = set()
remote_hits = 0


def tiered(own):
    """``own``, the suite's ``CACHES``, each alias with a tier in front.

    What is kept in the process's memory only moves to Valkey, as it does on a site that has several processes.
    """
    redis = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": os.environ["OVER_TIERS_REDIS"] + "/1"}
    caches = {}
    for alias, config in (own or {"default": {"BACKEND": LOCMEM}}).items():
        # A dict for each: some suites change it in place.
        options = dict(OPTIONS)
        caches[alias] = {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": f"{alias}-remote", "OPTIONS": options}
        caches[f"{alias}-remote"] = config if config["BACKEND"].startswith("django_redis") else redis
    return caches


def pytest_collection_modifyitems(items):
    """Some suites are made for Django's runner, which lets every test use the database."""
    if os.environ["DJANGO_SETTINGS_MODULE"].startswith("tests."):
        for item in items:
            item.add_marker(pytest.mark.django_db)


def pytest_runtest_logreport(report):
    if report.failed or report.when == "call" or (report.skipped and report.when == "setup"):
        outcomes[report.nodeid] = "failed" if outcomes.get(report.nodeid) == "failed" else report.outcome
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        reasons[report.nodeid] = crash.message if crash else str(report.longrepr)


def pytest_configure():
    """Notes what is kept when it is: many suites clear the cache at the end of each test."""
    from tieredcache.local.tier import LocalTier

    put = LocalTier.put

    def noting(tier, key, *arguments, **options):
        kept.add(key if isinstance(key, str) else repr(key))
        return put(tier, key, *arguments, **options)

    LocalTier.put = noting


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call():
    global remote_hits  # noqa: PLW0603 - of the process
    before = total()
    yield
    remote_hits += max(0, total() - before)  # a test that changes CACHES leaves the tiers behind


def total():
    from tieredcache.config import registry

    return sum(tier.stats().remote_hits for tier in registry._tiers.values())


def pytest_sessionfinish():
    report = {"outcomes": outcomes, "reasons": reasons, "kept": sorted(kept), "remote_hits": remote_hits}
    Path(os.environ["OVER_TIERS_REPORT"]).write_text(json.dumps(report))
