"""Loaded in the process that runs a package's suite: puts tiers in front of its caches, reports what came of it.

A plugin of pytest, and a runner for the suites that have Django's. By itself, and on the path by itself: the packages have a
``tests`` of their own.
"""

import contextlib
import json
import os
import unittest
from pathlib import Path

import pytest
from django.core.cache import CacheHandler
from django.test.runner import DiscoverRunner

OPTIONS = json.loads(os.environ["OVER_TIERS"])
REDIS = "django_redis.cache.RedisCache"
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"

outcomes = {}
reasons = {}
kept = set()
remote_hits = 0


def tiered(own):
    """``own``, the suite's ``CACHES``, each alias with a tier in front.

    What is kept in the process's memory only moves to Valkey, as it does on a site that has several processes.
    """
    tiers, remotes = {}, {}
    for number, (alias, config) in enumerate((own or {"default": {"BACKEND": LOCMEM}}).items(), 1):
        remote = f"{alias}-remote"
        # Options of its own for each: some suites change them in place.
        tiers[alias] = {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": remote, "OPTIONS": dict(OPTIONS)}
        remotes[remote] = dict(config)
        if not config["BACKEND"].startswith("django_redis"):
            remotes[remote] |= {"BACKEND": REDIS, "LOCATION": f"{os.environ['OVER_TIERS_REDIS']}/{number}", "OPTIONS": {}}
    # The remotes come last: some suites take the second alias for another cache.
    return tiers | remotes


def tier_overridden():
    """Has the ``CACHES`` that single tests set be tiered as well, where they are of this process's memory."""
    configure = CacheHandler.configure_settings

    def configured(handler, settings):
        found = configure(handler, settings)
        local = {alias: config for alias, config in found.items() if config["BACKEND"] == LOCMEM}
        return found | tiered(local) if local else found

    CacheHandler.configure_settings = configured


def note(test, outcome, reason=None):
    outcomes[test] = "failed" if outcomes.get(test) == "failed" else outcome
    if reason is not None:
        reasons[test] = reason


def begin():
    """Notes what is kept when it is: many suites clear the cache at the end of each test."""
    from tieredcache.local.tier import LocalTier

    put = LocalTier.put

    def noting(tier, key, *arguments, **options):
        kept.add(key if isinstance(key, str) else repr(key))
        return put(tier, key, *arguments, **options)

    LocalTier.put = noting


@contextlib.contextmanager
def counting():
    global remote_hits  # noqa: PLW0603 - of the process
    before = total()
    yield
    remote_hits += max(0, total() - before)  # a test that changes CACHES leaves the tiers behind


def total():
    from tieredcache.config import registry

    return sum(tier.remote_hits for tier in registry._tiers.values())


def finish():
    report = {"outcomes": outcomes, "reasons": reasons, "kept": sorted(kept), "remote_hits": remote_hits}
    Path(os.environ["OVER_TIERS_REPORT"]).write_text(json.dumps(report))


def pytest_configure():
    begin()


def pytest_collection_modifyitems(items):
    """Some suites are made for Django's runner, which lets every test use the database."""
    if os.environ["DJANGO_SETTINGS_MODULE"].startswith("tests."):
        for item in items:
            item.add_marker(pytest.mark.django_db)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call():
    with counting():
        yield


def pytest_runtest_logreport(report):
    if report.failed or report.when == "call" or (report.skipped and report.when == "setup"):
        crash = getattr(report.longrepr, "reprcrash", None)
        note(report.nodeid, report.outcome, (crash.message if crash else str(report.longrepr)) if report.failed else None)


def pytest_sessionfinish():
    finish()


class Result(unittest.TextTestResult):
    """Names tests as pytest does."""

    def run_of(self, test):
        return f"{type(test).__module__.replace('.', '/')}.py::{type(test).__qualname__}::{test.id().rpartition('.')[2]}"

    def startTest(self, test):
        super().startTest(test)
        self.counts = contextlib.ExitStack()
        self.counts.enter_context(counting())

    def stopTest(self, test):
        self.counts.close()
        super().stopTest(test)

    def addSuccess(self, test):
        super().addSuccess(test)
        note(self.run_of(test), "passed")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        note(self.run_of(test), "skipped")

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        note(self.run_of(test), "skipped")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        note(self.run_of(test), "failed", str(err[1]))

    def addError(self, test, err):
        super().addError(test, err)
        note(self.run_of(test), "failed", str(err[1]))

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            note(self.run_of(test), "failed", str(err[1]))

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        note(self.run_of(test), "failed", "it was expected to fail")


class Runner(DiscoverRunner):
    def get_resultclass(self):
        return Result

    def run_suite(self, suite, **options):
        begin()
        if OPTIONS is not None:
            tier_overridden()
        result = super().run_suite(suite, **options)
        finish()
        return result
