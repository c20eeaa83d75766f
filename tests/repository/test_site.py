"""The site that ``make docs`` makes: without warnings, without a network, and with everything in it."""

import ast
import inspect
import re
import subprocess
import sys
import zlib
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

import tieredcache
from tieredcache import backends
from tieredcache.backends.local import Local
from tieredcache.freshness import Demand
from tieredcache.lookups import LookupTable
from tieredcache.middleware import ReadYourWritesMiddleware
from tieredcache.plan import TraceRecorder, trace_middleware

pytestmark = [pytest.mark.slow, pytest.mark.source]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SITES_OWN = {"index", "changelog"}  # the front page itself, and what shows the file of that name
HANDLERS = {"cache", "caches"}  # not classes: they have what Django's have
PUBLIC = [
    *(getattr(tieredcache, name) for name in tieredcache.__all__ if name not in HANDLERS),
    *(getattr(backends, name) for name in backends.__all__),
    Local,
    LookupTable,
    ReadYourWritesMiddleware,
    TraceRecorder,
    trace_middleware,
]
# Attributes without an underscore that are not for users.
OURS = {
    *("key_prefix", "version", "key_func"),  # Django's names: those of the remote
    *(
        "derive",
        "derived",
        "early",
        "inflight",
        "local_key",
        "local_timeout",
        "mark",
        "note",
        "write",
        "refresh_early",
    ),  # what lookup tables are made on
    "sync_capable",  # read by Django
    "async_capable",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """What the options of the Makefile make."""
    folder = tmp_path_factory.mktemp("site")
    recipe = re.search(r"^docs:.*\n\t\$\(BIN\)/python (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert "-W" in recipe.split()
    command = recipe.replace("build/", f"{folder}/").split()
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "docs"


class Page(HTMLParser):
    """The links, what is fetched, and the places of one page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.fetched, self.places = [], [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if "id" in found:
            self.places.add(found["id"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        self.fetched += [found[name] for name in ("src", "srcset") if found.get(name)]
        if tag == "link" and "href" in found:
            self.fetched.append(found["href"])


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in site.rglob("*.html")}


def test_links_lead_to_pages_and_to_places_in_them(site, pages):
    """Those within the site, except for what a browser's script makes of a search."""
    checked = 0
    for path, page in pages.items():
        for link in page.links:
            target, _, place = unquote(link).partition("#")
            if re.match(r"\w+:", link) or path.name in {"search.html", "genindex.html"}:
                continue
            leads_to = (path.parent / target).resolve() if target else path
            assert leads_to.exists(), f"{path.name}: {link}"
            if place and leads_to in pages:
                assert place in pages[leads_to].places, f"{path.name}: {link}"
                checked += 1
    assert checked > 100


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md"])
def test_places_that_are_linked_from_outside_exist(name, pages):
    """Of pages of the site, in the files beside the folder."""
    by_name = {path.stem: page for path, page in pages.items() if "code" not in path.parts}
    for target, place in re.findall(r"\]\(docs/([\w/-]+)\.md#([\w-]+)\)", (ROOT / name).read_text()):
        assert place in by_name[Path(target).name].places, f"{target}#{place}"


def test_nothing_is_fetched_from_elsewhere(site, pages):
    """No font, script, style or picture: the site works without a network, and tells nobody who reads it."""
    for path, page in pages.items():
        assert [found for found in page.fetched if re.match(r"(\w+:)?//", found)] == [], path.name
    for style in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import)\s*['\"]?(?:\w+:)?//", style.read_text()) == [], style.name


def test_the_front_page_lists_every_page():
    """The navigation is made from that list."""
    listed = set(re.findall(r"^- \[[^\]]+\]\(([\w/-]+)\.md\)", (DOCS / "index.md").read_text(), re.MULTILINE))
    there = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    missing = sorted(there - SITES_OWN - listed)
    assert not missing, f"docs/index.md: a line for each of {missing}, under one of its headings"


def interface():
    """Each public name, and each attribute that one of our classes gives it."""
    for kind in PUBLIC:
        yield kind, None
        if not isinstance(kind, type):
            continue  # a function
        for name, attribute in inspect.getmembers_static(kind):
            owner = next(base for base in kind.__mro__ if name in vars(base))
            if owner is Demand:  # what fresh() has of it is the cache's to use
                continue
            if not name.startswith("_") and name not in OURS and owner.__module__.startswith("tieredcache"):
                yield kind, (name, attribute)


def test_the_reference_has_the_whole_public_interface(site):
    """By the index that the site offers to others."""
    packed = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    known = {line.split()[0].rpartition("tieredcache.")[2] for line in zlib.decompress(packed).decode().splitlines()}
    assert known >= HANDLERS
    for kind, attribute in interface():
        name = kind.__qualname__ if attribute is None else f"{kind.__qualname__}.{attribute[0]}"
        assert any(entry == name or entry.endswith(f".{name}") for entry in known), name


def test_docstrings_say_units_and_errors():
    """There is one each; a function that takes a time says that it is seconds, and each class what it raises."""
    for kind, attribute in interface():
        name, found = attribute or (kind.__name__, kind)
        if kind is tieredcache.Stats and attribute and not isinstance(found, property):
            continue  # a field: its text stands below it
        text = inspect.getdoc(getattr(kind, name) if attribute and not isinstance(found, property) else found)
        assert text, f"{kind.__name__}.{name}"
        twin = re.match(r"As ``(\w+)``", text)
        if twin:
            assert hasattr(kind, twin[1])
        elif inspect.isfunction(found) and "timeout" in inspect.signature(found).parameters:
            assert "second" in text, f"{kind.__name__}.{name}"
    for kind in (tieredcache.fresh, backends.TieredCache, backends.LRUCache, LookupTable, ReadYourWritesMiddleware):
        assert "seconds" in inspect.getdoc(kind)
        assert "Error" in inspect.getdoc(kind) or "ImproperlyConfigured" in inspect.getdoc(kind)


def test_the_design_maps_every_module(site, pages):
    """In a table, each with a link to its source and its first line; the plain page names every part."""
    words = " ".join(re.findall(r"\w+", unescape(re.sub(r"<[^>]+>", "", (site / "design.html").read_text()))))
    plain = (DOCS / "design.md").read_text()
    package = ROOT / "tieredcache"
    for path in package.rglob("*.py"):
        if path.stat().st_size:
            name = path.relative_to(ROOT)
            assert f"code/{name.with_suffix('').as_posix()}.html" in pages[site / "design.html"].links
            first = ast.get_docstring(ast.parse(path.read_text())).splitlines()[0]
            row = f"{name.relative_to('tieredcache').as_posix()} {first}"
            assert " ".join(re.findall(r"\w+", row)) in words, f"docs/design.md: {name} in the map"
            part = name.parts[1] + ("/" if name.parts[2:] else "")
            assert f"`{part}`" in plain or part == "__init__.py", f"docs/design.md: a line for {part} in the map"
