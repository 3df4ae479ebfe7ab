"""Spans and metrics of each delivery, with OpenTelemetry: here printed, in production exported.

Needs `pip install 'kochava-segment[opentelemetry]' opentelemetry-sdk`. In production, take the OTLP
exporters in place of those to the console, or start the program with `opentelemetry-instrument` and
leave the providers out: the hook then uses the global ones.
"""

from __future__ import annotations

import os

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

from kochava_segment import KochavaDestination, LoggingHook
from kochava_segment.delivery.opentelemetry import OpenTelemetryHook


def main() -> None:
    """Send one event to where KOCHAVA_SEGMENT_* variables say, within a span of our own."""
    resource = Resource.create({"service.name": "shop-backend"})
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter()))
    reader = PeriodicExportingMetricReader(ConsoleMetricExporter())
    meters = MeterProvider([reader], resource=resource)

    app_guid = os.environ["KOCHAVA_SEGMENT_APP_GUID"]
    hook = OpenTelemetryHook(tracers, meters, app_guids=[app_guid])
    # The list replaces the default hook, so that it is named as well.
    with (
        KochavaDestination.from_env(hooks=[LoggingHook(), hook]) as kochava,
        tracers.get_tracer("shop").start_as_current_span("level complete"),
    ):
        kochava.send({"type": "track", "event": "Level Complete", "anonymousId": "a-1"})
    meters.shutdown()
    tracers.shutdown()


if __name__ == "__main__":
    main()
