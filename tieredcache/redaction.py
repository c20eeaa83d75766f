"""Keeps passwords out of what is printed: error messages quote settings, and what a client has made of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What stands before the last "@" of a URL, and after the user's name where there is one: a password that should have been
# quoted may hold any character. And redis-py's other place for it.
_IN_URLS: Final = (re.compile(r"://[^:@]*:?(.*)@", re.DOTALL), re.compile(r"[?&]password=([^&]*)"))
_WORD: Final = 4
"""Letters that a part of a password must have to be looked for by itself: clients quote parts of URLs they cannot parse."""


def redactor(settings: Any) -> Callable[[str], str]:
    """A function that replaces the passwords in ``settings``, which is ``CACHES``, by ``***`` wherever a text has them."""
    secrets = set()
    for secret in _secrets(settings):
        for form in (secret, unquote(secret), repr(secret)[1:-1]):
            secrets.add(form)
            secrets.update(word for word in re.findall(r"\w+", form) if len(word) >= _WORD)
    secrets.discard("")
    if not secrets:
        return str
    # The longest first: a password before its parts. Not within a word: a short password is part of many.
    choice = "|".join(re.escape(secret) for secret in sorted(secrets, key=len, reverse=True))
    pattern = re.compile(rf"(?<!\w)(?:{choice})(?!\w)")
    return lambda text: pattern.sub("***", text)


def _secrets(setting: Any, *, secret: bool = False) -> Iterator[str]:
    if isinstance(setting, str):
        if secret:
            yield setting
        yield from _in_urls(setting)
    elif secret and isinstance(setting, bytes):
        yield from (setting.decode(errors="replace"), repr(setting)[2:-1])
    elif secret and isinstance(setting, int) and not isinstance(setting, bool):
        yield str(setting)
    elif isinstance(setting, Mapping):
        for name, value in setting.items():
            yield from _secrets(value, secret=secret or "password" in str(name).lower())
    elif isinstance(setting, (list, tuple, set, frozenset)):
        for value in setting:
            yield from _secrets(value, secret=secret)


def _in_urls(setting: str) -> Iterator[str]:
    for part in {setting, *re.split("[,;]", setting)}:  # several servers may stand in one string
        for pattern in _IN_URLS:
            yield from pattern.findall(part)
