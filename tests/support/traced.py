"""What a tool sees of the same calls over the remote alone and through a tier: ``python -m tests.support.traced TOOL URL``.

In a process of its own, because these tools patch Django and the client for good. Prints, as JSON, what was seen of each way
to call each alias: the calls to either cache, by their keys, and the commands to the server.
"""

import asyncio
import json
import os
import sys

import django
from django.conf import settings


def use(cache):
    cache.set("a", "value", 60)
    for _ in range(3):
        cache.get("a")
    cache.get_many(["a", "b"])
    cache.delete("a")


async def ause(cache):
    await cache.aset("a", "value", 60)
    for _ in range(3):
        await cache.aget("a")
    # Not aget_many: Django 6.1's fails over any cache whose get_many Sentry has wrapped.
    await cache.adelete("a")


def sentry():
    """Its spans in a transaction. It takes LOCATION for the cache's address, and notes whether a read was a hit."""
    import sentry_sdk
    from sentry_sdk.integrations.django import DjangoIntegration

    events = []
    sentry_sdk.init(
        dsn="http://key@127.0.0.1/1",
        traces_sample_rate=1.0,
        integrations=[DjangoIntegration(cache_spans=True)],
        before_send_transaction=lambda event, hint: events.append(event),
    )

    def seen(call):
        with sentry_sdk.start_transaction(name="calls"):
            call()
        spans = events.pop()["spans"]
        calls = [
            ("tier" if span["data"]["network.peer.address"] == "remote" else "remote", span["description"])
            for span in spans
            if span["origin"] == "auto.http.django" and span["data"].get("cache.hit", True)
        ]
        return calls, [span["description"] for span in spans if span["op"] == "db.redis"]

    return seen


def datadog():
    """Its spans of caches and of the client."""
    import ddtrace
    from ddtrace.trace import TraceFilter, tracer

    spans = []

    class Keep(TraceFilter):
        def process_trace(self, trace):
            spans.extend(trace)

    tracer.configure(trace_processors=[Keep()])
    ddtrace.config.django.instrument_caches = True
    ddtrace.patch(django=True, redis=True)

    def seen(call):
        spans.clear()
        with tracer.trace("calls"):
            call()
        calls = [
            ("tier" if "tieredcache" in span.get_tag("django.cache.backend") else "remote", span.get_tag("django.cache.key"))
            for span in spans
            if span.name == "django.cache"
        ]
        return calls, [span.resource for span in spans if span.name == "redis.command"]

    return seen


def opentelemetry():
    """The spans of the client's instrumentation."""
    from opentelemetry.instrumentation.redis import RedisInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    RedisInstrumentor().instrument(tracer_provider=provider)

    def seen(call):
        exporter.clear()
        call()
        return [], [span.name for span in exporter.get_finished_spans()]

    return seen


def main(tool, url):
    seen = {"sentry": sentry, "datadog": datadog, "opentelemetry": opentelemetry}[tool]()
    settings.configure(
        CACHES={
            "default": {"BACKEND": "tieredcache.backends.TieredCache", "LOCATION": "remote"},
            "remote": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url},
        }
    )
    django.setup()
    from django.core.cache import caches

    found = {}
    for alias in ("remote", "default"):
        found[alias] = seen(lambda alias=alias: use(caches[alias]))
        found[f"async {alias}"] = seen(lambda alias=alias: asyncio.run(ause(caches[alias])))
    print(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)  # not as usual: these tools would first try to send what they have, and there is nobody to send it to


if __name__ == "__main__":
    main(*sys.argv[1:])
