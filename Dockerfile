# The demo shop: what docker-compose.yml starts in several ways.
FROM python:3.13.5-slim-bookworm
RUN mkdir /data && useradd --uid 10001 --create-home shop && chown shop /data
WORKDIR /shop
RUN pip install --no-cache-dir "pip>=25.1"
# What it needs comes before its code, so that an edit installs nothing again: the code is imported from here.
COPY pyproject.toml README.md LICENSE ./
RUN mkdir tieredcache && touch tieredcache/__init__.py && pip install --no-cache-dir --editable . --group demo --group asgi
COPY tieredcache tieredcache
COPY example_project example_project
RUN python -m compileall -q tieredcache example_project
# By number: only so can an orchestrator tell that it is not root.
USER 10001
ENV DJANGO_SETTINGS_MODULE=example_project.settings PYTHONUNBUFFERED=1
EXPOSE 8000
# A page that reads next to nothing: the visitors' own do not wait for it.
HEALTHCHECK --interval=5s --timeout=3s --retries=12 --start-period=60s --start-interval=500ms \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/basket/')"]
CMD ["python", "-m", "gunicorn", "example_project.wsgi", "--bind", "0.0.0.0:8000", "--workers", "2"]
