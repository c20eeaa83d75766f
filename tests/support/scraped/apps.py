from django.apps import AppConfig


class ScrapedConfig(AppConfig):
    name = "tests.support.scraped"

    def ready(self):
        from tieredcache.metrics import prometheus

        prometheus.register()
