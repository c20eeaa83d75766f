"""What happens on the site, scene by scene; the title of each is that of a row on the moving pages.

Each uses keys of its own, and returns what was answered.
"""

SCENES = {}
LONG = "k" * 251


def scene(title):
    def register(function):
        SCENES[title] = function
        return function

    return register


@scene("reading through the cache: `get_or_set()`")
def read_through(site):
    site.post("a", "/prices/tea/", price=3)
    return [site.get("a", "/prices/tea/"), site.get("a", "/prices/tea/")]


@scene("an entry that another worker has stored")
def shared(site):
    site.ask("a", "set", "shared", "found")
    return [site.ask("a", "get", "shared"), site.ask("b", "get", "shared")]


@scene("a value that another worker replaces")
def replaced(site):
    site.ask("a", "set", "replaced", "old", 60)
    if site.ask("b", "get", "replaced") == "None":  # of its own, where there is one cache for each process
        site.ask("b", "set", "replaced", "old", 60)
    seen = [site.ask("b", "get", "replaced")]
    site.ask("a", "set", "replaced", "new", 60)
    seen.append(site.ask("b", "get", "replaced"))
    site.move(5)
    seen.append(site.ask("b", "get", "replaced"))
    site.move(26)
    seen.append(site.ask("b", "get", "replaced"))
    site.move(30)
    seen.append(site.ask("b", "get", "replaced"))
    return seen


@scene("the worker that writes sees what it wrote")
def own_writes(site):
    site.post("a", "/prices/salt/", price=1)
    seen = [site.get("a", "/prices/salt/")]
    site.post("a", "/prices/salt/", price=2)
    seen.append(site.get("a", "/prices/salt/"))
    site.request("a", "DELETE", "/prices/salt/")
    return [*seen, site.get("a", "/prices/salt/")]


@scene("a visitor who posts on one worker and looks on another")
def visitor(site):
    visitor = {}
    site.post("a", "/prices/oil/", price=1)
    site.get("b", "/prices/oil/", visitor)
    site.post("a", "/prices/oil/", visitor, price=2)
    seen = [site.get("b", "/prices/oil/", visitor)]
    site.move(5)
    return [*seen, site.get("b", "/prices/oil/", visitor)]


@scene("a permission that another worker takes away")
def permission(site):
    site.post("a", "/may/bob/", answer="yes")
    seen = [site.get("a", "/may/bob/"), site.get("b", "/may/bob/")]
    site.post("a", "/may/bob/", answer="no")
    return [*seen, site.get("a", "/may/bob/"), site.get("b", "/may/bob/")]


@scene("sessions in the cache")
def sessions(site):
    visitor = {}
    site.post("a", "/basket/apple/", visitor)
    site.get("a", "/basket/", visitor)
    site.post("b", "/basket/pear/", visitor)
    site.post("a", "/basket/plum/", visitor)
    return [site.get("b", "/basket/", visitor), site.get("a", "/basket/", visitor)]


@scene("counters: `add()`, `incr()`, `decr()`")
def counters(site):
    turns = [site.post(worker, "/visits/home/") for worker in "aabab"]
    return [*turns, site.ask("a", "incr", "no_such_counter"), site.ask("a", "decr", "visits:home", 2)]


@scene("template fragments")
def fragments(site):
    site.post("a", "/prices/rice/", price=5)
    seen = [site.get("a", "/products/rice/")]
    site.post("a", "/prices/rice/", price=6)
    seen.append(site.get("a", "/products/rice/"))
    site.move(61)
    return [*seen, site.get("a", "/products/rice/")]


@scene("`cache_page`")
def pages(site):
    site.post("a", "/prices/corn/", price=7)
    seen = [site.get("a", "/sheets/corn/")]
    site.post("a", "/prices/corn/", price=8)
    seen.append(site.get("a", "/sheets/corn/"))
    site.move(61)
    return [*seen, site.get("a", "/sheets/corn/")]


@scene("async views")
def asynchronous(site):
    site.post("a", "/async/silk/", price=9)
    return [site.get("a", "/async/silk/"), site.get("a", "/async/silk/"), site.get("a", "/async/none/")]


