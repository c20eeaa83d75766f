"""``manage.py tieredcache plan`` on a trace: what it computes, what it suspects, and what it recommends."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.core.cache import caches
from django.core.management import CommandError, call_command
from django.test import override_settings

from tests.support.plans import HEADER, expected, plan, report, traffic, write
from tieredcache.checks.caches import read_aliases
from tieredcache.config import TieredOptions
from tieredcache.local.sizes import TIER_ENTRY
from tieredcache.management.commands.tieredcache import Command
from tieredcache.plan.events import Event, prefixes
from tieredcache.plan.simulate import Trace, simulate

PAGE = Path(__file__).parents[2] / "docs" / "plan.md"
# A product and flags that are only read, a basket that is read and written, a counter, a lock, a large value.
SMALL = [
    *((100 + number / 10, f"worker {number % 2}", "get", f"product:{number % 7}", 400) for number in range(900)),
    *((100 + number * 2, "worker 0", operation, "basket:7", 80) for number in range(40) for operation in ("get", "set")),
    *((101 + number, "worker 1", "incr", "views", 4) for number in range(30)),
    *((102 + number, "worker 1", operation, "sync:lock", 4) for number in range(10) for operation in ("set", "delete")),
    *((103 + number, "worker 0", "get", "menu", 40_000) for number in range(20)),
    *((104 + number, "worker 0", "get", f"search:{number}", 400) for number in range(30)),
]


REMOTE = {"BACKEND": "tests.support.doubles.RemoteDouble", "LOCATION": "plan"}


@pytest.fixture(autouse=True)
def project():
    """One that has no tier yet."""
    with override_settings(CACHES={"default": REMOTE}):
        yield


@pytest.fixture
def small(tmp_path):
    return write(tmp_path / "small.csv", sorted(SMALL))


# --- what it computes ---


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """The plan of 40,000 events, and these."""
    events = traffic(40_000)
    return report("--trace", write(tmp_path_factory.mktemp("plan") / "large.csv", events)), events


@pytest.mark.slow
@pytest.mark.parametrize("timeout", [1, 5, 10, 60])
def test_hit_ratios_and_stale_shares_are_those_of_an_exact_lru(large, timeout):
    """With deadlines, and the versions of what other processes write: a model that shares nothing with the package."""
    shown, events = large
    row = next(row for row in shown["timeouts"] if row["local_timeout"] == timeout)["without_prefetch"]
    hit_ratio, stale_share = expected(events, timeout, 10_000)
    assert 0.3 < hit_ratio < 0.95
    assert row["hit_ratio"] == pytest.approx(hit_ratio, abs=0.02)
    assert row["stale_share"] == pytest.approx(stale_share, rel=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("entries", [100, 300, 1000, 3000])
def test_rows_by_entries_are_those_of_an_exact_lru_or_better(large, entries):
    """At the timeout that is recommended. The tier's own policy keeps more of what is read again."""
    shown, events = large
    row = next(row for row in shown["entries"] if row["max_entries"] == entries)
    hit_ratio, stale_share = expected(events, row["local_timeout"], entries)
    assert hit_ratio - 0.02 < row["without_prefetch"]["hit_ratio"] < hit_ratio + 0.06
    assert row["without_prefetch"]["stale_share"] == pytest.approx(stale_share, rel=0.3)
    assert shown["simulated"]["policy"] == "ghosts and lives"


def outcome(*events, **options):
    options = {"local_timeout": 5, "jitter": 0, "prefetch": 0, **options}
    return simulate(Trace([Event(*event) for event in events]), TieredOptions(**options))


def test_a_copy_is_stale_from_the_first_write_of_another_process():
    """Its age is the time since then; the process that wrote has none."""
    writes = [(1, "b", "set", "k"), (3, "b", "set", "k")]
    found = outcome((0, "a", "get", "k"), *writes, (3.5, "b", "get", "k"), (4, "a", "get", "k"), (5, "a", "get", "k"))
    assert (found.reads, found.hits, found.ages) == (4, 1, [3])


def test_what_has_expired_at_the_remote_is_no_hit():
    """A local copy does not outlive it; what another process has deleted is served until its deadline."""
    assert outcome((0, "a", "get", "k"), (1, "a", "miss", "k"), (2, "a", "miss", "k")).hits == 0
    found = outcome((0, "a", "get", "k"), (1, "b", "delete", "k"), (3, "a", "miss", "k"), (6, "a", "miss", "k"))
    assert (found.hits, found.ages) == (1, [2])


def test_round_trips_and_commands():
    """A read is GET and PTTL in one trip; keys read at one time share a trip; writes are sent as they are."""
    found = outcome((0, "a", "get", "x"), (0, "a", "get", "y"), (1, "a", "get", "x"), (2, "a", "incr", "n"))
    assert (found.trips, found.commands) == (2, 4)


