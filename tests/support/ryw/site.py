import os

SECRET_KEY = "of no value"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.support.ryw.urls"
MIDDLEWARE = ["tieredcache.middleware.ReadYourWritesMiddleware"] if os.environ.get("RYW") == "1" else []
INSTALLED_APPS = []
CACHES = {
    "default": {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": "remote", "OPTIONS": {"LOCAL_TIMEOUT": 30}},
    "remote": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": os.environ.get("REDIS_URL", "")},
}