@scene("`get_many()`, `set_many()`, `delete_many()`")
def many(site):
    site.post("a", "/prices/figs/", price=1)
    site.post("a", "/prices/dates/", price=2)
    site.ask("a", "delete_many", ["price:dates"])
    return [
        site.get("a", "/prices/?sku=figs&sku=dates&sku=none"),
        site.get("a", "/prices/?sku=figs&sku=dates&sku=none"),
        site.ask("a", "get_many", ["price:dates", "price:none", "price:figs"]),
        site.ask("a", "get_many", []),
    ]


@scene("what writes return")
def returned(site):
    return [
        site.ask("a", "set", "returned", 1),
        site.ask("a", "set_many", {"returned": 1, "returned_too": 2}),
        site.ask("a", "delete", "returned"),
        site.ask("a", "delete", "returned"),
        site.ask("a", "delete_many", ["returned_too", "never_there"]),
        site.ask("a", "clear"),
    ]


@scene("`add()`, `touch()`, `has_key()`")
def answers(site):
    return [
        site.ask("a", "add", "there", 1, 60),
        site.ask("a", "add", "there", 2, 60),
        site.ask("a", "touch", "there", 90),
        site.ask("a", "touch", "not_there"),
        site.ask("a", "has_key", "there"),
        site.ask("a", "has_key", "not_there"),
        site.ask("a", "get", "there"),
    ]


@scene("timeouts: seconds, `None`, 0, negative, the default")
def timeouts(site):
    site.ask("a", "set", "seconds", 1, 3)
    site.ask("a", "set", "for_ever", 2, None)
    site.ask("a", "set", "default", 3)
    site.ask("a", "set", "zero", 4, 5)
    site.ask("a", "set", "zero", 4, 0)
    site.ask("a", "set", "negative", 5, -1)
    names = ["seconds", "for_ever", "default", "zero", "negative"]
    seen = [site.ask("a", "get", name) for name in names]
    for seconds in (4, 297):
        site.move(seconds)
        seen += [site.ask("a", "get", name) for name in names]
    return seen


@scene("an entry that expires while a worker has a copy")
def lives(site):
    site.ask("a", "set", "short", "alive", 8)
    if site.ask("b", "get", "short") == "None":
        site.ask("b", "set", "short", "alive", 8)
    site.move(7)
    seen = [site.ask("b", "get", "short")]
    site.move(2)
    return [*seen, site.ask("b", "get", "short")]


@scene("timeouts of parts of a second")
def fractions(site):
    site.ask("a", "set", "fraction", 1, 2.5)
    seen = []
    for seconds in (1.8, 0.4, 0.5):
        site.move(seconds)
        seen.append(site.ask("a", "get", "fraction"))
    return seen


@scene("types of values")
def types(site):
    values = [1, -1.5, True, "text", "", b"bytes", (1, 2), [1, 2], {"a": (1,)}, {1}, 0, False]
    for number, value in enumerate(values):
        site.ask("a", "set", f"type:{number}", value)
    return [site.ask("a", "get", f"type:{number}") for number in range(len(values)) for _ in range(2)]


@scene("`None` as a value")
def nothing(site):
    site.ask("a", "set", "none", None)
    return [site.ask("a", "get", "none", "default"), site.ask("a", "get_many", ["none"]), site.ask("a", "has_key", "none")]


@scene("changing an object that `get()` returned")
def mutation(site):
    site.ask("a", "set", "list", ["stored"])
    return [site.get("a", "/mutate/list/"), site.get("a", "/mutate/list/"), site.ask("a", "get", "list")]


@scene("objects that cannot be pickled")
def unpicklable(site):
    return [site.ask("a", "set", "odd", "Unpicklable()"), site.ask("a", "get", "odd")]


@scene("keys with spaces, keys of more than 250 characters")
def keys(site):
    return [site.ask("a", "set", "with a space", 1), site.ask("a", "set", LONG, 1), site.ask("a", "get", LONG)]


