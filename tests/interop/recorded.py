"""Views that read and write through a tiered cache, and the toolbar's own addresses."""

from django.core.cache import cache
from django.http import HttpResponse
from django.urls import include, path


def work(request):
    cache.get("a")
    cache.set("a", 1)
    for _ in range(2):
        cache.get("a")
    cache.get_many(["a", "b"])
    cache.get_or_set("c", "made", 60)
    return HttpResponse("<body></body>")


async def awork(request):
    await cache.aget("a")
    await cache.aset("a", 1)
    for _ in range(2):
        await cache.aget("a")
    await cache.aget_many(["a", "b"])
    await cache.aget_or_set("c", "made", 60)
    return HttpResponse("<body></body>")


urlpatterns = [path("calls/", work), path("acalls/", awork), path("toolbar/", include("debug_toolbar.urls"))]
