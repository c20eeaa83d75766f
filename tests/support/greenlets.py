"""Many gevent greenlets that read at once: ``python -m tests.support.greenlets URL reads|sessions ALIAS``.

A process of its own, because gevent patches it as a whole; and another one for each alias, because the second would find the
pool of connections filled. redis-py's has 100. Prints how many reads there were, and how many of them were lost, as JSON.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import sys  # noqa: E402

import django  # noqa: E402
import gevent  # noqa: E402
from django.conf import settings  # noqa: E402

VISITORS = 300
ROUNDS = 20
PAUSE = 0.05  # seconds between two rounds


def configure(url):
    from tests.support import traffic

    tier = {"BACKEND": traffic.TIERED, "LOCATION": traffic.ALONE}  # all defaults
    remote = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}
    settings.configure(
        CACHES={traffic.TIER: tier, traffic.ALONE: remote}, SESSION_ENGINE="django.contrib.sessions.backends.cache"
    )
    django.setup()


def reads(alias):
    """Each reads keys that nobody else reads."""
    from django.core.cache import caches

    from tests.support.traffic import read_one

    def prepare():
        values = {f"{alias}:{visitor}:{number}": number for visitor in range(VISITORS) for number in range(ROUNDS)}
        caches["remote"].set_many(values)

    def one(visitor, number):
        return read_one(caches[alias], f"{alias}:{visitor}:{number}").lost

    return prepare, one


def sessions(alias):
    """Each is a visitor whose requests load a session. A session that loads empty has logged its visitor out."""
    settings.SESSION_CACHE_ALIAS = alias
    from django.contrib.sessions.backends.cache import SessionStore

    keys = {}

    def prepare():
        for visitor in range(VISITORS):
            session = SessionStore()
            session["user"] = visitor
            session.create()
            keys[visitor] = session.session_key

    def one(visitor, number):
        return SessionStore(keys[visitor]).get("user") != visitor

    return prepare, one


def lost(alias, kind):
    """How many reads there were, and how many of them were lost."""
    prepare, one = kind(alias)
    prepare()
    count = 0
    for number in range(ROUNDS):
        jobs = [gevent.spawn(one, visitor, number) for visitor in range(VISITORS)]
        gevent.joinall(jobs, timeout=300, raise_error=True)
        count += sum(job.get(block=False) for job in jobs)
        gevent.sleep(PAUSE)
    return {"reads": VISITORS * ROUNDS, "lost": count}


if __name__ == "__main__":
    configure(sys.argv[1])
    kind = {"reads": reads, "sessions": sessions}[sys.argv[2]]
    print(json.dumps(lost(sys.argv[3], kind)))
