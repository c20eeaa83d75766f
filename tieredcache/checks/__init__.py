"""System checks: what is wrong or dangerous in ``CACHES`` and around it, found without a request or a connection."""

from tieredcache.checks.caches import check_caches
from tieredcache.checks.djangos import let_mistakes_be_told
from tieredcache.checks.kept import check_kept
from tieredcache.checks.middleware import check_middleware
from tieredcache.checks.pages import check_pages

__all__ = ["check_caches", "check_kept", "check_middleware", "check_pages", "let_mistakes_be_told"]