def test_prefetching_brings_a_page_in_one_trip():
    """Keys that were read together are refreshed together, by the package's own rules."""
    page = [(turn * 10 + number / 1000, "a", "get", f"k{number}") for turn in range(3) for number in range(10)]
    assert outcome(*page).trips == 30
    found = outcome(*page, prefetch=100)
    assert (found.trips, found.hits, found.commands) == (12, 18, 42)


def test_memory_is_that_of_the_fullest_process():
    """The sizes of values that are known, of the others their mean; keys; and what an entry takes."""
    found = outcome((0, "a", "set", "xx", 100), (1, "a", "get", "xx"), (2, "a", "get", "y"), (3, "b", "get", "y"))
    assert found.bytes == (2 + 100 + TIER_ENTRY) + (1 + 100 + TIER_ENTRY)


@pytest.mark.slow
def test_the_same_trace_makes_the_same_plan(large):
    """Jitter or not."""
    trace = Trace([Event(*event) for event in large[1][:2000]])
    assert simulate(trace, TieredOptions()) == simulate(trace, TieredOptions())


def test_a_simulation_leaves_the_process_alone(make_cache, clock):
    """Its clock is its own, and so are its tiers."""
    cache = make_cache(LOCAL_TIMEOUT=5)
    cache.set("k", 1)
    cache.get("k")
    before = cache.stats()
    outcome((1e9, "a", "get", "k"), (2e9, "a", "get", "k"), prefetch=100)
    assert cache.stats() == before
    assert cache.get("k") == 1
    assert cache.stats().hits == before.hits + 1


# --- what it suspects and recommends ---


def test_suspects(small):
    """Each with its evidence; what would do no harm is only told."""
    found = {row["prefix"]: (row["stays_out"], row["evidence"][0]) for row in report("--trace", small)["suspects"]}
    assert found == {
        "basket:": (True, "read and then written by one process within a second: 40 of 40 reads, 40 writes"),
        "views": (True, "counters: 30 increments"),
        "sync:": (True, "locks, or the like: 10 times set, 10 deleted, 0 read"),
        "menu": (False, "values over 16 kB: 1 keys, the largest of 39 kB"),
        "search:": (True, "no process reads a key twice within a minute: 30 reads"),
    }


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["shop:product:1", "shop:product:2", "shop:menu:1", "shop:menu:2"], {"shop:product:", "shop:menu:"}),
        ([f"user:{number}:rights" for number in range(40)], {"user:"}),
        (["page1", "page2", "menu", "7"], {"page", "menu", "7"}),
        (["django.contrib.sessions.cacheabc", "flag.x"], {"django.contrib.sessions.cache", "flag."}),
    ],
)
def test_prefixes(keys, expected):
    """Up to the first separator, or to the second, where that makes only a few."""
    assert set(prefixes(set(keys)).values()) == expected


def test_blocks_are_no_locks(tmp_path):
    """Nor clocks."""
    names = ("block:1", "clock:1", "Lock:1")
    events = [(number / 10, "a", "get", name, 1) for number in range(9) for name in names]
    assert [row["prefix"] for row in report("--trace", write(tmp_path / "blocks.csv", events))["suspects"]] == ["Lock:"]


def test_keys_that_are_read_all_the_time_are_no_suspects(tmp_path):
    """However often a write follows a read by chance."""
    events = traffic(4_000, keys=5, writes=0.2)
    assert report("--trace", write(tmp_path / "busy.csv", events))["suspects"] == []


def test_the_built_in_prefixes_are_kept_out_without_a_word(tmp_path):
    """They are reported, and need no setting."""
    events = [(number, "a", "get", "rl:1", 10) for number in range(50)] + [(50, "a", "get", "x", 1)]
    shown = report("--trace", write(tmp_path / "rates.csv", events))
    assert shown["recommended"]["LOCAL_TIMEOUTS"] == {}
    assert shown["prefixes"][0]["hit_ratio"] == 0
    assert [row["prefix"] for row in shown["suspects"]] == ["rl:"]


