"""A backend that somebody has derived from a known one."""

from django_redis.cache import RedisCache


class Upper(RedisCache):
    def get(self, key, default=None, version=None, client=None):
        value = super().get(key, default, version, client)
        return value.upper() if isinstance(value, str) else value
