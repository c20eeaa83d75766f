import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.ryw.site")

from django.core.asgi import get_asgi_application

application = get_asgi_application()
