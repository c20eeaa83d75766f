"""``manage.py tieredcache plan``, called in this process; traces for it, and what is expected of them."""

import csv
import io
import json
import random
from collections import Counter, OrderedDict

from django.core.management import CommandError, call_command

from tieredcache.management.commands.tieredcache import Command

HEADER = ["time", "process", "operation", "key", "bytes"]


def plan(*arguments):
    """What the subcommand prints, its messages, and its exit code."""
    out, messages, code = io.StringIO(), io.StringIO(), 0
    try:
        call_command(Command(), "plan", *map(str, arguments), stdout=out, stderr=messages, no_color=True)
    except CommandError as error:
        code = error.returncode
        messages.write(str(error))
    return out.getvalue(), messages.getvalue(), code


def report(*arguments):
    out, messages, code = plan(*arguments, "--json")
    assert code == 0, messages
    return json.loads(out)


def write(path, events):
    """A trace, as anybody would write it."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([HEADER, *events])
    return path


def traffic(number, *, seed=1, processes=4, keys=2000, writes=0.02):
    """Events of pages: each reads some keys, the popular ones more often, and now and then one is written."""
    draw = random.Random(seed)
    events, now = [], 1_000.0
    while len(events) < number:
        now += draw.expovariate(20)
        process = f"worker {draw.randrange(processes)}"
        for place in range(10):
            key = f"product:{int(draw.paretovariate(0.7)) % keys}"
            operation = "set" if draw.random() < writes else "get"
            events.append((round(now + place * 0.001, 6), process, operation, key, 400))
    return sorted(events[:number])


def expected(events, timeout, entries):
    """Hit ratio and the share of stale reads: one exact LRU per process, with deadlines and the versions of the copies."""
    caches, versions = {}, Counter()
    reads = hits = stale = 0
    for time, process, operation, key, _ in events:
        cache = caches.setdefault(process, OrderedDict())
        if operation != "get":
            versions[key] += 1
            cache.pop(key, None)
            continue
        reads += 1
        copy = cache.get(key)
        if copy and copy[0] > time:
            cache.move_to_end(key)
            hits += 1
            stale += copy[1] != versions[key]
            continue
        cache[key] = time + timeout, versions[key]
        cache.move_to_end(key)
        if len(cache) > entries:
            cache.popitem(last=False)
    return hits / reads, stale / reads
