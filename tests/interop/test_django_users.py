"""What Django itself keeps in the cache, over both backends: pages and fragments; and counters.

Another process is another alias over the same server: its tiers hear nothing of what this one writes.
"""

import pytest
from django.core.cache import caches
from django.core.cache.utils import make_template_fragment_key
from django.http import HttpResponse
from django.middleware.http import ConditionalGetMiddleware
from django.template import Context, Engine
from django.test import Client, RequestFactory, override_settings
from django.urls import path
from django.views.decorators.cache import cache_page
from django.views.decorators.vary import vary_on_cookie

from tests.support.caches import LRU, TIERED
from tests.support.trips import trips_of
from tests.support.visitors import SESSIONS, ask, signed_in

SITE = ["django.middleware.cache.UpdateCacheMiddleware", "django.middleware.cache.FetchFromCacheMiddleware"]
RYW = "tieredcache.middleware.ReadYourWritesMiddleware"


def note(request):
    """A view that writes in the other process, and reads in this one."""
    if request.method == "POST":
        caches["there"].clear()
        caches["there"].set("note", "new")
        return HttpResponse()
    return HttpResponse(caches["default"].get("note", "none"))


def mine(request):
    return HttpResponse(f"{request.user.username or 'nobody'} saw {caches['default'].get('note', 'nothing')}")


@vary_on_cookie
def varying(request):
    if request.method == "POST":
        caches["default"].set("written", 1)
        return HttpResponse()
    return HttpResponse(caches["default"].get("note", "none"))


urlpatterns = [path("note/", note), path("mine/", mine), path("varying/", varying)]


# --- pages ---


class Page:
    """A view that says how often it was called, in the format that was asked for."""

    def __init__(self, **headers):
        self.made = 0
        self.headers = headers

    def __call__(self, request):
        self.made += 1
        return HttpResponse(f"page {self.made} {request.headers.get('Accept', '')}".strip(), headers=self.headers)


def get(view, **headers):
    return view(RequestFactory().get("/page/", headers=headers))


def read(view, **headers):
    return get(view, **headers).content.decode()


def test_a_page_is_a_hit(here):
    """Once it has been read from the remote, two entries a page, it is served without it."""
    view = Page()
    cached = cache_page(600)(view)
    assert read(cached) == "page 1"
    assert trips_of(lambda: read(cached)) == ("page 1", 2)
    assert trips_of(lambda: read(cached)) == ("page 1", 0)
    assert view.made == 1


def test_a_page_is_kept_for_the_local_timeout(here, clock):
    """Cleared by another process, it is served for that long, and not longer; cleared by this one, it is gone."""
    cached = cache_page(600)(Page())
    read(cached)
    assert read(cached) == "page 1"
    caches["there"].clear()
    clock.move(4.9)
    assert read(cached) == "page 1"
    clock.move(0.1)
    assert read(cached) == "page 2"
    read(cached)
    here.clear()
    assert read(cached) == "page 3"


def test_a_page_does_not_outlive_its_timeout(configure, clock):
    """That of cache_page, where the local timeout is longer: the remote tells it."""
    cache = configure("django-redis", LOCAL_TIMEOUT=60)
    cached = cache_page(2)(Page())
    read(cached)
    assert read(cached) == "page 1"
    assert len(cache.local) == 2
    clock.move(2)
    cache.remote.clear()  # as its own clock does
    assert read(cached) == "page 2"


def test_a_page_per_header_that_it_varies_by(here):
    """Each reader is served their own, from memory."""
    cached = cache_page(600)(Page(Vary="Accept"))
    pages = {"text/html": "page 1 text/html", "text/plain": "page 2 text/plain"}
    for turn in range(3):
        for accepted, page in pages.items():
            found, made = trips_of(lambda accepted=accepted: read(cached, accept=accepted))
            assert found == page
        assert made == 0 or turn < 2


def test_views_do_not_share_pages(here):
    """With key prefixes of their own."""
    first, second = cache_page(600, key_prefix="a")(Page()), cache_page(600, key_prefix="b")(Page(Content="b"))
    for _ in range(3):
        assert "Content" not in get(first).headers
        assert get(second).headers["Content"] == "b"


def test_not_modified(here):
    """A page from the local tier answers a conditional request, and what it answers changes nothing for the next one."""
    view = Page()
    cached = ConditionalGetMiddleware(cache_page(600)(view))
    etag = get(cached).headers["ETag"]
    for _ in range(3):
        response = get(cached, if_none_match=etag)
        assert (response.status_code, response.content) == (304, b"")
        response = get(cached)
        assert (response.status_code, response.content) == (200, b"page 1")
    assert trips_of(lambda: get(cached, if_none_match=etag).status_code) == (304, 0)
    assert view.made == 1


@pytest.mark.parametrize(
    ("settings", "leaks"),
    [
        ({"BACKEND": TIERED, "LOCATION": "remote"}, False),
        ({"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": {"SHARE_VALUES": ["template.cache."]}}, False),
        ({"BACKEND": TIERED, "LOCATION": "remote", "OPTIONS": {"SHARE_VALUES": True}}, True),
        ({"BACKEND": LRU, "LOCATION": "pages"}, True),
    ],
    ids=["tiered", "sharing fragments", "sharing all", "lru"],
)
def test_who_may_change_a_page(settings, leaks):
    """Middleware does, after the page was stored: with shared values the next reader gets that too, a cookie say."""
    remote = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "pages"}
    with override_settings(CACHES={"default": settings, "remote": remote}):
        caches["default"].clear()
        cached = cache_page(600)(Page())
        for _ in range(3):
            get(cached).set_cookie("sessionid", "the first reader's")
        assert ("sessionid" in get(cached).cookies) is leaks
        caches["default"].clear()


