"""The figures of ``cache.stats()`` for monitoring systems: a module for each, for projects that use it to import."""
