"""Settings of the test project; what a test needs of CACHES it sets itself."""

from tests.support.sources import add_django_tests_to_path

SECRET_KEY = "of no value"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
CACHES = {
    "default": {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": "remote"},
    "remote": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
USE_TZ = True
ROOT_URLCONF = "tests.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Django's own cache tests bring an app with a model.
if add_django_tests_to_path():
    INSTALLED_APPS.append("cache")