@pytest.mark.slow
def test_a_large_trace_is_simulated_in_part(tmp_path, monkeypatch):
    """Rates are those of all; the plan says so."""
    path = write(tmp_path / "traffic.csv", traffic(4_000))
    whole = report("--trace", path)
    monkeypatch.setattr("tieredcache.plan.report.ROWS_EVENTS", 2_500)
    part = report("--trace", path)
    assert (whole["simulated"]["events"], whole["simulated"]["processes"]) == (4_000, 4)
    assert (1_500 < part["simulated"]["events"] <= 2_500, part["simulated"]["processes"]) == (True, 2)
    for name in ("hit_ratio", "commands_per_second", "round_trips_per_second"):
        assert part["timeouts"][2][name] == pytest.approx(whole["timeouts"][2][name], rel=0.15)
    assert "The tables were simulated on " in plan("--trace", path)[0]
    monkeypatch.setattr("tieredcache.plan.report.ROWS_EVENTS", 500)
    assert report("--trace", path)["simulated"] == {"events": 500, "processes": 1, "policy": "ghosts and lives"}


def test_the_settings_are_those_to_paste(small):
    """They make the tier that is described, whose remote is what the alias was; what nobody writes may stay longer."""
    text, _, _ = plan("--trace", small)
    shown = report("--trace", small)["recommended"]
    block = re.search(r"(?ms)^ {4}CACHES.*?^ {4}}$", text)[0]
    names = {"CACHES": {"default": REMOTE}}
    exec(re.sub(r"(?m)^ {4}", "", block), names)
    with override_settings(CACHES=names["CACHES"]):
        options = read_aliases()["default"]
        assert caches["default"].remote is caches["remote"]
    assert shown["LOCAL_TIMEOUTS"] == {"basket:": 0, "search:": 0, "sync:": 0, "views": 0, "menu": 60, "product:": 60}
    assert (options.local_timeout, options.max_entries) == (shown["LOCAL_TIMEOUT"], shown["MAX_ENTRIES"])
    assert shown["MAX_ENTRIES"] >= 1000, "never below the default: a trace shows few of a site's keys"
    assert dict(options.local_timeouts).items() >= shown["LOCAL_TIMEOUTS"].items()


def test_a_tier_that_is_there_gets_the_options(small):
    """Its own prefixes stay. The plan says that its local hits are missing from a trace of the server."""
    for alias in ("default", "remote"):
        tiered = {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": "remote"}
        tiered["OPTIONS"] = {"LOCAL_TIMEOUTS": {"login:": 0}}
        with override_settings(CACHES={"default": tiered, "remote": REMOTE}):
            text, _, _ = plan("--trace", small, "--alias", alias)
            block = re.search(r"(?ms)^ {4}CACHES.*^ {4}}\)$", text)[0]
        exec(re.sub(r"(?m)^ {4}", "", block), {"CACHES": {"default": tiered}})
        assert tiered["OPTIONS"]["LOCAL_TIMEOUTS"].items() >= {"login:": 0, "basket:": 0}.items()
        assert "LOCAL_TIMEOUT" in tiered["OPTIONS"]
        assert "CACHES['default'] is a TieredCache: MONITOR does not show its local hits." in text


def test_djangos_own_options_may_stand_behind_the_subcommand(small):
    """As behind any other command."""
    assert plan("--trace", small, "--settings", "tests.settings", "--traceback")[1:] == plan("--trace", small)[1:]


# --- how it is shown ---


def test_three_sentences_come_first(small):
    """Then what they are made from."""
    text, messages, code = plan("--trace", small)
    assert code == 0
    assert re.match(
        r"With LOCAL_TIMEOUT \d+ and MAX_ENTRIES \d+, [\d.]+% of the reads would be answered from .* own memory\.\n"
        r"The server would be sent [\d.]+ commands in [\d.]+ round trips a second, instead of [\d.]+ commands in .*\.\n"
        r"[\d.]+% of the reads would be stale: .* another process had replaced[^.]*(\.\d s earlier)?\.\n\n"
        r"From 1,080 events in 90 s, 11.0 reads a second by 2 processes, run through this package's own local tier",
        text,
    )
    assert "simulating setting 11 of 11" in messages
    assert "MONITOR" not in messages


@pytest.mark.parametrize(("operation", "expected"), [("set", True), ("get", False)])
def test_where_local_keys_are_written_the_middleware_is_named(operation, expected, tmp_path):
    """A share of nearly nothing may be the page that a visitor has just saved."""
    rows = [(number / 10, f"worker {number % 2}", "get", f"product:{number % 7}", 400) for number in range(300)]
    path = write(tmp_path / "trace.csv", [*rows, (20.05, "worker 2", operation, "product:3", 400)])
    assert ("ReadYourWritesMiddleware" in plan("--trace", path)[0]) == expected


class Fetched(HTMLParser):
    """What a page would fetch."""

    def __init__(self, text):
        super().__init__()
        self.found, self.tags = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.found += [value for name, value in attributes if name in {"src", "href", "srcset", "data"}]


def test_the_page_fetches_nothing_and_escapes_keys(tmp_path):
    """Pictures are inline; both schemes are in its style."""
    events = [(number, "a", "get", f"<script>{number % 3}", 1) for number in range(30)]
    path = tmp_path / "plan.html"
    assert plan("--trace", write(tmp_path / "keys.csv", events), "--html", path)[2] == 0
    text = path.read_text()
    page = Fetched(text)
    assert (page.found, "script" in page.tags, text.count("<figure>")) == ([], False, 4)
    assert not re.search(r"url\(|@import", text)
    assert "prefers-color-scheme: dark" in text
    assert "&lt;script&gt;" in text


def test_the_json_is_documented(small):
    """Every name, and no other."""

    def names(value, path=""):
        if isinstance(value, dict) and path not in {"recommended.LOCAL_TIMEOUTS", "*.stale_share_by_age"}:
            for name, each in value.items():
                yield from names(each, f"{path}.{name}".lstrip("."))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield from names(value[0], f"{path}[]")
        else:
            yield re.sub(r"^(recommended|(timeouts|entries)\[\](\.without_prefetch)?)\.(?=[a-z])", "*.", path)

    found = {re.sub(r"(stale_share_by_age).*", r"\1", name) for name in names(report("--trace", small))}
    text = PAGE.read_text().partition("## JSON")[2]
    assert set(re.findall(r"^- `([^`]+)`: ", text, re.MULTILINE)) == found


# --- what is wrong ---


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a,b\n", "does not begin with the line time,process,operation,key,bytes."),
        (",".join(HEADER) + "\n1,a,get,k,1\n2,a,fetch,k,1\n", "line 3, is not an event."),
        (",".join(HEADER) + "\nnan,a,get,k,1\n", "line 2, is not an event."),
        (",".join(HEADER) + "\n1,a,get,k\n", "line 2, is not an event."),
        (",".join(HEADER) + "\n1,a,set,k,1\n", "Nothing was read from this cache"),
    ],
)
def test_a_trace_that_is_not_valid_is_refused(tmp_path, text, problem):
    """With the line, and exit code 1."""
    (tmp_path / "wrong.csv").write_text(text)
    out, messages, code = plan("--trace", tmp_path / "wrong.csv")
    assert (out, code) == ("", 1)
    assert problem in messages


