"""Sessions in the cache, over both backends: no process keeps one, and so each sees at once what another has done to it."""

import uuid

import pytest
from django.conf import settings
from django.contrib.auth import logout, update_session_auth_hash
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.cache import caches
from django.http import HttpResponse
from django.test import Client, RequestFactory, override_settings
from django.urls import path

from tests.support.doubles import RemoteDouble
from tests.support.trips import trips_of
from tests.support.visitors import SESSIONS, ask, signed_in, with_cookies

pytestmark = pytest.mark.django_db
ENGINES = ["cache", "cached_db"]


def who(request):
    return HttpResponse(request.user.username or "nobody")


def leave(request):
    logout(request)
    return HttpResponse()


def change_password(request):
    request.user.set_password("new")
    request.user.save()
    update_session_auth_hash(request, request.user)
    return HttpResponse()


urlpatterns = [path("who/", who), path("leave/", leave), path("password/", change_password)]


@pytest.fixture(params=ENGINES)
def engine(request, site):
    site(MIDDLEWARE=SESSIONS, SESSION_ENGINE=f"django.contrib.sessions.backends.{request.param}")
    return request.param


@pytest.mark.parametrize("kind", ["django-redis", "django"])
@pytest.mark.parametrize(
    ("timeouts", "afterwards"),
    [
        ({}, "nobody"),
        # As it would be without the built-in prefixes: a site that names them gets what it asked for.
        ({"django.contrib.sessions.cache": 60, "django.contrib.sessions.cached_db": 60}, "ann"),
    ],
    ids=["built in", "kept"],
)
def test_a_logout_is_seen_everywhere(engine, configure, kind, timeouts, afterwards):
    """At once, because no process keeps a session; where one does, the cookie goes on working there."""
    configure(kind, LOCAL_TIMEOUT=60, LOCAL_TIMEOUTS=timeouts)
    client = signed_in()
    cookies = client.cookies.copy()  # as somebody has them who goes on using them
    for turn in range(3):
        for process in ("default", "there"):
            page, made = trips_of(lambda process=process: ask(with_cookies(cookies), "/who/", process))
            assert page == "ann"
            if turn:  # the first opens the connection
                assert made == (0 if timeouts else 1)
    ask(client, "/leave/")
    assert ask(with_cookies(cookies), "/who/", "default") == "nobody"
    assert ask(with_cookies(cookies), "/who/", "there") == afterwards
    assert [len(caches[process].local) for process in ("default", "there")] == [0, 1 if timeouts else 0]


def test_a_flushed_session_is_gone_everywhere(engine, here):
    """What was in it, too."""
    with override_settings(SESSION_CACHE_ALIAS="default"):
        session = Client().session
        session["basket"] = ["tea"]
        session.save()
        key = session.session_key
    with override_settings(SESSION_CACHE_ALIAS="there"):
        assert dict(type(session)(key).items()) == {"basket": ["tea"]}
    session.flush()
    with override_settings(SESSION_CACHE_ALIAS="there"):
        assert not dict(type(session)(key).items())


def test_a_new_password_signs_out_the_others(engine, here):
    """The device that changed it stays signed in, on every process; the others are not, on any."""
    first, second = signed_in(), signed_in("there")
    assert [ask(device, "/who/", process) for device in (first, second) for process in ("default", "there")] == ["ann"] * 4
    ask(first, "/password/")
    assert [ask(first, "/who/", process) for process in ("default", "there")] == ["ann", "ann"]
    cookies = second.cookies.copy()
    assert [ask(with_cookies(cookies), "/who/", process) for process in ("there", "default")] == ["nobody"] * 2


def test_sessions_over_an_lru_cache_share_what_was_not_saved(engine, make_lru, site):
    """Values are kept by reference: the page on sessions says not to. LocMemCache, which pickles, does not."""
    make_lru()
    session = Client().session
    session["basket"] = ["tea"]
    session.save()
    same = type(session)(session.session_key)
    same["basket"].append("not saved")
    assert type(session)(session.session_key)["basket"] == ["tea", "not saved"]


def test_processes_that_change_one_session_in_turn_lose_nothing(engine, here):
    """Each sees what the other has saved."""
    with override_settings(SESSION_CACHE_ALIAS="default"):
        session = Client().session
        session.save()
    for turn in range(6):
        with override_settings(SESSION_CACHE_ALIAS="there" if turn % 2 else "default"):
            same = type(session)(session.session_key)
            same["seen"] = [*same.get("seen", []), turn]
            same.save()
    assert type(session)(session.session_key)["seen"] == list(range(6))


@pytest.mark.parametrize(
    ("engine", "errors", "kept"), [("cache", "ignore", 0), ("cache", "raise", 0), ("cached_db", "ignore", 1)]
)
def test_a_login_in_an_outage(make_cache, monkeypatch, engine, errors, kept):
    """Django's middleware deletes the cookie of a session that cannot be read; with cached_db it can, from the database."""
    double = {"BACKEND": "tests.support.doubles.RemoteDouble", "LOCATION": uuid.uuid4().hex}
    make_cache(double, REMOTE_ERRORS=errors)
    with override_settings(SESSION_CACHE_ALIAS="default", SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}"):
        session = Client().session
        session["user"] = "ann"
        session.save()
        monkeypatch.setattr(RemoteDouble, "broken_reads", ConnectionError("refused"))
        monkeypatch.setattr(RemoteDouble, "broken", ConnectionError("refused"))
        request = RequestFactory().get("/")
        request.COOKIES[settings.SESSION_COOKIE_NAME] = session.session_key
        response = SessionMiddleware(lambda request: HttpResponse(request.session.get("user", "nobody")))(request)
        assert response.content == (b"ann" if kept else b"nobody")
        deleted = [cookie for cookie in response.cookies.values() if cookie["max-age"] == 0]
        assert len(deleted) == 1 - kept
