"""Settings of the shop. What differs from run to run comes from the environment, set by what starts it."""

import os
from pathlib import Path
from typing import Any

from redis.backoff import NoBackoff
from redis.retry import Retry

BASE_DIR = Path(__file__).parent
SECRET_KEY = "the demo has no secrets"  # noqa: S105
DEBUG = False
ALLOWED_HOSTS = os.environ.get("DEMO_HOSTS", "127.0.0.1,localhost").split(",")
ROOT_URLCONF = "example_project.urls"
INSTALLED_APPS = [
    "example_project.geo",
    "example_project.shop",
    "example_project.tiers",
    "tieredcache",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "example_project.tiers.views.CountPages",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "tieredcache.middleware.ReadYourWritesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DEMO_DATABASE", BASE_DIR / "demo.sqlite3"),
        "CONN_MAX_AGE": None,
    }
}
USE_TZ = True
TIME_ZONE = "UTC"  # as the servers log: Django sets that of the whole process
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Behind a proxy that takes it off, links stay under it.
FORCE_SCRIPT_NAME = os.environ.get("DEMO_PREFIX")
STATIC_URL = f"{FORCE_SCRIPT_NAME or ''}/static/"
WHITENOISE_USE_FINDERS = True  # straight from the packages: nothing has to be collected

# What the price list reads: "database", "remote" or "tiered".
DEMO_MODE = os.environ.get("DEMO_MODE", "tiered")
# Whether names of countries and currencies come from lookup tables there, and not from a key each as in the other modes.
DEMO_TABLES = os.environ.get("DEMO_TABLES", "1") == "1"

TIERED: dict[str, Any] = {
    "BACKEND": "tieredcache.backends.TieredCache",
    "LOCATION": "remote",
    "OPTIONS": {
        "LOCAL_TIMEOUT": 5,
        "LOCAL_TIMEOUTS": {"flag.": 1},
        "MAX_ENTRIES": 15_000,
        "STALE_IF_ERROR": 3600,
        "REMOTE_ERRORS": "ignore",
        "PREFETCH": int(os.environ.get("DEMO_PREFETCH", "100")),
    },
}
CACHES = {
    "default": TIERED,
    "no-prefetch": {**TIERED, "OPTIONS": {**TIERED["OPTIONS"], "PREFETCH": 0}},  # what the switch at /tiers/ changes to
    "remote": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/1"),
        "TIMEOUT": 3600,
        "KEY_PREFIX": "tieredcache-demo",
        "OPTIONS": {
            "SOCKET_CONNECT_TIMEOUT": 0.25,
            # Where there is nothing to fall back on, a page waits for a busy server.
            "SOCKET_TIMEOUT": 0.25 if DEMO_MODE == "tiered" else 5,
            # One attempt: by default redis-py makes several, with pauses of seconds.
            "CONNECTION_POOL_KWARGS": {"retry": Retry(NoBackoff(), 0)},
        },
    },
    "reports": {  # of the workers about themselves: never kept locally, and nothing breaks where one cannot be stored
        "BACKEND": "tieredcache.backends.TieredCache",
        "LOCATION": "remote",
        "OPTIONS": {"LOCAL_TIMEOUT": 0, "REMOTE_ERRORS": "ignore"},
    },
    "local": {
        "BACKEND": "tieredcache.backends.LRUCache",
        "LOCATION": "local",
        "TIMEOUT": 60,
        "OPTIONS": {"MAX_ENTRIES": 100},
    },
}

# In the remote tier: the local one never keeps sessions.
SESSION_ENGINE = "django.contrib.sessions.backends.cache"
