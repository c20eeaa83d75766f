"""The monotonic clock of the whole package, the same in tests whose time is frozen.

freezegun replaces ``time.monotonic`` wherever a module holds it, by a clock of another scale: what was stored before would
be expired inside, and what is stored inside would be served for years. So this is the function of another instance of the
module ``time``, which freezegun does not know, and which costs a hit nothing. Any other replacement is respected.
"""

import time
from collections.abc import Callable
from importlib.util import find_spec, module_from_spec

clock: Callable[[], float] = time.monotonic
if getattr(clock, "__module__", "") in {"time", "freezegun.api"} and (_spec := find_spec("time")) and _spec.loader:
    _time = module_from_spec(_spec)
    _spec.loader.exec_module(_time)
    clock = _time.monotonic
