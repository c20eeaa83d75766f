import os

from django.core.cache import cache, caches
from django.http import HttpResponse
from django.urls import path
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector


def work(request, key):
    assert cache.get(key) is None  # a miss
    cache.set(key, 1)
    assert cache.get(key) == 1  # from the remote
    for _ in range(3):
        cache.get(key)
    caches["local"].get("nothing")
    return HttpResponse(str(os.getpid()))


async def awork(request, key):
    assert await cache.aget(key) is None
    await cache.aset(key, 1)
    assert await cache.aget(key) == 1
    for _ in range(3):
        await cache.aget(key)
    await caches["local"].aget("nothing")
    return HttpResponse(str(os.getpid()))


def scrape(request):
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


urlpatterns = [path("work/<key>/", work), path("awork/<key>/", awork), path("metrics/", scrape)]
