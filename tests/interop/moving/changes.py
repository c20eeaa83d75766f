"""What the page on moving lists as changes, exactly: before and after, the answers that the scene returns."""

STATS = {"`stats()`": (["AttributeError"], ["Stats"])}
LONG_KEYS = {
    "keys with spaces, keys of more than 250 characters": (
        ["None CacheKeyWarning", "None CacheKeyWarning", "1 CacheKeyWarning"],
        ["True", "True", "1"],
    )
}
FROM_A_CACHE_WITHOUT_THEM = {
    **STATS,
    **LONG_KEYS,
    "`ttl()`, `keys()`, `delete_pattern()`, `expire()`": (
        ["1", "AttributeError", "AttributeError", "AttributeError", "1", "3", "AttributeError", "3"],
        ["1", "60", "['user:1']", "2", "None", "3", "True", "None"],
    ),
    "`lock()`": (["AttributeError"], ["in turn, another at the same time: False"]),
    "`set(key, value, nx=True)`": (["TypeError", "1"], ["False", "1"]),
    "`hset()`, `sadd()`": (["AttributeError", "AttributeError"], ["1", "1"]),
}
FROM_CACHEX = {
    **STATS,
    "`lock()`": (["NotSupportedError"], ["in turn, another at the same time: False"]),
    "`hset()`, `sadd()`": (["NotSupportedError", "NotSupportedError"], ["1", "1"]),
    "a stored value that no longer decodes": (["SerializerError"], ["'default'"]),
}
CHANGES = {
    "redis": {
        **STATS,
        "a value that another worker replaces": (
            ["'old'", "'new'", "'new'", "'new'", "None"],
            ["'old'", "'old'", "'new'", "'new'", "None"],
        ),
        "`get(key, client=...)`": (["1"], ["TypeError"]),
        "`get_redis_connection()`": (["1", "1", "None", "None"], ["1", "1", "1", "None"]),
        "a stored value that no longer decodes": (["UnpicklingError"], ["'default'"]),
    },
    "fallthrough": {
        **FROM_A_CACHE_WITHOUT_THEM,
        "what writes return": (
            ["None", "None", "None", "None", "None", "None"],
            ["True", "None", "True", "False", "1", "None"],
        ),
        "`add()`, `touch()`, `has_key()`": (
            ["True", "False", "NotImplementedError", "NotImplementedError", "True", "False", "1"],
            ["True", "False", "True", "False", "True", "False", "1"],
        ),
        "timeouts: seconds, `None`, 0, negative, the default": (
            ["1", "2", "3", "None", "None", "1", "2", "3", "None", "None", "None", "2", "None", "None", "None"],
            ["1", "2", "3", "None", "None", "None", "2", "3", "None", "None", "None", "2", "None", "None", "None"],
        ),
        "an entry that expires while a worker has a copy": (["'alive'", "'alive'"], ["'alive'", "None"]),
        "timeouts of parts of a second": (["1", "1", "1"], ["1", "1", "None"]),
        "`None` as a value": (["'default'", "{}", "False"], ["None", "{'none': None}", "True"]),
        "versions of keys": (
            ["'one'", "'two'", "None", "AttributeError", "'one'", "None", "AttributeError"],
            ["'one'", "'two'", "True", "2", "None", "'one'", "ValueError"],
        ),
        "`incr()` leaves the expiry as it is": (["2", "2"], ["2", "None"]),
        "`get_redis_connection()`": (["1", "NotImplementedError", "1", "1"], ["1", "1", "1", "1"]),
        "a stored value that no longer decodes": (["UnpicklingError"], ["'default'"]),
        "sessions in the cache": (["apple plum", "apple plum"], ["apple pear plum", "apple pear plum"]),
    },
    "locmem": {
        **FROM_A_CACHE_WITHOUT_THEM,
        "an entry that another worker has stored": (["'found'", "None"], ["'found'", "'found'"]),
        "a value that another worker replaces": (
            ["'old'", "'old'", "'old'", "'old'", "None"],
            ["'old'", "'old'", "'new'", "'new'", "None"],
        ),
        "a visitor who posts on one worker and looks on another": (["1", "1"], ["1", "2"]),
        "a permission that another worker takes away": (["yes", "None", "no", "None"], ["yes", "yes", "no", "yes"]),
        "sessions in the cache": (["", ""], ["apple pear plum", "apple pear plum"]),
        "counters: `add()`, `incr()`, `decr()`": (
            ["1", "2", "1", "3", "2", "ValueError", "1"],
            ["1", "2", "3", "4", "5", "ValueError", "3"],
        ),
        "what writes return": (
            ["None", "[]", "True", "False", "None", "None"],
            ["True", "None", "True", "False", "1", "None"],
        ),
        "`get_redis_connection()`": (["1", "NotImplementedError", "1", "1"], ["1", "1", "1", "None"]),
        "more entries than `MAX_ENTRIES`": (["1199", "8 of 12"], ["1199", "12 of 12"]),
        "a restart, a deploy": (["None", "None"], ["'kept'", "'kept'"]),
        "`clear()`": (["None", "somebody else's"], ["None"]),
    },
    "locmem-own": {
        **STATS,
        "keys with spaces, keys of more than 250 characters": (
            ["None CacheKeyWarning", "None CacheKeyWarning", "1 CacheKeyWarning"],
            ["None", "None", "1"],
        ),
        "more entries than `MAX_ENTRIES`": (["1199", "8 of 12"], ["1199", "10 of 12"]),
    },
    "lruobject": {**STATS, "more entries than `MAX_ENTRIES`": (["1199", "8 of 12"], ["1199", "10 of 12"])},
    "cachex": {
        **FROM_CACHEX,
        "sessions in the cache": (["apple pear", "apple plum"], ["apple pear plum", "apple pear plum"]),
        "timeouts of parts of a second": (["1", "1", "None"], ["1", "None", "None"]),
    },
    "cachex-redis": {
        **FROM_CACHEX,
        **LONG_KEYS,
        "sessions in the cache": (["apple pear", "apple plum"], ["apple pear plum", "apple pear plum"]),
        "counters: `add()`, `incr()`, `decr()`": (
            ["1", "2", "3", "4", "5", "1", "3"],
            ["1", "2", "3", "4", "5", "ValueError", "3"],
        ),
        "what writes return": (["None", "[]", "True", "False", "1", "True"], ["True", "None", "True", "False", "1", "None"]),
        "objects that cannot be pickled": (["SerializerError", "None"], ["PicklingError", "None"]),
        "`get_redis_connection()`": (["1", "NotImplementedError", "1", "1"], ["1", "1", "1", "None"]),
        "`clear()`": (["None", "somebody else's"], ["None"]),
    },
}

