"""A site that goes from tieredcache 0.1 to this version gets what the page on moving says.

Version 0.1 was never on an index: it is a commit of this repository, and is tested where the history is at hand.
"""

import os
import subprocess
import sys

import pytest
import redis

from tests.interop.moving.pages import MOVES, PAGE, part, patched
from tests.interop.moving.scenes import SCENES, run
from tests.interop.moving.site import PROJECT, ROOT, Site

pytestmark = pytest.mark.slow

VERSION_0_1 = "020555c"
(MOVE,) = [move for move in MOVES if move.name == "redis"]
TABLES = """
import sys
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["django.contrib.contenttypes"], CACHES={
    "default": {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": "remote"},
    "remote": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": sys.argv[1]},
}, DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
django.setup()
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from tieredcache.lookups import LookupTable
call_command("migrate", run_syncdb=True, verbosity=0)
ContentType.objects.all().delete()
calls = []
def countries():
    calls.append(1)
    return [{"code": "de", "name": "Germany"}]
ContentType.objects.create(app_label=sys.argv[2], model="model")
called = LookupTable("upgrading:called", countries, key="code")
queried = LookupTable("upgrading:queried", ContentType.objects.values("model", "app_label"), key="model")
print(called["de"].name, len(calls), queried["model"].app_label)
"""


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A directory to import version 0.1 from."""
    archive = subprocess.run(["git", "archive", VERSION_0_1, "tieredcache"], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip("the history of this repository, with version 0.1 in it, is not here")
    directory = tmp_path_factory.mktemp("old")
    subprocess.run(["tar", "x"], input=archive.stdout, cwd=directory, check=True)
    return directory


@pytest.fixture(scope="module")
def sites(old, valkey_url, tmp_path_factory):
    """The site over 0.1 and over this version, with the same settings, on one server."""
    settings = MOVE.after.replace("redis://127.0.0.1:6379", valkey_url).replace('TIMEOUT": 0.5', 'TIMEOUT": 30')
    files = {"settings.py": (PROJECT / "settings.py").read_text().replace("CACHES = {}\n", settings)}
    for name, change in MOVE.diffs:
        files[name] = patched(files.get(name) or (PROJECT / name).read_text(), change)
    with (
        Site(tmp_path_factory.mktemp("before"), files, f"{valkey_url}/1", packages=[old]) as before,
        Site(tmp_path_factory.mktemp("after"), files, f"{valkey_url}/1") as after,
    ):
        yield before, after


def test_every_scene_is_answered_alike(sites):
    answers = []
    for site in sites:
        answers.append(run(site))
        site.flush()
    before, after = answers
    assert sorted(title for title in SCENES if before[title] != after[title]) == []


def test_the_checks_find_nothing(sites):
    assert ["no issues" in site.manage("check") for site in sites] == [True, True]


def test_both_versions_run_side_by_side(sites):
    """As in a roll-out, and when it is taken back: each reads, counts on and deletes what the other wrote."""
    for writer, reader in [sites, sites[::-1]]:
        for name, value in {"number": 1, "list": [1, (2,)], "none": None}.items():
            writer.ask("a", "set", name, value, 60)
            assert reader.ask("a", "get", name) == repr(value)
        assert writer.ask("a", "incr", "number") == "2"
        writer.ask("a", "delete_many", ["number", "list", "none"])
        for site in sites:
            site.move(61)
        assert reader.ask("a", "get", "number") == "None"


def test_neither_version_believes_the_cookie_of_the_other(sites):
    """What the page says of a roll-out: the other version's worker may serve what it has, for the local timeout."""
    for writer, reader in [sites, sites[::-1]]:
        visitor = {}
        writer.post("a", "/prices/oil/", visitor, price=1)
        assert (reader.get("a", "/prices/oil/"), writer.get("b", "/prices/oil/")) == ("1", "1")
        writer.post("a", "/prices/oil/", visitor, price=2)
        assert (reader.get("a", "/prices/oil/", visitor), writer.get("b", "/prices/oil/", visitor)) == ("1", "2")
        for site in sites:
            site.move(61)
    assert "cookie" in part(PAGE.read_text(), "Upgrading")


def test_each_version_reads_the_tables_of_the_other(old, valkey_url):
    """An entry is not loaded again: ``first`` and not ``second`` is in the database of the process that wrote it."""
    for first, second in [([old], []), ([], [old])]:
        printed = []
        for packages, label in [(first, "first"), (second, "second")]:
            path = os.pathsep.join(map(str, [*packages, ROOT, *sys.path[1:]]))
            command = [sys.executable, "-c", TABLES, f"{valkey_url}/2", label]
            ran = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True)
            printed.append(ran.stdout.split())
        assert printed == [["Germany", "1", "first"], ["Germany", "0", "first"]]
        with redis.Redis.from_url(f"{valkey_url}/2") as server:
            server.flushdb()
