"""The task of a Celery worker, whose parent has read a key before it forked."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.support.ryw.site")

from celery import Celery
from django.core.cache import cache

app = Celery(broker=os.environ["BROKER"], backend=os.environ["BROKER"])
if os.environ.get("PRELOAD") == "1":
    cache.set("preloaded", 1)
    cache.get("preloaded")


@app.task
def turn(key, value):
    """What a task reads of its own write, what it reads of what the parent had read, and its process."""
    before = cache.get(key)
    cache.set(key, value)
    return before, cache.get(key), cache.get("preloaded"), os.getpid()