# Rows that no scene can play, and the tests that hold them.
ELSEWHERE = {
    "a server that is down": "promises/test_outage_circuit.py"
    "::test_one_reader_at_a_time_waits_when_the_remote_is_known_to_be_down",
    "many threads that ask `get_or_set()` for the same missing entry": (
        "backends/test_get_or_set.py::test_one_of_many_threads_computes"
    ),
    "an async read of what the process has": "promises/test_contract.py::test_a_hit_stays_in_the_event_loop",
    "a reader that is slower than a write": "promises/test_race.py::test_a_slow_thread_puts_no_old_value_back",
    "`get_many()` of what is not local": "promises/test_remote_expiry.py::test_round_trips",
}

# What each row of the tables of options means: an alias, settings for it, and whether they are accepted there.
KEYS_AND_TIMEOUT = {
    "`TIMEOUT`": [("remote", {"TIMEOUT": 60}, True), ("default", {"TIMEOUT": 60}, True)],
    "`KEY_PREFIX`, `VERSION`, `KEY_FUNCTION`": [
        ("remote", {"KEY_PREFIX": "p"}, True),
        ("default", {"KEY_PREFIX": "p"}, False),
        ("remote", {"VERSION": 2}, True),
        ("default", {"VERSION": 2}, False),
        ("remote", {"KEY_FUNCTION": "django.core.cache.backends.base.default_key_func"}, True),
        ("default", {"KEY_FUNCTION": "django.core.cache.backends.base.default_key_func"}, False),
    ],
}
OF_AN_LRU_CACHE = {
    "`LOCATION`": [("default", {"LOCATION": "other"}, True)],
    "`TIMEOUT`": [("default", {"TIMEOUT": 0.5}, True), ("default", {"TIMEOUT": None}, True)],
    '`OPTIONS["MAX_ENTRIES"]`': [("default", {"OPTIONS": {"MAX_ENTRIES": 5}}, True)],
    '`OPTIONS["CULL_FREQUENCY"]`': [("default", {"OPTIONS": {"CULL_FREQUENCY": 0}}, True)],
    "`KEY_PREFIX`, `VERSION`, `KEY_FUNCTION`": [
        ("default", {"KEY_PREFIX": "p"}, True),
        ("default", {"VERSION": 2}, True),
        ("default", {"KEY_FUNCTION": "django.core.cache.backends.base.default_key_func"}, True),
    ],
}
OF_CACHEX = {
    '`OPTIONS["tiers"]`': [("default", {"OPTIONS": {"tiers": ["local", "remote"]}}, False)],
    '`OPTIONS["l1_timeout"]`': [
        ("default", {"OPTIONS": {"LOCAL_TIMEOUT": 60}}, True),
        ("default", {"OPTIONS": {"l1_timeout": 60}}, False),
    ],
    'the local alias\'s `OPTIONS["MAX_ENTRIES"]`': [("default", {"OPTIONS": {"MAX_ENTRIES": 5}}, True)],
}
OPTIONS = {
    "locmem": {
        "`LOCATION`": [
            ("remote", {"LOCATION": "redis://127.0.0.1:1/2"}, True),
            ("default", {"LOCATION": "catalogue"}, False),
        ],
        '`OPTIONS["MAX_ENTRIES"]`': [("default", {"OPTIONS": {"MAX_ENTRIES": 5}}, True)],
        '`OPTIONS["CULL_FREQUENCY"]`': [("default", {"OPTIONS": {"CULL_FREQUENCY": 3}}, False)],
        **KEYS_AND_TIMEOUT,
    },
    "locmem-own": OF_AN_LRU_CACHE,
    "lruobject": {**OF_AN_LRU_CACHE, "`NAME`": [("default", {"NAME": "other"}, True)]},
    "fallthrough": {
        '`OPTIONS["cache_names"]`': [("default", {"OPTIONS": {"cache_names": ["local", "remote"]}}, False)],
        "the local alias's `TIMEOUT`": [("default", {"OPTIONS": {"LOCAL_TIMEOUT": 60}}, True)],
        'the local alias\'s `OPTIONS["MAX_ENTRIES"]`': [("default", {"OPTIONS": {"MAX_ENTRIES": 5}}, True)],
        'the local alias\'s `OPTIONS["CULL_FREQUENCY"]`': [("default", {"OPTIONS": {"CULL_FREQUENCY": 3}}, False)],
        **KEYS_AND_TIMEOUT,
    },
    "cachex": {**OF_CACHEX, **KEYS_AND_TIMEOUT},
    "cachex-redis": {
        **OF_CACHEX,
        'the remote\'s `OPTIONS["socket_timeout"]`': [
            ("remote", {"OPTIONS": {"SOCKET_TIMEOUT": 2}}, True),
            ("default", {"OPTIONS": {"socket_timeout": 2}}, False),
        ],
        'the remote\'s `OPTIONS["serializer"]`': [
            ("remote", {"OPTIONS": {"SERIALIZER": "django_redis.serializers.json.JSONSerializer"}}, True),
            ("default", {"OPTIONS": {"SERIALIZER": "json"}}, False),
        ],
        'the remote\'s `OPTIONS["compressor"]`': [
            ("remote", {"OPTIONS": {"COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor"}}, True),
            ("default", {"OPTIONS": {"COMPRESSOR": "zlib"}}, False),
        ],
    },
    "redis": {
        **KEYS_AND_TIMEOUT,
        '`OPTIONS["CLIENT_CLASS"]`, `OPTIONS["SERIALIZER"]` and the rest': [
            ("remote", {"OPTIONS": {"CLIENT_CLASS": "django_redis.client.HerdClient"}}, True),
            ("default", {"OPTIONS": {"CLIENT_CLASS": "django_redis.client.HerdClient"}}, False),
        ],
        '`OPTIONS["IGNORE_EXCEPTIONS"]`': [
            ("default", {"OPTIONS": {"REMOTE_ERRORS": "ignore"}}, True),
            ("default", {"OPTIONS": {"IGNORE_EXCEPTIONS": True}}, False),
        ],
    },
}
