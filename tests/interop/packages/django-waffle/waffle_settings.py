"""The settings of django-waffle's tests, which its source distribution lacks."""

SECRET_KEY = "of no value"
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3"},
    "readonly": {"ENGINE": "django.db.backends.sqlite3"},  # a replica that lags behind
}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "waffle",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "waffle.middleware.WaffleMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
ROOT_URLCONF = "test_app.views"
USE_TZ = True
