"""How many Python frames of the package one read takes: ``python -m benchmarks.micro.frames [--list]``, a second.

Two reads of lists, over django-redis on a real server: a ``get`` that the local tier cannot answer, and a ``get_many`` with
one hit and two keys that it has not. A frame is one call; a generator or a comprehension that is one counts once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.micro.caches import DJANGO_REDIS, set_up, tiered
from benchmarks.micro.command import options
from tests.support import servers

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

PACKAGE = str(Path(__file__).resolve().parents[2] / "tieredcache")
MOST = {
    "get, a miss": 19,
    "get_many, one hit and two missing": 42,
    "get, a miss, with PREFETCH": 27,
    "get_many, one hit and two missing, with PREFETCH": 52,
}
"""What is promised."""


def frames(call: Callable[[], Any]) -> list[str]:
    """The frames of the package that ``call`` runs in, in the order in which they begin."""
    seen: list[FrameType] = []  # held, so that no other frame gets the id of one of them

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE) and frame not in seen:
            seen.append(frame)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return [
        f"{Path(frame.f_code.co_filename).relative_to(PACKAGE)}:{frame.f_code.co_firstlineno} {frame.f_code.co_qualname}"
        for frame in seen
    ]


def main() -> int:
    """Count and print them; 1 where there are more than promised."""
    parser = options(__doc__)
    parser.add_argument("--list", action="store_true", help="name each of them")
    arguments = parser.parse_args()
    with servers.valkey() as url:
        remote = {"BACKEND": DJANGO_REDIS, "LOCATION": f"{url}/1"}
        caches = set_up({"default": tiered(PREFETCH=0), "prefetching": tiered(), "remote": remote})
        keys, counted = ["hit", "first", "second"], {}
        for alias, what in (("default", ""), ("prefetching", ", with PREFETCH")):
            cache: Any = caches[alias]
            for key in keys:
                cache.set(key, [key])
                cache.get(key)  # once before: what is found out with the first read is not part of the others
            cache.local.clear()
            counted[f"get, a miss{what}"] = frames(lambda: cache.get("hit"))  # noqa: B023 - called at once
            counted[f"get_many, one hit and two missing{what}"] = frames(lambda: cache.get_many(keys))  # noqa: B023
        caches.close_all()
    for name, found in counted.items():
        print(f"{name}: {len(found)} frames, at most {MOST[name]} promised")
        if arguments.list:
            print("".join(f"    {frame}\n" for frame in found), end="")
    return int(any(len(found) > MOST[name] for name, found in counted.items()))


if __name__ == "__main__":
    sys.exit(main())
