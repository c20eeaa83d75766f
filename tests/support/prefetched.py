"""A page, whose keys are read together, and what one trip brings along of it."""

from tieredcache.remote import prefetch

PAGE = [f"key:{number}" for number in range(8)]


def page(cache, keys=PAGE):
    """What one request reads; the values."""
    prefetch.begin_burst()
    return [cache.get(key) for key in keys]


def ask(cache, key=PAGE[0]):
    """A request that reads one key."""
    return page(cache, [key])[0]


def read_once(cache, clock):
    """The page has been read once, and has expired."""
    for key in PAGE:
        cache.remote.set(key, f"value of {key}", timeout=None)
    page(cache)
    clock.move(6)
    return cache


def brought(cache):
    """The keys whose copies were brought along and not read yet."""
    return {key for key, entry in cache._tier.index.items() if entry.trip is not None}
