"""Servers, caches and a clock for the tests."""

import contextlib
import signal
import sys
import uuid

import hypothesis
import hypothesis.core
import pytest
from _pytest.runner import runtestprotocol
from django.core.cache import caches
from django.test import override_settings

import tieredcache.backends
import tieredcache.remote.redis  # noqa: F401
from tests.support import servers
from tests.support.caches import LRU, TIERED, remote_settings
from tests.support.clocks import Clock
from tests.support.doubles import RemoteDouble
from tests.support.modes import Async, Sync
from tests.support.pauses import stands_still
from tests.support.programs import need

# Ignored where a shell has started all of this in the background, and then by what the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Under CI, Hypothesis would draw the same examples in every run. No deadline, and no word on slowness: the tests share the
# machine with servers.
hypothesis.settings.register_profile(
    "tieredcache",
    derandomize=False,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("tieredcache")


def pytest_sessionstart(session):
    """Let pytest-randomly's seed, which it prints at the head of the run, decide the examples as well as the order."""
    if session.config.getoption("hypothesis_seed", None) is None:
        # What --hypothesis-seed sets: there is no public name for it.
        hypothesis.core.global_force_seed = session.config.getoption("randomly_seed", None)


def pytest_addoption(parser):
    parser.addoption(
        "--prefetch", type=int, help="PREFETCH of the caches that name none: every promise holds with and without"
    )


# With real waits, or many servers: begun last, each of them would keep one worker busy while the others have nothing to do.
LONG = (
    *("promises/test_outage_circuit.py", "promises/test_never_worse.py", "promises/test_contract.py"),
    *("promises/test_model.py", "repository/test_docs.py", "features/test_checks_aliases.py"),
)


def pytest_ignore_collect(collection_path, config):
    """Where no slow test is wanted, Django's own are not fetched: their module has no other."""
    return True if "not slow" in config.option.markexpr and collection_path.name == "test_django.py" else None


def pytest_collection_modifyitems(config, items):
    """Begin with what takes long. With ``--prefetch``, run what it changes: the tests whose caches ``make_cache`` makes."""
    if config.getoption("prefetch") is not None:
        items[:] = [item for item in items if "make_cache" in item.fixturenames]
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONG))


ATTEMPTS = 3
AGAIN = "run again"


def pytest_runtest_protocol(item, nextitem):
    """Run a test that fails again where the machine is one that stands still; on any other it has failed."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for attempt in range(1, ATTEMPTS + 1):
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if attempt == ATTEMPTS or not any(report.failed for report in reports) or not stands_still():
            break
    for report in reports:
        if attempt > 1:
            report.user_properties.append((AGAIN, attempt - 1))
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_terminal_summary(terminalreporter):
    """Name the tests that were run again."""
    reports = [report for some in terminalreporter.stats.values() for report in some]
    again = sorted({report.nodeid for report in reports if AGAIN in dict(getattr(report, "user_properties", ()))})
    if again:
        terminalreporter.section("the machine stood still, and so these were run again")
        for name in again:
            terminalreporter.write_line(name)


def server(context):
    @pytest.fixture(scope="session")
    def fixture():
        with context() as address:
            yield address

    return fixture


valkey_url = server(servers.valkey)
cluster_url = server(servers.cluster)
sentinel_address = server(servers.sentinel)


@pytest.fixture(scope="session")
def redis_url():
    with servers.valkey(binary=need("redis-server")) as url:
        yield url


@pytest.fixture(scope="session")
def memcached_address():
    need("memcached")
    with servers.memcached() as address:
        yield address


@pytest.fixture
def fakeredis_server():
    from fakeredis import FakeServer

    return FakeServer()


@pytest.fixture(autouse=True)
def doubles_as_new():
    """No test sees what an earlier one did to a double: its state belongs to the class."""
    RemoteDouble.reset()
    yield
    RemoteDouble.reset()


@pytest.fixture(autouse=True)
def no_pause(request, monkeypatch):
    """Where time is the machine's own, no burst ends because the machine has stood still for a tenth of a second."""
    from tieredcache.remote import prefetch

    prefetch._current.set(None)
    if "clock" not in request.fixturenames:
        monkeypatch.setattr(prefetch, "PAUSE", float("inf"))


@pytest.fixture
def make_cache(request):
    """Makes a cache with the settings given: ``make_cache(remote="locmem", LOCAL_TIMEOUT=2)``.

    ``remote``: a kind of remote, or its settings. ``alias``: further keys of the tiered alias, ``remote_alias`` of the
    remote one. Returns the backend; ``caches`` has it as "default" and the remote as "remote".
    """
    with contextlib.ExitStack() as stack:

        def make(remote="locmem", *, alias=None, remote_alias=None, **options):
            config = remote_settings(remote, request) if isinstance(remote, str) else remote
            config = {**config, **(remote_alias or {})}
            prefetch = request.config.getoption("prefetch")
            chosen = {} if prefetch is None else {"PREFETCH": prefetch}
            tiered = {"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": chosen | options, **(alias or {})}
            stack.enter_context(override_settings(CACHES={"default": tiered, "remote": config}))
            cache = caches["default"]
            cache.clear()
            stack.callback(caches.close_all)
            return cache

        yield make
        for cache in caches.all(initialized_only=True):
            with contextlib.suppress(Exception):
                cache.clear()


@pytest.fixture
def make_lru():
    """Makes an ``LRUCache`` with a store of its own; the keywords are the alias's settings."""
    with contextlib.ExitStack() as stack:

        def make(**settings):
            settings = {"BACKEND": LRU, "LOCATION": uuid.uuid4().hex, **settings}
            stack.enter_context(override_settings(CACHES={"default": settings}))
            return caches["default"]

        yield make


@pytest.fixture
def clock(monkeypatch):
    """The clock of the whole package, for the test to move."""
    fake = Clock()
    for name, module in list(sys.modules.items()):
        if name.startswith("tieredcache.") and hasattr(module, "clock"):
            monkeypatch.setattr(module, "clock", fake)
    return fake


@pytest.fixture
def log(caplog):
    """The lines on the project's logger so far."""
    return lambda: [record.getMessage() for record in caplog.records if record.name == "tieredcache"]


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def mode(request):
    """Both ways to call a cache: ``mode(cache).get(...)``."""
    return request.param
