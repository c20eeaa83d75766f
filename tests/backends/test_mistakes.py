"""Mistakes in the settings that need more than a look at one value: what they say, and what they do not."""

import pytest
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from tests.support.caches import LRU, TIERED

LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
HUGE = 10**400


def message(default, **others):
    """What is said of the alias "default", with these settings."""
    with override_settings(CACHES={"default": default, "remote": LOCMEM, **others}):
        with pytest.raises(ImproperlyConfigured) as error:
            caches["default"]
        return str(error.value)


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        ({"OPTIONS": {"LOCAL_TIMEOUT": HUGE}}, "OPTIONS['LOCAL_TIMEOUT']"),
        ({"OPTIONS": {"MAX_ENTRIES": HUGE}}, "OPTIONS['MAX_ENTRIES']"),
        ({"TIMEOUT": HUGE}, "TIMEOUT"),
    ],
)
def test_a_number_beyond_all_floats_is_not_finite(settings, option):
    """It would overflow where it is added to a time."""
    told = message({"BACKEND": TIERED, "LOCATION": "remote", **settings})
    assert told.startswith(f"CACHES['default']: {option} is ")
    assert "a finite number" in told or "a whole number" in told


@pytest.mark.parametrize("below", [["x"], "nope", "lower", None])
def test_a_tier_over_a_tier_that_is_itself_a_mistake_is_refused_all_the_same(below):
    """The remedy names the aliases, where the lower one's remote is none of them."""
    lower = {"BACKEND": TIERED, "LOCATION": below}
    told = message({"BACKEND": TIERED, "LOCATION": "lower"}, lower=lower)
    assert told.startswith("CACHES['default']: LOCATION is 'lower', the alias of a TieredCache")
    assert told.endswith("in CACHES, which has: default, lower, remote.")
    assert "nope" not in told


def test_a_key_function_of_the_wrong_type_is_told():
    """LRUCache says what is wrong, where Django raises an AttributeError."""
    assert message({"BACKEND": LRU, "KEY_FUNCTION": 5}).startswith(
        "CACHES['default']: KEY_FUNCTION is 5. Set it to a function"
    )
