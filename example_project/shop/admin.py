"""Rows to change, and see change."""

from django.contrib import admin

from example_project.geo.models import Country, Currency, Subdivision
from example_project.shop.models import Flag, Price


@admin.register(Country, Currency, Subdivision)
class PlaceAdmin(admin.ModelAdmin):
    """By code and name."""

    list_display = ("code", "name")
    search_fields = ("code", "name")


@admin.register(Price)
class PriceAdmin(admin.ModelAdmin):
    """By place."""

    list_display = ("subdivision", "amount", "currency")
    list_select_related = ("subdivision", "currency")
    search_fields = ("subdivision__code", "subdivision__name")
    autocomplete_fields = ("subdivision", "currency")


@admin.register(Flag)
class FlagAdmin(admin.ModelAdmin):
    """Switched in the list."""

    list_display = ("name", "on", "meaning")
    list_editable = ("on",)
