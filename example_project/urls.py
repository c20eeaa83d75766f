"""The shop, the page that shows the tiers, and Django's admin."""

from django.contrib import admin
from django.urls import path

from example_project.shop import views
from example_project.tiers import views as tiers

urlpatterns = [
    path("", views.prices, name="prices"),
    path("<int:number>/", views.prices, name="prices"),
    path("basket/", views.basket, name="basket"),
    path("basket/add/<str:code>/", views.add, name="add"),
    path("basket/remove/<str:code>/", views.remove, name="remove"),
    path("tiers/", tiers.page, name="tiers"),
    path("tiers/data", tiers.data, name="data"),
    path("tiers/change", tiers.change, name="change"),
    path("tiers/prefetch", tiers.prefetch, name="prefetch"),
    path("tiers/mine", tiers.mine, name="mine"),
    path("tiers/outage", tiers.outage, name="outage"),
    path("tiers/plotly.js", tiers.charts, name="charts"),
    path("admin/", admin.site.urls),
]
