"""The monotonic clock of the whole package, the same in tests whose time is frozen.

freezegun puts another function in the place of ``time.monotonic`` wherever a module holds it. Its times are of another
scale: what was stored before would be expired inside, and what is stored inside would be served for as long as the process
lives. So this is the function of another instance of the module ``time``, which freezegun does not know, and which costs a
hit nothing.
"""

from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from time import monotonic as clock
else:
    _spec = find_spec("time")
    _time = module_from_spec(_spec)
    _spec.loader.exec_module(_time)
    clock = _time.monotonic
