"""``manage.py tieredcache``, called in this process."""

import contextlib
import io
import json

from django.core.cache import caches
from django.core.management import CommandError, call_command
from django.test import override_settings

from tests.support.caches import TIERED
from tieredcache.management.commands.tieredcache import Command

DOUBLE = {"BACKEND": "tests.support.doubles.RemoteDouble", "LOCATION": "command"}


def run(*aliases, as_json=False, out=None):
    """What the command prints, and its exit code."""
    out = out or io.StringIO()
    code = 0
    try:
        call_command(Command(), alias=list(aliases), json=as_json, stdout=out, no_color=True)
    except CommandError as error:
        code = error.returncode
    return out.getvalue(), code


def report(*aliases):
    """The report as JSON has it, and the exit code."""
    text, code = run(*aliases, as_json=True)
    return json.loads(text), code


@contextlib.contextmanager
def settings(**aliases):
    """CACHES, with a default that is not of this package."""
    other = {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}
    with override_settings(CACHES={"default": other, **aliases}):
        yield
        for cache in caches.all(initialized_only=True):
            with contextlib.suppress(Exception):
                cache.clear()
        caches.close_all()


def tiered(location="remote", **options):
    return {"BACKEND": TIERED, "LOCATION": location, "OPTIONS": options}
