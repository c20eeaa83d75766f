import os

from django.core.cache import cache
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import path


def post(request, key, value):
    if request.method == "POST":
        cache.set(key, value)
    return HttpResponseRedirect(f"/see/{key}/")


def see(request, key):
    return HttpResponse(f"{cache.get(key)} {os.getpid()} {cache.stats().remote_hits}")


def turn(request, key, value):
    cache.set(key, value)
    return see(request, key)


async def apost(request, key, value):
    if request.method == "POST":
        await cache.aset(key, value)
    return HttpResponseRedirect(f"/asee/{key}/")


async def asee(request, key):
    return HttpResponse(f"{await cache.aget(key)} {os.getpid()} {cache.stats().remote_hits}")


urlpatterns = [
    path("post/<key>/<int:value>/", post),
    path("see/<key>/", see),
    path("turn/<key>/<int:value>/", turn),
    path("apost/<key>/<int:value>/", apost),
    path("asee/<key>/", asee),
]
