"""A small site that counts, and is scraped: run by real gunicorn and uvicorn workers."""
