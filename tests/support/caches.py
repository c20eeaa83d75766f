"""Settings of caches: the two backends, and a remote alias of each kind."""

import uuid

TIERED = "tieredcache.backends.TieredCache"
LRU = "tieredcache.backends.LRUCache"


KINDS = [
    *("locmem", "file", "fakeredis", "django-redis", "django-redis-json", "django-redis-herd", "django-redis-shard"),
    *("django-redis-sentinel", "django", "redis-server", "django-valkey", "django-valkey-cluster", "memcached"),
]
DJANGOS = "django.core.cache.backends"
DJANGO_REDIS = "django_redis.cache.RedisCache"


def remote_settings(kind, request):
    """The settings of a remote alias of this kind, on a running server."""
    value = request.getfixturevalue

    def of(backend, location, **options):
        return {"BACKEND": backend, "LOCATION": location} | ({"OPTIONS": options} if options else {})

    match kind:
        case "locmem":
            return of(f"{DJANGOS}.locmem.LocMemCache", uuid.uuid4().hex)
        case "file":
            return of(f"{DJANGOS}.filebased.FileBasedCache", str(value("tmp_path") / "cache"))
        case "fakeredis":
            from fakeredis import FakeRedisConnection

            pool = {"connection_class": FakeRedisConnection, "server": value("fakeredis_server")}
            return of(DJANGO_REDIS, "redis://fake:6379", CONNECTION_POOL_KWARGS=pool)
        case "django-redis":
            return of(DJANGO_REDIS, value("valkey_url") + "/1")
        case "django-redis-json":
            return of(DJANGO_REDIS, value("valkey_url") + "/2", SERIALIZER="django_redis.serializers.json.JSONSerializer")
        case "django-redis-herd":
            return of(DJANGO_REDIS, value("valkey_url") + "/3", CLIENT_CLASS="django_redis.client.HerdClient")
        case "django-redis-shard":
            locations = [value("valkey_url") + "/4", value("valkey_url") + "/5"]
            return of(DJANGO_REDIS, locations, CLIENT_CLASS="django_redis.client.ShardClient")
        case "django-redis-sentinel":
            return of(
                DJANGO_REDIS,
                "redis://primary/0",
                CLIENT_CLASS="django_redis.client.SentinelClient",
                CONNECTION_FACTORY="django_redis.pool.SentinelConnectionFactory",
                CONNECTION_POOL_CLASS="redis.sentinel.SentinelConnectionPool",
                SENTINELS=[value("sentinel_address")],
                SENTINEL_KWARGS={},
            )
        case "django":
            return of(f"{DJANGOS}.redis.RedisCache", value("valkey_url") + "/6")
        case "redis-server":
            return of(f"{DJANGOS}.redis.RedisCache", value("redis_url") + "/1")
        case "django-valkey":
            return of("django_valkey.cache.ValkeyCache", value("valkey_url").replace("redis", "valkey") + "/7")
        case "django-valkey-cluster":
            location = value("cluster_url").replace("redis", "valkey")
            return of("django_valkey.cluster_cache.cache.ClusterValkeyCache", location)
        case "memcached":
            return of(f"{DJANGOS}.memcached.PyMemcacheCache", value("memcached_address"))
    raise AssertionError(kind)
