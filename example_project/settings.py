"""Settings of the demo. What differs from run to run comes from the environment, set by the demo."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).parent
SECRET_KEY = "the demo has no secrets"  # noqa: S105
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "example_project.urls"
INSTALLED_APPS = ["example_project.geo"]
MIDDLEWARE: list[str] = []
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [BASE_DIR / "templates"]}]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DEMO_DATABASE", BASE_DIR / "demo.sqlite3"),
        "CONN_MAX_AGE": None,
    }
}
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHES = {
    "default": {
        "BACKEND": "tieredcache.backends.TieredCache",
        "LOCATION": "remote",
        "OPTIONS": {"LOCAL_TIMEOUT": 5, "MAX_ENTRIES": 5000},
    },
    "remote": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/1"),
        "TIMEOUT": 3600,
        "KEY_PREFIX": "tieredcache-demo",
        "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 1, "SOCKET_TIMEOUT": 1},
    },
}

# Where the page looks its rows up: "database", "remote" or "tiered".
DEMO_MODE = os.environ.get("DEMO_MODE", "tiered")