@scene("keys that are not strings")
def numbers(site):
    site.ask("a", "set", 7, "seven")
    site.ask("a", "set", True, "true")
    return [site.ask("a", "get", key) for key in (7, "7", True, "True", 1)]


@scene("versions of keys")
def versions(site):
    site.ask("a", "set", "versioned", "one")
    site.ask("a", "set", "versioned", "two", version=2)
    return [
        site.ask("a", "get", "versioned"),
        site.ask("a", "get", "versioned", version=2),
        site.ask("a", "delete", "versioned", version=2),
        site.ask("a", "incr_version", "versioned"),
        site.ask("a", "get", "versioned"),
        site.ask("a", "get", "versioned", version=2),
        site.ask("a", "incr_version", "never_there"),
    ]


@scene("`incr()` leaves the expiry as it is")
def incr_expiry(site):
    site.ask("a", "set", "counter", 1, 8)
    site.move(5)
    seen = [site.ask("a", "incr", "counter")]
    site.move(4)
    return [*seen, site.ask("a", "get", "counter")]


@scene("`ttl()`, `keys()`, `delete_pattern()`, `expire()`")
def patterns(site):
    site.ask("a", "set_many", {"user:1": 1, "user:2": 2, "other": 3}, 60)
    return [
        site.ask("a", "get", "user:1"),
        site.ask("a", "ttl", "user:1"),
        site.ask("a", "keys", "user:1"),
        site.ask("a", "delete_pattern", "user:*"),
        site.ask("a", "get", "user:1"),
        site.ask("a", "get", "other"),
        site.ask("a", "expire", "other", 0),
        site.ask("a", "get", "other"),
    ]


@scene("`lock()`")
def locks(site):
    return [site.get("a", "/orders/5/")]


@scene("`set(key, value, nx=True)`")
def conditional(site):
    site.ask("a", "set", "conditional", 1)
    return [site.ask("a", "set", "conditional", 2, nx=True), site.ask("a", "get", "conditional")]


@scene("`get(key, client=...)`")
def with_client(site):
    site.ask("a", "set", "by_client", 1)
    return [site.ask("a", "get", "by_client", client=None)]


@scene("`get_redis_connection()`")
def connection(site):
    site.ask("a", "set", "raw", 1)
    seen = [site.ask("a", "get", "raw"), site.post("a", "/raw/raw/"), site.ask("a", "get", "raw")]
    site.move(5)
    return [*seen, site.ask("a", "get", "raw")]


@scene("`hset()`, `sadd()`")
def structures(site):
    return [site.ask("a", "hset", "hash", "field", 1), site.ask("a", "sadd", "set", "member")]


@scene('code that uses `caches["local"]`')
def local(site):
    return [site.post("a", "/local/clear/")]


@scene("`stats()`")
def stats(site):
    return [site.ask("a", "stats").partition("(")[0]]


@scene("more entries than `MAX_ENTRIES`")
def eviction(site):
    site.ask("a", "set_many", {f"many:{number}": number for number in range(1200)})
    found = [site.ask("a", "has_key", f"many:{number}") == "True" for number in range(0, 1200, 100)]
    return [site.ask("a", "get", "many:1199"), f"{sum(found)} of 12"]


@scene("a restart, a deploy")
def restart(site):
    site.ask("a", "set", "kept", "kept")
    site.restart()
    return [site.ask("a", "get", "kept"), site.ask("b", "get", "kept")]


@scene("a stored value that no longer decodes")
def undecodable(site):
    site.write_raw(":1:broken", b"no pickle")
    return [site.ask("a", "get", "broken", "default")]


@scene("`clear()`")
def clear(site):
    site.write_raw("somebody else's", b"1")
    site.ask("a", "set", "cleared", 1)
    site.ask("b", "get", "cleared")
    site.ask("a", "clear")
    return [site.ask("a", "get", "cleared"), *site.raw_keys()]


def run(site):
    """The answers of all scenes, each on an empty server."""
    answers = {}
    for title, function in SCENES.items():
        site.flush()
        site.move(10_000)  # nothing of the last scene is left
        answers[title] = function(site)
    return answers
