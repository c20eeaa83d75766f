"""Passwords are kept out of what is printed."""

import pytest

from tieredcache.redaction import redactor


@pytest.mark.parametrize(
    ("config", "text", "expected"),
    [
        ({"LOCATION": "redis://:pw@host"}, "at redis://:pw@host:1", "at redis://:***@host:1"),
        ({"LOCATION": ["redis://me:p%40w@host"]}, "p%40w and p@w", "*** and ***"),
        ({"LOCATION": "redis://:pw1@a,redis://:pw2@b"}, "pw1, pw2", "***, ***"),
        # Not quoted as it should be: redis-py quotes a part of it.
        ({"LOCATION": "redis://:long/word@host"}, "invalid literal for int(): 'long'", "invalid literal for int(): '***'"),
        ({"LOCATION": "redis://host?password=pw"}, "pw", "***"),
        ({"OPTIONS": {"SENTINEL_KWARGS": {"password": "pw"}}}, "pw", "***"),
        ({"OPTIONS": {"PASSWORD": "pw"}}, "upw pwn pw", "upw pwn ***"),
        # As repr() has it in a message about an option.
        ({"OPTIONS": {"PASSWORD": "a'b\"c\\d"}}, repr("a'b\"c\\d"), "'***'"),
        ({"OPTIONS": {"PASSWORD": b"pw\xff"}}, repr(b"pw\xff"), "b'***'"),
        ({"OPTIONS": {"PASSWORD": 123456, "password_required": True}}, "123456 True", "*** True"),
        ({"LOCATION": "redis://me@host", "OPTIONS": {"PASSWORD": ""}}, "me at host", "me at host"),
    ],
)
def test_passwords_are_not_printed(config, text, expected):
    """Wherever they stand in CACHES, and in whatever form an error quotes them."""
    assert redactor({"remote": config})(text) == expected
