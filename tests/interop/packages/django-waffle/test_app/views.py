"""The views that the tests ask, with their addresses."""

import waffle
from django.http import HttpResponse
from django.urls import include, path


def flag_in_view(request, **options):
    return HttpResponse("on" if waffle.flag_is_active(request, "myflag", **options) else "off")


def flag_in_view_readonly(request):
    return flag_in_view(request, read_only=True)


urlpatterns = [path("", include("waffle.urls")), path("flag_in_view", flag_in_view)]
