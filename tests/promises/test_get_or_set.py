"""get_or_set: a value is shared by those who asked while it was computed, and by nobody after a write or a failure."""

import asyncio
import contextlib
import threading
import uuid

import pytest
from django.core.cache import caches
from django.test import override_settings

from tests.support.bounded import Run, wait_until_all_block

WITHIN = 5
"""Seconds for what must not wait for anybody. A wait that was given up could be as short, but it is logged."""


@pytest.fixture(autouse=True)
def no_wait_given_up(caplog):
    """Nothing here waits for nothing; a wait that is given up is logged."""
    yield
    assert [record.getMessage() for record in caplog.get_records("call") if record.name.startswith("tieredcache")] == []


@pytest.fixture(params=["remote", "tiered", "lru"])
def alias(request):
    """The remote alone, which shows what is right; the tier over it; and the other backend with a get_or_set of ours."""
    remote = {"BACKEND": "tests.support.alone.AsyncLocMemCache", "LOCATION": uuid.uuid4().hex}
    tiered = {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": "remote", "OPTIONS": {"LOCAL_TIMEOUT": 60}}
    lru = {"BACKEND": "tieredcache.backends.LRUCache", "LOCATION": uuid.uuid4().hex}
    with override_settings(CACHES={"default": remote, "remote": remote, "tiered": tiered, "lru": lru}):
        yield request.param


class Paused:
    """A callable for get_or_set that returns ``value``, or raises it, when it is released."""

    def __init__(self, value):
        self._value = value
        self._entered, self._released = threading.Event(), threading.Event()

    def __call__(self):
        self._entered.set()
        assert self._released.wait(10)
        if isinstance(self._value, Exception):
            raise self._value
        return self._value

    def entered(self):
        assert self._entered.wait(10)

    def release(self):
        self._released.set()


@contextlib.contextmanager
def computing(alias, value):
    """A caller of get_or_set that computes inside the block; yields it and its callable, which is released at the end."""
    paused = Paused(value)
    older = Run(lambda: caches[alias].get_or_set("key", paused))
    try:
        paused.entered()
        yield older, paused
    finally:
        paused.release()
    with contextlib.suppress(Exception):
        older.result()


def get_or_set(alias, value, mode):
    return mode(caches[alias]).get_or_set("key", lambda: value)


REMOVALS = {
    "delete": lambda cache: cache.delete("key"),
    "delete_many": lambda cache: cache.delete_many(["key"]),
    "clear": lambda cache: cache.clear(),
    "adelete": lambda cache: asyncio.run(cache.adelete("key")),
    "set and expired": lambda cache: cache.set("key", "gone at once", 0),
    "set and deleted": lambda cache: (cache.set("key", "between"), cache.delete("key")),
}


@pytest.mark.parametrize("removal", REMOVALS)
def test_a_new_value_is_computed_when_the_key_was_deleted_while_an_older_one_computes(alias, removal, mode):
    """A value whose computation began before delete() returned is not for those who ask after it."""
    with computing(alias, "old") as (older, paused):
        REMOVALS[removal](caches[alias])
        assert Run(get_or_set, alias, "new", mode).result(WITHIN) == "new"
        assert caches[alias].get("key") == "new"
        paused.release()
        assert older.result() == "new", "the older caller's add() finds a value"
        assert caches[alias].get("key") == "new"
        if alias == "tiered":
            assert caches["remote"].get("key") == "new", "and nobody else is given the old one"


def test_callers_after_a_delete_share_one_computation(alias):
    """The older computation is nobody's any more, and the newer one is everybody's again."""
    if alias == "remote":
        pytest.skip("Django shares no computation")
    newer, calls = Paused("new"), []

    def compute():
        calls.append(1)
        return newer()

    with computing(alias, "old"):
        caches[alias].delete("key")
        callers = [Run(lambda: caches[alias].get_or_set("key", compute)) for _ in range(4)]
        newer.entered()
        wait_until_all_block(callers)
        newer.release()
        assert [caller.result(WITHIN) for caller in callers] == ["new"] * 4
        assert len(calls) == 1


@pytest.mark.parametrize("alias", ["tiered", "lru"], indirect=True)
def test_the_new_value_is_returned_when_the_older_computation_ends_first(alias):
    """A caller that asked after delete() had returned is not handed what the older one adds while the newer one computes."""
    newer = Paused("new")
    with computing(alias, "old") as (older, paused):
        caches[alias].delete("key")
        caller = Run(lambda: caches[alias].get_or_set("key", newer))
        wait_until_all_block([caller])
        paused.release()
        older.result()
        newer.release()
        assert caller.result(WITHIN) == "new"


def test_all_who_wait_compute_at_once_when_the_callable_fails(alias):
    """Twelve callers whose callable fails after a while need that while once or twice, and not twelve times."""
    parties = 12
    first = Paused(ValueError("the first"))
    # Passed when all of the others compute at the same time; broken when one has to wait for another.
    together = threading.Barrier(parties - 1)
    calls = []

    def compute():
        calls.append(1)
        if len(calls) == 1:
            first()
        together.wait(5)
        raise ValueError("one of the others")

    callers = [Run(lambda: caches[alias].get_or_set("key", compute))]
    first.entered()
    callers += [Run(lambda: caches[alias].get_or_set("key", compute)) for _ in range(parties - 1)]
    if alias != "remote":  # there nobody waits
        wait_until_all_block(callers)
    first.release()
    for caller in callers:
        with pytest.raises(ValueError, match=r"the first|one of the others"):
            caller.result(15)
    assert len(calls) == parties


def test_all_tasks_that_wait_compute_at_once_when_the_callable_fails(alias):
    """The same for tasks."""
    parties = 12
    calls = []

    async def main():
        together = asyncio.Barrier(parties - 1)

        async def compute():
            calls.append(1)
            if len(calls) == 1:
                await asyncio.sleep(0.2)  # until the others wait; no event tells
                raise ValueError("the first")
            async with asyncio.timeout(5):
                await together.wait()
            raise ValueError("one of the others")

        tasks = [caches[alias].aget_or_set("key", compute) for _ in range(parties)]
        return await asyncio.gather(*tasks, return_exceptions=True)

    errors = Run(asyncio.run, main()).result(20)
    assert {type(error) for error in errors} == {ValueError}
    assert len(calls) == parties


def test_one_of_those_who_wait_gets_its_value_kept_when_the_callable_fails(alias):
    """A failure ends nothing but its own caller: the next value is stored and returned."""
    with computing(alias, ValueError("the first")) as (older, paused):
        others = [Run(get_or_set, alias, "value", lambda cache: cache) for _ in range(4)]
        if alias != "remote":
            wait_until_all_block(others)
        paused.release()
        with pytest.raises(ValueError, match="the first"):
            older.result()
        assert [other.result(WITHIN) for other in others] == ["value"] * 4
    assert caches[alias].get("key") == "value"
