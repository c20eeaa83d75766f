"""``manage.py tieredcache plan``: what a local tier would save, and which reads would be stale, from its traffic."""

from tieredcache.plan.command import add_arguments, run
from tieredcache.plan.events import PlanError
from tieredcache.plan.monitor import error_name

__all__ = ["PlanError", "add_arguments", "error_name", "run"]
