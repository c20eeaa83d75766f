"""The figures of ``cache.stats()`` for monitoring systems: a module for each, to be imported by those who use it."""
