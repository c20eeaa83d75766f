"""The demo: real tables, a real server, several workers."""
