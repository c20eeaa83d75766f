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


_REASONS: Final = {
    "sessions": "a stale session is saved back, and what another process has saved since is lost",
    "counts": "a stale count lets too many requests through",
    "codes": "a stale copy lets a one-time code be used again",
    "results": "a stale state makes a caller wait for a task that has ended",
    "offsets": "a stale offset makes a client send a part of its upload twice",
}
# The fields of Excluded, in their order; the reason by its name above.
_TABLE: Final = """
django.contrib.sessions.cache | django.contrib.sessions | Django 6.1.3 | django/contrib/sessions/backends/cache.py:5 | sessions | SESSION_CACHE_ALIAS
django.contrib.sessions.cached_db | django.contrib.sessions | Django 6.1.3 | django/contrib/sessions/backends/cached_db.py:11 | sessions | SESSION_CACHE_ALIAS
throttle_ | rest_framework | djangorestframework 3.18.3 | rest_framework/throttling.py:64 | counts
throttle_ | ninja | django-ninja 1.7.1 | ninja/throttling.py:67 | counts
throttle_ | ninja_extra | django-ninja-extra 0.31.7 | ninja_extra/throttling/model.py:27 | counts
rl: | django_ratelimit | django-ratelimit 4.1.0 | django_ratelimit/core.py:142 | counts | RATELIMIT_USE_CACHE | RATELIMIT_CACHE_PREFIX
allauth:rl: | allauth | django-allauth 65.21.1 | allauth/core/internal/ratelimit.py:180 | counts
allauth.idp.oidc.authorization_code[ | allauth.idp.oidc | django-allauth 65.21.1 | allauth/idp/oidc/internal/oauthlib/authorization_codes.py:17 | codes
allauth.idp.oidc.device_code[ | allauth.idp.oidc | django-allauth 65.21.1 | allauth/idp/oidc/internal/oauthlib/device_codes.py:36 | codes
allauth.idp.oidc.user_code[ | allauth.idp.oidc | django-allauth 65.21.1 | allauth/idp/oidc/internal/oauthlib/device_codes.py:32 | codes
axes- | axes | django-axes 8.3.1 | axes/helpers.py:314 | counts | AXES_CACHE
rest_captcha_ | rest_captcha | django-rest-captcha 0.3.0 | rest_captcha/settings.py:14 | codes
celery-task-meta- | django_celery_results | django-celery-results 2.6.0, celery 5.7.0 | celery/backends/base.py:1175 | results
celery-taskset-meta- | django_celery_results | django-celery-results 2.6.0, celery 5.7.0 | celery/backends/base.py:1176 | results
tus-uploads/ | django_tus | django-tus 0.5.0 | django_tus/tusfile.py:62 | offsets
"""  # noqa: E501 - a table


def _row(line: str) -> Excluded:
    prefix, app, package, source, reason, *rest = line.split(" | ")
    return Excluded(prefix, app, package, source, _REASONS[reason], *rest)


EXCLUDED: Final = tuple(map(_row, _TABLE.strip().splitlines()))

EXCLUDED_PREFIXES: Final = {each.prefix: 0.0 for each in EXCLUDED}
"""The built-in ``LOCAL_TIMEOUTS``."""
