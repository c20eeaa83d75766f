"""Visitors of a site in two processes, ``"default"`` and ``"there"``."""

from django.contrib.auth import get_user_model
from django.test import Client, override_settings

SESSIONS = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]


def ask(client, url, process="default", method="get"):
    """The page that the client is given by a process."""
    with override_settings(SESSION_CACHE_ALIAS=process):
        return getattr(client, method)(url).content.decode()


def signed_in(process="default"):
    client = Client()
    user, _ = get_user_model().objects.get_or_create(username="ann")
    with override_settings(SESSION_CACHE_ALIAS=process):
        client.force_login(user)
    return client


def with_cookies(cookies):
    client = Client()
    client.cookies = cookies.copy()
    return client
