"""Counts the round trips of a Redis client."""

import redis


class CountingConnection(redis.Connection):
    trips = 0

    def send_packed_command(self, command, check_health=True):
        type(self).trips += 1
        return super().send_packed_command(command, check_health)


def counting(kind, url):
    if kind == "django-redis":
        options = {"CONNECTION_POOL_KWARGS": {"connection_class": CountingConnection}}
        # A URL of its own: django-redis has one pool for each, and another test's has other connections.
        location = f"{url}/10?socket_timeout=30"
        return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": location, "OPTIONS": options}
    options = {"connection_class": CountingConnection}
    return {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": f"{url}/11", "OPTIONS": options}


def trips_of(operation):
    """What ``operation`` returned, and how often it went to the server."""
    CountingConnection.trips = 0
    return operation(), CountingConnection.trips
