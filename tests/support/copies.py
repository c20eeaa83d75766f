"""What a local tier keeps of a key."""

from tieredcache.local.entries import NEVER, UNKNOWN


def always(read_at):
    """What code accepts that demands nothing: a copy of any age."""
    return True


def is_served(cache, key):
    """Whether the local tier of ``cache`` answers a read of ``key``. It counts as a read does."""
    return cache._tier.serve(cache.local_key(key), always) is not UNKNOWN


def deadline(cache, key):
    """The monotonic time until which the local copy is served; long ago where there is none."""
    entry = cache._tier.index.get(cache.local_key(key))
    return NEVER if entry is None else entry.until
