"""Connects what must happen when a row changes."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """The shop."""

    name = "example_project.shop"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """A changed row is forgotten by the cache."""
        from django.db.models.signals import post_delete, post_save

        from example_project.geo.models import Country, Currency, Subdivision
        from example_project.shop import cells
        from example_project.shop.models import Flag, Price

        for model in (Country, Currency, Subdivision, Price, Flag):
            for signal in (post_save, post_delete):
                signal.connect(cells.changed, sender=model)