def test_files_that_cannot_be_read_or_written(tmp_path, small):
    """The system says why."""
    for arguments in (
        ["--trace", tmp_path],
        ["--trace", small, "--html", tmp_path],
        ["--trace", small, "--record", tmp_path],
    ):
        _, messages, code = plan(*arguments)
        assert code == 1
        assert "Is a directory." in messages


def test_an_alias_that_is_not_there_is_refused(small):
    """The aliases that are there are named; and there is one plan for one alias."""
    for arguments, problem in (
        (["--alias", "x"], "'x' is not an alias"),
        (["--alias", "x", "--alias", "y"], "name only one"),
    ):
        _, messages, code = plan("--trace", small, *arguments)
        assert code == 1
        assert problem in messages


@pytest.mark.parametrize(
    "arguments", [["--seconds", "0"], ["--seconds", "inf"], ["--processes", "0"], ["--processes", "1.5"]]
)
def test_what_is_no_number_above_zero_is_refused(arguments, capsys):
    """By the command line, in one line."""
    with pytest.raises(CommandError, match=f"argument {arguments[0]}: [^\n]{{5,40}}$"):
        call_command(Command(), "plan", *arguments)


def test_an_output_that_is_closed_ends_it(small):
    """With 141, and without a word: its reader has had enough."""
    program = (
        "import django; from django.conf import settings; from django.core.management import execute_from_command_line;"
        "settings.configure(INSTALLED_APPS=['tieredcache'], CACHES={'default': {'BACKEND':"
        " 'django.core.cache.backends.redis.RedisCache', 'LOCATION': 'redis://127.0.0.1:1'}});"
        f"execute_from_command_line(['manage.py', 'tieredcache', 'plan', '--trace', {str(small)!r}])"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 141
    assert messages.splitlines()[-1] == "simulating what is recommended ..."


def test_bytes_that_are_no_text_stay_what_they_are(tmp_path):
    """In a trace that is written, and on the way through JSON and HTML."""
    path = tmp_path / "bytes.csv"
    path.write_bytes(b'time,process,operation,key,bytes\r\n1.0,a,get,"\xff\n"":\x00",7\r\n2.0,a,get,x,\r\n')
    written, page = tmp_path / "again.csv", tmp_path / "page.html"
    assert json.loads(plan("--trace", path, "--record", written, "--html", page, "--json")[0])["events"] == 2
    assert written.read_bytes().replace(b"000000", b"0") == path.read_bytes()
    assert "\\udcff" in page.read_text()
