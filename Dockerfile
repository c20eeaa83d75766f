# The demo shop: what docker-compose.yml starts in several ways.
FROM python:3.13.5-slim-bookworm
WORKDIR /shop
RUN pip install --no-cache-dir "pip>=25.1"
COPY pyproject.toml README.md LICENSE ./
COPY tieredcache tieredcache
COPY example_project example_project
RUN pip install --no-cache-dir . --group demo --group asgi
RUN mkdir /data && useradd --create-home shop && chown shop /data
USER shop
ENV DJANGO_SETTINGS_MODULE=example_project.settings PYTHONUNBUFFERED=1
EXPOSE 8000
CMD ["python", "-m", "gunicorn", "example_project.wsgi", "--bind", "0.0.0.0:8000", "--workers", "2"]
