"""Loaded by pytest in the process that runs a package's suite: puts tiers in front of its caches, reports what came of it.

By itself, and on the path by itself: the packages have a ``tests`` of their own.
"""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

OPTIONS = json.loads(os.environ["OVER_TIERS"])
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"

outcomes = {}
reasons = {}
kept = set()
counts = Counter()


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


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call():
    """Looks at the tiers when a test has run and nothing has been cleared yet."""
    before = totals()
    yield
    from tieredcache import registry

    counts.update(totals() - before)
    for tier in registry._tiers.values():
        kept.update(key if isinstance(key, str) else repr(key) for key in list(tier.index))


def totals():
    from tieredcache import registry

    found = Counter()
    for tier in registry._tiers.values():
        stats = tier.stats()
        found.update(hits=stats.hits, remote_hits=stats.remote_hits)
    return found


def pytest_sessionfinish():
    report = {"outcomes": outcomes, "reasons": reasons, "kept": sorted(kept)}
    report |= {"hits": counts["hits"], "remote_hits": counts["remote_hits"]}
    Path(os.environ["OVER_TIERS_REPORT"]).write_text(json.dumps(report))
