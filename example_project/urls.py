"""One page, by number."""

from django.urls import path

from example_project.geo.views import page

urlpatterns = [path("<int:number>/", page)]
