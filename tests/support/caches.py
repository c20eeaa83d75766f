"""Settings of caches: the two backends, and a remote alias of each kind."""

import uuid

TIERED = "tieredcache.backends.TieredCache"
LRU = "tieredcache.backends.LRUCache"


def remote_settings(kind, request):
    """The settings of a remote alias of this kind, on a running server."""
    value = request.getfixturevalue
    if kind == "locmem":
        return {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": uuid.uuid4().hex}
    if kind == "file":
        return {
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": str(value("tmp_path") / "cache"),
        }
    if kind == "fakeredis":
        from fakeredis import FakeRedisConnection

        options = {"CONNECTION_POOL_KWARGS": {"connection_class": FakeRedisConnection, "server": value("fakeredis_server")}}
        return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://fake:6379", "OPTIONS": options}
    if kind == "django-redis":
        return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": value("valkey_url") + "/1"}
    if kind == "django-redis-json":
        options = {"SERIALIZER": "django_redis.serializers.json.JSONSerializer"}
        return {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": value("valkey_url") + "/2",
            "OPTIONS": options,
        }
    if kind == "django-redis-herd":
        options = {"CLIENT_CLASS": "django_redis.client.HerdClient"}
        return {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": value("valkey_url") + "/3",
            "OPTIONS": options,
        }
    if kind == "django-redis-shard":
        options = {"CLIENT_CLASS": "django_redis.client.ShardClient"}
        locations = [value("valkey_url") + "/4", value("valkey_url") + "/5"]
        return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": locations, "OPTIONS": options}
    if kind == "django-redis-sentinel":
        options = {
            "CLIENT_CLASS": "django_redis.client.SentinelClient",
            "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
            "CONNECTION_POOL_CLASS": "redis.sentinel.SentinelConnectionPool",
            "SENTINELS": [value("sentinel_address")],
            "SENTINEL_KWARGS": {},
        }
        return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://primary/0", "OPTIONS": options}
    if kind == "django":
        return {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": value("valkey_url") + "/6"}
    if kind == "redis-server":
        return {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": value("redis_url") + "/1"}
    if kind == "django-valkey":
        return {
            "BACKEND": "django_valkey.cache.ValkeyCache",
            "LOCATION": value("valkey_url").replace("redis", "valkey") + "/7",
        }
    if kind == "django-valkey-cluster":
        return {
            "BACKEND": "django_valkey.cluster_cache.cache.ClusterValkeyCache",
            "LOCATION": value("cluster_url").replace("redis", "valkey"),
        }
    if kind == "memcached":
        return {
            "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
            "LOCATION": value("memcached_address"),
        }
    raise AssertionError(kind)
