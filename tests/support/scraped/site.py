import os

SECRET_KEY = "of no value"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.support.scraped.urls"
MIDDLEWARE = []
INSTALLED_APPS = ["tests.support.scraped.apps.ScrapedConfig"]
CACHES = {
    "default": {
        "BACKEND": "tieredcache.backends.TieredCache",
        "LOCATION": "remote",
        "OPTIONS": {"LOCAL_TIMEOUT": 600, "MAX_ENTRIES": 5000},
    },
    "remote": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": os.environ.get("REDIS_URL", "")},
    "local": {"BACKEND": "tieredcache.backends.LRUCache", "LOCATION": "scraped", "OPTIONS": {"MAX_ENTRIES": 100}},
}
