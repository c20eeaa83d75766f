"""Whole traffic: pages, visitors, expiries, outages."""
