"""Which of Django's own cache tests are left out: over which cache, why, and their names.

A test that is not named here runs, and must pass; a name here that Django does not have fails the run.
"""

LEFT_OUT = [
    (
        "LRUCache without COPY_VALUES",
        "values are kept by reference: what cannot be pickled can be stored",
        ["test_set_fail_on_pickleerror", "test_add_fail_on_pickleerror"],
    ),
    (
        "LRUCache with COPY_VALUES",
        "it looks at `LocMemCache`'s own lock; `tests/backends/test_copy_values.py` has the promise",
        ["test_locking_on_pickle"],
    ),
    (
        "LRUCache",
        "keys are not validated",
        ["test_invalid_key_characters", "test_invalid_key_length", "test_invalid_with_version_key_length"],
    ),
    ("LRUCache", "one entry goes at a time, where `LocMemCache` drops a third of them", ["test_cull"]),
    ("LRUCache", "`CULL_FREQUENCY` has no effect", ["test_zero_cull"]),
    (
        "LRUCache",
        "it counts on a third being dropped; `tests/backends/test_lru.py` has the exact order",
        ["test_lru_get", "test_lru_set", "test_lru_incr"],
    ),
    (
        "LRUCache",
        "it looks into `LocMemCache`'s own dicts; `tests/backends/test_lru.py` has the promise",
        ["test_incr_decr_timeout"],
    ),
    (
        "all tiered",
        "it writes through one alias and reads through another that has another remote: seen after the local timeout",
        ["test_cache_versioning_incr_decr"],
    ),
    (
        "django-redis",
        "keys are not validated, by django-redis itself",
        ["test_invalid_key_characters", "test_invalid_key_length", "test_invalid_with_version_key_length"],
    ),
    (
        "django-redis",
        "django-redis' own `set_many` returns `None`",
        ["test_set_many_returns_empty_list_on_success", "test_set_many_empty_data"],
    ),
    ("django-redis", "django-redis' own `delete_many` returns the number of keys", ["test_delete_many_no_keys"]),
    (
        "django-redis",
        "django-redis' own `incr_version` takes `None` for a missing value",
        ["test_incr_version", "test_decr_version"],
    ),
]
