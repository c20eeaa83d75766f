"""``manage.py tieredcache plan``: what a local tier would save, and which reads would be stale, from its traffic."""

from tieredcache.plan.command import add_arguments, run
from tieredcache.plan.events import PlanError

__all__ = ["PlanError", "add_arguments", "run"]
