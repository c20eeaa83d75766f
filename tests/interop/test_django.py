"""Django's own cache tests over both backends; left_out.py lists what is left out."""

import os
from unittest import mock

import pytest
from django.core.cache import caches
from django.test import TestCase, override_settings

from tests.interop.left_out import LEFT_OUT
from tests.support.caches import LRU, TIERED
from tests.support.sources import add_django_tests_to_path
from tieredcache.backends import TieredCache

if not add_django_tests_to_path():
    if os.environ.get("CI"):
        raise RuntimeError("Django's source distribution could not be fetched")
    pytest.skip("Django's source distribution could not be fetched", allow_module_level=True)

from cache import tests as django_tests

pytestmark = [
    pytest.mark.slow,  # they sleep
    # Keys that Memcached would refuse, and what django-redis leaves open.
    pytest.mark.filterwarnings("ignore::django.core.cache.CacheKeyWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def without_left_out(case):
    """``case`` without the tests that left_out.py names over its remote."""
    for over, _, tests in LEFT_OUT:
        if over in (case.over, "LRUCache" if case.over.startswith("LRUCache") else "all tiered"):
            for test in tests:
                assert hasattr(case, test), f"left_out.py names {test}, which Django does not have"
                setattr(case, test, None)
    return case


def lru_settings(**options):
    params = {"BACKEND": LRU, "LOCATION": "django-tests", "OPTIONS": options}
    settings = django_tests.caches_setting_for_tests(**params)
    for config in settings.values():
        config["OPTIONS"] = {**options, **config["OPTIONS"]}
    return settings


def tiered_settings(**remote):
    """Each of the aliases that Django's tests use, with a tiered one in front; without those that cull, where none does."""
    culls = remote["BACKEND"].endswith("LocMemCache")
    remotes = django_tests.caches_setting_for_tests(exclude=set() if culls else {"cull", "zero_cull"}, **remote)
    tiered = {alias: {"BACKEND": TIERED, "LOCATION": f"{alias}-remote"} for alias in remotes}
    return tiered | {f"{alias}-remote": config for alias, config in remotes.items()}


@override_settings(CACHES=lru_settings())
class TestLRUCache(django_tests.BaseCacheTests, TestCase):
    over = "LRUCache without COPY_VALUES"


@override_settings(CACHES=lru_settings(COPY_VALUES=True))
class TestLRUCacheThatCopies(django_tests.BaseCacheTests, TestCase):
    over = "LRUCache with COPY_VALUES"


for case in (TestLRUCache, TestLRUCacheThatCopies):
    for name in vars(django_tests.LocMemCacheTests):
        if name.startswith("test_"):
            setattr(case, name, getattr(django_tests.LocMemCacheTests, name))
    without_left_out(case)


class Tiered(django_tests.BaseCacheTests):
    fixture = None

    @pytest.fixture(autouse=True)
    def _settings(self, request):
        remote = self.remote(request.getfixturevalue(self.fixture) if self.fixture else None)
        with override_settings(CACHES=tiered_settings(**remote)):
            caches["default"].clear()
            yield
            caches.close_all()

    def tearDown(self):
        caches["default"].clear()

    def _perform_invalid_key_test(self, key, expected_warning, key_func=None):
        # Django's test sets the key function on the backend it tests, which refuses that; here the remote has it.
        with (
            mock.patch.object(caches["default"].remote, "key_func", key_func or (lambda key, *_: key)),
            mock.patch.object(TieredCache, "key_func", None),
        ):
            super()._perform_invalid_key_test(key, expected_warning, key_func)

    def test_cull_delete_when_store_empty(self):
        # The same, of what the backend itself would have.
        if "cull" in caches.settings:
            self.enterContext(mock.patch.object(caches["cull"].remote, "_max_entries", -1))
            self.enterContext(mock.patch.object(TieredCache, "_max_entries", -1, create=True))
        super().test_cull_delete_when_store_empty()


@without_left_out
class TestTieredOverLocMem(Tiered, TestCase):
    over = "LocMemCache"

    def remote(self, _):
        return {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "django-tests"}


@without_left_out
class TestTieredOverRedisCache(Tiered, TestCase):
    over = "RedisCache"
    fixture = "valkey_url"

    def remote(self, url):
        return {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": f"{url}/8"}

    @property
    def incr_decr_type_error(self):
        from redis import ResponseError

        return ResponseError


@without_left_out
class TestTieredOverDjangoRedis(Tiered, TestCase):
    over = "django-redis"
    fixture = "valkey_url"

    def remote(self, url):
        return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"{url}/9"}


@without_left_out
class TestTieredOverPyMemcache(Tiered, TestCase):
    over = "PyMemcacheCache"
    fixture = "memcached_address"

    def remote(self, address):
        return {"BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache", "LOCATION": address}

    # It raises, and does not warn.
    _perform_invalid_key_test = django_tests.BaseMemcachedTests._perform_invalid_key_test
    test_invalid_with_version_key_length = django_tests.BaseMemcachedTests.test_invalid_with_version_key_length

    @property
    def incr_decr_type_error(self):
        from pymemcache.exceptions import MemcacheClientError

        return MemcacheClientError
