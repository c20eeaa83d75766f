"""The settings: what ``CACHES`` may say, and the one local tier that each configuration has in this process."""
