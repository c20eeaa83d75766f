"""System checks: what is wrong or dangerous in ``CACHES`` and around it, found without a request or a connection."""

from tieredcache.checks.caches import check_caches
from tieredcache.checks.excluded import check_excluded
from tieredcache.checks.middleware import check_middleware, check_pages

__all__ = ["check_caches", "check_excluded", "check_middleware", "check_pages"]
