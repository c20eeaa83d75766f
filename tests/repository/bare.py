"""What works with the wheel alone: run as a script where no extra is installed, it imports all and uses both backends."""

import importlib
import importlib.metadata
import importlib.util
import pkgutil
import re
import tempfile

from django.conf import settings

DISTRIBUTION = "django-tieredcache"
TIERED = "tieredcache.backends.TieredCache"


def configure(folder):
    remotes = {
        "locmem": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "file": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": folder},
    }
    tiers = {f"over {name}": {"BACKEND": TIERED, "LOCATION": name} for name in remotes}
    lru = {"BACKEND": "tieredcache.backends.LRUCache", "LOCATION": "local"}
    settings.configure(
        INSTALLED_APPS=["tieredcache"], CACHES={"default": lru, **remotes, **tiers}, SECRET_KEY="of no value", USE_TZ=True
    )
    importlib.import_module("django").setup()


def import_all():
    """The names of all modules; one that wants an extra may refuse, if it says which one."""
    package = importlib.import_module("tieredcache")
    extras = importlib.metadata.metadata(DISTRIBUTION).get_all("Provides-Extra")
    found = [module.name for module in pkgutil.walk_packages(package.__path__, "tieredcache.")]
    for name in found:
        try:
            importlib.import_module(name)
        except ImportError as error:
            wanted = re.search(rf"{DISTRIBUTION}\[([\w-]+)\]", str(error))
            if not wanted or wanted[1] not in extras:
                raise AssertionError(f"{name} cannot be imported by itself, and names no extra that it wants") from error
    return found


def use(alias):
    from django.core.cache import caches

    cache = caches[alias]
    cache.set("key", {"a": [1]}, timeout=60)
    assert cache.get("key") == {"a": [1]}
    assert cache.get("key") == {"a": [1]}
    assert cache.stats().hits >= 1
    assert cache.get_many(["key", "none"]) == {"key": {"a": [1]}}
    if alias.startswith("over"):
        assert cache.remote.get("key") == {"a": [1]}
    assert cache.delete("key")
    assert cache.get("key", "nothing") == "nothing"


def main():
    for name in ("redis", "django_redis", "hiredis", "valkey", "pytest"):
        assert not importlib.util.find_spec(name), f"{name} is installed: this shows nothing"
    with tempfile.TemporaryDirectory() as folder:
        configure(folder)
        modules = import_all()
        assert len(modules) > 20, modules
        from django.core.management import call_command

        call_command("check", fail_level="CRITICAL")  # LocMem as a remote is told of
        for alias in ("default", "over locmem", "over file"):
            use(alias)
    version = importlib.metadata.version(DISTRIBUTION)
    print(f"{DISTRIBUTION} {version}: {len(modules)} modules imported, both backends used, without an extra")


if __name__ == "__main__":
    main()
