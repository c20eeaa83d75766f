from django.urls import path

from catalogue import views

urlpatterns = [
    path("prices/", views.prices),
    path("prices/<sku>/", views.price),
    path("products/<sku>/", views.product),
    path("sheets/<sku>/", views.sheet),
    path("async/<sku>/", views.aprice),
    path("basket/", views.basket),
    path("basket/<item>/", views.basket),
    path("visits/<page>/", views.visits),
    path("may/<user>/", views.may),
    path("orders/<number>/", views.order),
    path("raw/<key>/", views.raw),
    path("local/clear/", views.clear_local),
    path("mutate/<key>/", views.mutate),
    path("ask/<method>/", views.ask),
]
