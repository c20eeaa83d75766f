"""The app: with ``"tieredcache"`` in ``INSTALLED_APPS``, ``manage.py check`` looks at the caches too."""

from django.apps import AppConfig
from django.core.checks import Tags, register


class TieredCacheConfig(AppConfig):
    """Registers the system checks."""

    name = "tieredcache"
    verbose_name = "Tiered cache"

    def ready(self) -> None:
        from tieredcache.checks import check_caches

        register(check_caches, Tags.caches)
