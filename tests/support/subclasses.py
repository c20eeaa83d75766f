"""Backends that somebody has derived from known ones."""

from django.core.cache.backends.redis import RedisCache as DjangosRedisCache
from django_redis.cache import RedisCache

from tieredcache.backends import LRUCache, TieredCache


class Upper(RedisCache):
    def get(self, key, default=None, version=None, client=None):
        value = super().get(key, default, version, client)
        return value.upper() if isinstance(value, str) else value


class DjangosUpper(DjangosRedisCache):
    def get(self, key, default=None, version=None):
        value = super().get(key, default, version)
        return value.upper() if isinstance(value, str) else value

    async def aget(self, key, default=None, version=None):
        return self.get(key, default, version)


class Broken(RedisCache):
    """Cannot be made."""

    def __init__(self, server, params):
        raise KeyError("what a site forgets")


class Plain(TieredCache):
    """Takes the settings as they are."""


class Site(TieredCache):
    """Has an option and a default of its own."""

    def __init__(self, location, params):
        options = {"LOCAL_TIMEOUT": 400, **params.get("OPTIONS", {})}
        if options.pop("SITE", None) == "unknown":
            raise KeyError("no such site")
        super().__init__(location, {**params, "OPTIONS": options})


class Curious(TieredCache):
    """Looks at the cache below when it is made."""

    def __init__(self, location, params):
        super().__init__(location, params)
        self.site = self.key_prefix


class Memory(LRUCache):
    """Has an option of its own."""

    def __init__(self, location, params):
        options = dict(params.get("OPTIONS", {}))
        options.pop("SITE", None)
        super().__init__(location, {**params, "OPTIONS": options})
