"""Sessions through the default alias: never in the local tier, and nothing lost between workers."""

import importlib
import multiprocessing
import uuid

import pytest
from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.cache import caches
from django.core.management import call_command
from django.http import HttpResponse
from django.test import RequestFactory, override_settings

from tests.support.doubles import RemoteDouble

ENGINES = ["cache", "cached_db"]


def store(engine, key=None):
    module = importlib.import_module(f"django.contrib.sessions.backends.{engine}")
    return module.SessionStore(key)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["locmem", "django-redis", "django"])
@pytest.mark.django_db
def test_no_session_is_kept_locally(make_cache, engine, kind, mode):
    """Neither by reading, nor by writing, nor by asking whether it exists."""
    cache = make_cache(kind, LOCAL_TIMEOUT=60, MISS_TIMEOUT=60)
    with override_settings(SESSION_CACHE_ALIAS="default", SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}"):
        session = store(engine)
        session["a"] = 1
        session.save()
        for _ in range(3):
            again = store(engine, session.session_key)
            assert again["a"] == 1
            assert again.exists(session.session_key)
        assert not store(engine, "no-such-key-at-all-01234567890123").exists("no-such-key-at-all-01234567890123")
        raw = session.cache_key_prefix + session.session_key
        assert mode(cache).get(raw) == {"a": 1}
        assert mode(cache).get_many([raw]) == {raw: {"a": 1}}
    assert len(cache.local) == 0
    assert not cache._tier.index


@pytest.mark.parametrize(
    ("engine", "errors", "kept"), [("cache", "ignore", 0), ("cache", "raise", 0), ("cached_db", "ignore", 1)]
)
@pytest.mark.django_db
def test_a_login_in_an_outage(make_cache, monkeypatch, engine, errors, kept):
    """Django's middleware deletes the cookie of a session that cannot be read; with cached_db it can, from the database."""
    double = {"BACKEND": "tests.support.doubles.RemoteDouble", "LOCATION": uuid.uuid4().hex}
    make_cache(double, REMOTE_ERRORS=errors)
    with override_settings(SESSION_CACHE_ALIAS="default", SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}"):
        session = store(engine)
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


def _worker(engine, database, url, session_key, name, turns, mine, other):
    """Appends to the session whenever it is its turn."""
    _configure(database, url)
    for turn in range(turns):
        assert mine.wait(30)
        mine.clear()
        session = store(engine, session_key)
        session["seen"] = [*session.get("seen", []), f"{name}{turn}"]
        session.save()
        other.set()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_two_workers_updating_one_session_lose_nothing(engine, valkey_url, tmp_path):
    """Two processes take turns; each must see what the other has saved."""
    database = str(tmp_path / "sessions.sqlite3")
    context = multiprocessing.get_context("spawn")
    first, second = context.Event(), context.Event()
    remote = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": valkey_url + "/12"}
    tiered = {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": "remote", "OPTIONS": {"LOCAL_TIMEOUT": 60}}
    keeper = tmp_path / "key"
    setup = context.Process(target=_migrate, args=[database])
    setup.start()
    setup.join(60)
    assert setup.exitcode == 0
    created = context.Process(target=_create, args=[engine, database, valkey_url, keeper])
    created.start()
    created.join(60)
    assert created.exitcode == 0
    key = keeper.read_text()
    workers = [
        context.Process(target=_worker, args=[engine, database, valkey_url, key, name, 10, mine, other])
        for name, mine, other in [("a", first, second), ("b", second, first)]
    ]
    for worker in workers:
        worker.start()
    first.set()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    with override_settings(CACHES={"default": tiered, "remote": remote}):
        stored = caches["default"].get(f"django.contrib.sessions.{engine}{key}")
        caches.close_all()
    assert stored["seen"] == [f"{name}{turn}" for turn in range(10) for name in "ab"]


def _configure(database, url):
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="of no value",
        SESSION_CACHE_ALIAS="default",
        INSTALLED_APPS=["django.contrib.sessions"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database, "OPTIONS": {"timeout": 30}}},
        CACHES={
            "default": {
                "BACKEND": "tieredcache.backends.TieredCache",
                "LOCATION": "remote",
                "OPTIONS": {"LOCAL_TIMEOUT": 60},
            },
            "remote": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url + "/12"},
        },
    )
    django.setup()


def _migrate(database):
    _configure(database, "redis://unused")
    call_command("migrate", verbosity=0)


def _create(engine, database, url, keeper):
    _configure(database, url)
    session = store(engine)
    session["seen"] = []
    session.save()
    keeper.write_text(session.session_key)
    caches.close_all()
