import os
from pathlib import Path

SECRET_KEY = "of no value"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "catalogue.urls"
INSTALLED_APPS = [
    "django.contrib.sessions",
    "catalogue",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(__file__).parent / "db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SESSION_ENGINE = "django.contrib.sessions.backends.cache"
USE_TZ = True
WORKER = os.environ.get("WORKER", "")
CACHES = {}
