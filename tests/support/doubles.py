"""Remotes that do what a real one does too rarely to be caught at it."""

import asyncio
import threading

from django.core.cache.backends.locmem import LocMemCache

from tieredcache.local import tier


class Pause:
    """A point that a thread or task stops at until it is let go."""

    def __init__(self):
        self._reached = threading.Event()
        self._released = threading.Event()

    def stop(self):
        self._reached.set()
        assert self._released.wait(10), "nobody let the reader go"

    async def astop(self):
        self._reached.set()
        while not self._released.is_set():
            await asyncio.sleep(0)

    def wait(self):
        assert self._reached.wait(10), "the reader did not get there"

    async def await_(self):
        while not self._reached.is_set():
            await asyncio.sleep(0)

    def release(self):
        self._released.set()


class RemoteDouble(LocMemCache):
    """A LocMemCache with async methods of its own, that counts reads, pauses between a read and its return, and fails."""

    # Of the class, because Django makes instances per thread. A fixture in conftest.py resets it around every test.
    reads = 0
    pause = None
    broken = None  # an exception that writes raise, after they have written
    broken_reads = None

    @classmethod
    def reset(cls):
        """Whole again, and nothing read yet."""
        cls.reads, cls.pause, cls.broken, cls.broken_reads = 0, None, None, None

    def _read(self):
        type(self).reads += 1
        if self.broken_reads:
            raise self.broken_reads
        pause, type(self).pause = type(self).pause, None
        return pause

    def get(self, key, default=None, version=None):
        value = super().get(key, default, version)
        if pause := self._read():
            pause.stop()
        return value

    async def aget(self, key, default=None, version=None):
        value = super().get(key, default, version)
        if pause := self._read():
            await pause.astop()
        return value

    def has_key(self, key, version=None):
        found = super().has_key(key, version)
        if pause := self._read():
            pause.stop()
        return found

    async def ahas_key(self, key, version=None):
        found = super().has_key(key, version)
        if pause := self._read():
            await pause.astop()
        return found

    def get_many(self, keys, version=None):
        values = {key: super(RemoteDouble, self).get(key, self, version) for key in keys}
        if pause := self._read():
            pause.stop()
        return {key: value for key, value in values.items() if value is not self}

    async def aget_many(self, keys, version=None):
        values = {key: super(RemoteDouble, self).get(key, self, version) for key in keys}
        if pause := self._read():
            await pause.astop()
        return {key: value for key, value in values.items() if value is not self}

    def set(self, key, value, timeout=300, version=None):
        super().set(key, value, timeout, version)
        if self.broken:
            raise self.broken

    async def aset(self, key, value, timeout=300, version=None):
        self.set(key, value, timeout, version)


class TellingDouble(RemoteDouble):
    """One that tells TTLs, by the clock of the package, which a test may move."""

    def get_backend_timeout(self, timeout=300):
        return None if timeout is None else tier.clock() + timeout

    def _has_expired(self, key):
        expires = self._expire_info.get(key, -1)
        return expires is not None and expires <= tier.clock()

    def pttl(self, key, version=None):
        expires = self._expire_info.get(self.make_key(key, version))
        return None if expires is None else (expires - tier.clock()) * 1000


class Odd(Exception):
    """An error that cannot be made again from what it says."""

    __slots__ = ("code",)

    def __new__(cls, code, *, text):
        self = super().__new__(cls, text)
        self.code = code
        return self

    def __init__(self, code, *, text):
        pass


class Strict(Exception):
    """An error that wants two things, and cannot say what it is."""

    def __new__(cls, code, text):
        return super().__new__(cls, code, text)

    def __str__(self):
        raise AttributeError
