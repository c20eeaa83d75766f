"""Which tests of other packages fail over tiers: of which package, why, and their names.

Any other test that fails, and one of these that passes, fails the run.
"""

DEVIATIONS = [
    (
        "django-redis",
        (
            "it closes the tiered alias and looks whether the client was closed: the remote is an alias of its "
            "own, which Django closes"
        ),
        [
            "tests/test_backend.py::TestDjangoRedisCache::test_close_client[sqlite]",
            "tests/test_backend.py::TestDjangoRedisCache::test_close_with_signal_parameter[sqlite]",
        ],
    ),
    (
        "django-redis",
        "it takes the alias out of `caches` to have it made with another setting; the remote alias, made before, stays",
        ["tests/test_backend.py::TestDjangoRedisCache::test_delete_pattern_with_settings_default_scan_count[sqlite]"],
    ),
    (
        "django-redis",
        "it sets `KEY_PREFIX` on the tiered alias, which belongs to the remote one: `ImproperlyConfigured`",
        [
            "tests/test_cache_options.py::TestDjangoRedisCacheEscapePrefix::test_delete_pattern[sqlite]",
            "tests/test_cache_options.py::TestDjangoRedisCacheEscapePrefix::test_iter_keys[sqlite]",
            "tests/test_cache_options.py::TestDjangoRedisCacheEscapePrefix::test_keys[sqlite]",
        ],
    ),
    (
        "django-redis",
        "it sets `KEY_FUNCTION` on the tiered alias, which belongs to the remote one: `ImproperlyConfigured`",
        ["tests/test_cache_options.py::test_custom_key_function[sqlite]"],
    ),
    (
        "django-redis",
        "it sets `IGNORE_EXCEPTIONS` on the tiered alias, where it belongs to the remote one: `ImproperlyConfigured`",
        [
            "tests/test_cache_options.py::test_get_django_omit_exceptions",
            "tests/test_cache_options.py::test_get_django_omit_exceptions_many_returns_default_arg",
            "tests/test_cache_options.py::test_get_django_omit_exceptions_priority_1",
            "tests/test_cache_options.py::test_get_django_omit_exceptions_priority_2",
        ],
    ),
    (
        "django-redis",
        "it sets `CLOSE_CONNECTION` on the tiered alias, where it belongs to the remote one",
        ["tests/test_client.py::TestClientClose::test_close_disconnect_settings_cache[sqlite]"],
    ),
    (
        "django-axes",
        "it looks into `LocMemCache`'s own dict, and the remote is a Valkey server here",
        [
            "tests/test_login.py::CacheLoginTestCase::test_reset_on_success_false",
            "tests/test_login.py::CacheLoginTestCase::test_reset_on_success_true",
        ],
    ),
    (
        "django-cachalot",
        (
            "it counts the warnings of `manage.py check`, and there is one more, `cachalot.W001`: django-cachalot "
            "has a list of the backends it knows"
        ),
        ["cachalot/tests/settings.py::SettingsTestCase::test_database_compatibility"],
    ),
]
