"""A small site: post a value, be redirected, see it. Run by real gunicorn and uvicorn workers."""