# --- fragments ---

FRAGMENT = Engine(libraries={"cache": "django.templatetags.cache"}).from_string(
    "{% load cache %}{% cache 600 side reader using=alias %}{{ made }}{% endcache %}"
)


class Maker:
    def __init__(self):
        self.made = 0

    def __call__(self):
        self.made += 1
        return f"<b>{self.made}</b>"


def fragment(made, alias="default", reader="ann"):
    return FRAGMENT.render(Context({"made": made, "alias": alias, "reader": reader}))


def test_fragments(here, clock):
    """A hit once read; deleted by key, gone at once where it was deleted, after the local timeout elsewhere."""
    made = Maker()
    first = fragment(made)
    assert trips_of(lambda: fragment(made)) == (first, 1)
    assert trips_of(lambda: fragment(made)) == (first, 0)
    assert fragment(made, "there") == first, "from the remote"
    assert fragment(made, reader="bob") != first
    assert made.made == 2
    here.delete(make_template_fragment_key("side", ["ann"]))
    second = fragment(made)
    assert made.made == 3
    assert fragment(made, "there") == first
    clock.move(4.9)
    assert fragment(made, "there") == first
    clock.move(0.1)
    assert fragment(made, "there") == second
    assert made.made == 3


def test_fragments_over_an_lru_cache(make_lru):
    """Nobody can change a string: nothing to be careful about."""
    cache = make_lru()
    made = Maker()
    first = fragment(made)
    assert fragment(made) == first
    assert cache.stats().hits == 1
    cache.delete(make_template_fragment_key("side", ["ann"]))
    assert fragment(made) != first


# --- the site's pages ---


@pytest.mark.django_db
def test_the_sites_pages(here, clock, site):
    """Served from memory for the local timeout; those of readers who are signed in to nobody else."""
    site(MIDDLEWARE=[SITE[0], *SESSIONS, SITE[1]], SESSION_ENGINE="django.contrib.sessions.backends.db")
    ann, somebody = signed_in(), Client()
    here.set("note", "old")
    for _ in range(2):
        assert ask(ann, "/mine/") == "ann saw old"
        assert ask(somebody, "/mine/") == "nobody saw old"
    assert trips_of(lambda: ask(somebody, "/mine/")) == ("nobody saw old", 0)
    caches["there"].clear()
    caches["there"].set("note", "new")
    clock.move(4.9)
    assert ask(somebody, "/mine/") == "nobody saw old"
    clock.move(0.1)
    assert ask(somebody, "/mine/") == "nobody saw new"
    assert ask(ann, "/mine/") == "ann saw new"


def test_the_sites_pages_in_an_alias_of_their_own(here, site):
    """CACHE_MIDDLEWARE_ALIAS: what large pages push out is not what the rest of the site reads."""
    site(MIDDLEWARE=SITE, CACHE_MIDDLEWARE_ALIAS="there")
    here.set("note", "old")
    for _ in range(2):
        assert ask(Client(), "/note/") == "old"
    assert [len(here.local), len(caches["there"].local)] == [1, 2]


def test_pages_that_vary_by_cookie_vary_by_the_cookie_of_a_write(here, site):
    """A visitor who has written gets a page of their own for as long as it lives."""
    site(MIDDLEWARE=[RYW, *SITE])
    reader, other = Client(), Client()
    assert ask(reader, "/varying/") == "none"
    here.set("note", "old")
    assert ask(other, "/varying/") == "none"
    reader.post("/varying/")
    assert ask(reader, "/varying/") == "old"
    assert ask(other, "/varying/") == "none"


# --- counters ---


@pytest.mark.parametrize(("timeouts", "read"), [({}, 1), ({"tries:": 0}, 4)], ids=["kept", "named"])
def test_counters(configure, clock, mode, timeouts, read):
    """add and incr count over all processes; a plain get of the count is as old as any, unless the prefix is named."""
    here = mode(configure("django-redis", LOCAL_TIMEOUT=5, LOCAL_TIMEOUTS=timeouts))
    there = mode(caches["there"])
    assert here.add("tries:ann", 1, 60) is True
    assert there.add("tries:ann", 1, 60) is False
    assert there.get("tries:ann") == 1
    for count in (2, 3, 4):
        assert here.incr("tries:ann") == count
        assert here.get("tries:ann") == count
    assert there.get("tries:ann") == read
    clock.move(5)
    assert there.get("tries:ann") == 4
    assert there.incr("tries:ann") == 5


def test_a_limit_that_asks_before_it_counts(configure):
    """It lets one more through in each process that has kept a lower count; counting makes that forget it."""
    here, there = configure("django-redis", LOCAL_TIMEOUT=60), caches["there"]
    here.add("tries:bob", 1, 60)
    assert there.get("tries:bob") == 1
    here.incr("tries:bob")
    here.incr("tries:bob")
    assert here.get("tries:bob") == 3
    assert there.get("tries:bob") == 1, "below a limit of three: let through"
    there.incr("tries:bob")
    assert there.get("tries:bob") == 4


def test_a_lock_is_the_remotes(configure):
    """All processes know who holds it: by add, and by the client's own lock."""
    here, there = configure("django-redis", LOCAL_TIMEOUT=60), caches["there"]
    assert here.get("lock:report") is None
    assert there.add("lock:report", "there", 60)
    assert not here.add("lock:report", "here", 60)
    there.delete("lock:report")
    assert here.add("lock:report", "here", 60)
    with there.lock("import", timeout=60):
        assert not here.lock("import", timeout=60).acquire(blocking=False)
    assert here.lock("import", timeout=60).acquire(blocking=False)
