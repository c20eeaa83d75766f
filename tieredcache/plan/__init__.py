"""What a local tier would save, and which reads would be stale, from a site's traffic, which can be recorded by the site."""

from tieredcache.plan.recorder import TraceRecorder, trace_middleware

__all__ = ["TraceRecorder", "trace_middleware"]
