"""What packages keep in Django's cache that must not be stale: a table of key prefixes, never kept locally by default.

All of them read a key, decide, and then set or delete it. A stale copy loses an update, lets too many requests through, or
lets a one-time code be used again. What only ``add`` and ``incr`` touch is not here, because the remote answers these.

``source`` is where the prefix was read: the file, and the line in the version that is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Excluded:
    """Keys that begin with ``prefix``. ``app``: what is in ``INSTALLED_APPS`` where they are used.

    ``alias_setting`` names the setting that chooses the cache alias, ``prefix_setting`` the one that changes the prefix;
    ``""``: there is none, and the alias is ``"default"``.
    """

    prefix: str
    app: str
    package: str
    source: str
    reason: str
    alias_setting: str = ""
    prefix_setting: str = ""


_SESSIONS: Final = "a stale session is saved back, and what another process has saved since is lost"
_COUNTS: Final = "a stale count lets too many requests through"
_CODES: Final = "a stale copy lets a one-time code be used again"
_RESULTS: Final = "a stale state makes a caller wait for a task that has ended"
_OFFSETS: Final = "a stale offset makes a client send a part of its upload twice"

EXCLUDED: Final = (
    Excluded(
        "django.contrib.sessions.cache",
        "django.contrib.sessions",
        "Django 6.1.3",
        "django/contrib/sessions/backends/cache.py:5",
        _SESSIONS,
        "SESSION_CACHE_ALIAS",
    ),
    Excluded(
        "django.contrib.sessions.cached_db",
        "django.contrib.sessions",
        "Django 6.1.3",
        "django/contrib/sessions/backends/cached_db.py:11",
        _SESSIONS,
        "SESSION_CACHE_ALIAS",
    ),
    Excluded("throttle_", "rest_framework", "djangorestframework 3.18.3", "rest_framework/throttling.py:64", _COUNTS),
    Excluded("throttle_", "ninja", "django-ninja 1.7.1", "ninja/throttling.py:67", _COUNTS),
    Excluded("throttle_", "ninja_extra", "django-ninja-extra 0.31.7", "ninja_extra/throttling/model.py:27", _COUNTS),
    Excluded(
        "rl:",
        "django_ratelimit",
        "django-ratelimit 4.1.0",
        "django_ratelimit/core.py:142",
        _COUNTS,
        "RATELIMIT_USE_CACHE",
        "RATELIMIT_CACHE_PREFIX",
    ),
    Excluded("allauth:rl:", "allauth", "django-allauth 65.21.1", "allauth/core/internal/ratelimit.py:180", _COUNTS),
    Excluded(
        "allauth.idp.oidc.authorization_code[",
        "allauth.idp.oidc",
        "django-allauth 65.21.1",
        "allauth/idp/oidc/internal/oauthlib/authorization_codes.py:17",
        _CODES,
    ),
    Excluded(
        "allauth.idp.oidc.device_code[",
        "allauth.idp.oidc",
        "django-allauth 65.21.1",
        "allauth/idp/oidc/internal/oauthlib/device_codes.py:36",
        _CODES,
    ),
    Excluded(
        "allauth.idp.oidc.user_code[",
        "allauth.idp.oidc",
        "django-allauth 65.21.1",
        "allauth/idp/oidc/internal/oauthlib/device_codes.py:32",
        _CODES,
    ),
    Excluded("axes-", "axes", "django-axes 8.3.1", "axes/helpers.py:314", _COUNTS, "AXES_CACHE"),
    Excluded("rest_captcha_", "rest_captcha", "django-rest-captcha 0.3.0", "rest_captcha/settings.py:14", _CODES),
    Excluded(
        "celery-task-meta-",
        "django_celery_results",
        "django-celery-results 2.6.0, celery 5.7.0",
        "celery/backends/base.py:1175",
        _RESULTS,
    ),
    Excluded(
        "celery-taskset-meta-",
        "django_celery_results",
        "django-celery-results 2.6.0, celery 5.7.0",
        "celery/backends/base.py:1176",
        _RESULTS,
    ),
    Excluded("tus-uploads/", "django_tus", "django-tus 0.5.0", "django_tus/tusfile.py:62", _OFFSETS),
)

EXCLUDED_PREFIXES: Final = {each.prefix: 0.0 for each in EXCLUDED}
"""The built-in ``LOCAL_TIMEOUTS``."""
