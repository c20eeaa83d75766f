"""The app: with ``"tieredcache"`` in ``INSTALLED_APPS``, ``manage.py check`` looks at the caches too."""

from django.apps import AppConfig
from django.core.checks import Tags, register


class TieredCacheConfig(AppConfig):
    """Registers the system checks."""

    name = "tieredcache"
    verbose_name: str = "Tiered cache"

    def ready(self) -> None:
        from tieredcache import checks

        for check in (checks.check_caches, checks.check_excluded, checks.check_middleware, checks.check_pages):
            register(check, Tags.caches, "tieredcache")  # the tag is for ``manage.py check --tag tieredcache``
