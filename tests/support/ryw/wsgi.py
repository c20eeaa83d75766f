import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.support.ryw.site")

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

if os.environ.get("PRELOAD") == "1":  # as a site does that warms its cache before it forks
    from django.core.cache import cache

    cache.set("preloaded", 1)
    cache.get("preloaded")
