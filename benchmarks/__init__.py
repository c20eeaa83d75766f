"""Measurements: of single calls (``micro``), of whole traffic (``load``), and what the documentation shows (``figures``)."""
