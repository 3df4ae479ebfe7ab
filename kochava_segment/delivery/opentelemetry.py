"""Attempts as OpenTelemetry spans, deliveries as its metrics: a hook, with or without the receiver."""

from __future__ import annotations

import time
from collections.abc import Iterable
from importlib.metadata import version
from urllib.parse import urlsplit

try:
    from opentelemetry import metrics, trace
except ModuleNotFoundError as error:
    detail = "OpenTelemetryHook needs an extra: pip install 'kochava-segment[opentelemetry]'"
    raise ModuleNotFoundError(detail, name=error.name) from None

from kochava_segment.delivery.answer import Verdict
from kochava_segment.delivery.instrumentation import (
    AttemptEvent,
    OutcomeEvent,
    RetryScheduledEvent,
)

_SCOPE = "kochava_segment"
_OTHER = "other"
_NANOSECONDS = 1_000_000_000
_PORTS = {"http": 80, "https": 443}
# OpenTelemetry's own advice for `http.client.request.duration`.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_SECONDS_WITH_WAITS = (0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0, 86400.0)

_Attributes = dict[str, "str | int"]


class OpenTelemetryHook:
    """Makes a client span of each attempt, and measures attempts, retries and deliveries.

        hook = OpenTelemetryHook(app_guids=["koexample"])
        KochavaDestination("koexample", hooks=[LoggingHook(), hook])

    Names and attributes are those of OpenTelemetry's semantic conventions for HTTP clients; what is
    our own begins with `kochava_segment.`. A span's parent is the span that is current where the
    attempt is made: that of the caller for `send`; none in the threads of `send_many` and relays.
    Nothing is propagated: Kochava gets no `traceparent`.

    Args:
        tracer_provider: Where spans go; by default the global one.
        meter_provider: Where measurements go; by default the global one.
        app_guids: The App GUIDs that become attributes; all others are "other", since a message can
            name any.
    """

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        *,
        app_guids: Iterable[str] = (),
    ) -> None:
        self._app_guids = frozenset(app_guids)
        ours = version("kochava-segment")
        self._tracer = trace.get_tracer(_SCOPE, ours, tracer_provider)
        meter = metrics.get_meter(_SCOPE, ours, meter_provider)
        self._attempt_seconds = meter.create_histogram(
            "http.client.request.duration",
            "s",
            "Seconds until Kochava answered, or until no answer was expected any more.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._retries = meter.create_counter(
            "kochava_segment.retries",
            "{attempt}",
            "Attempts that failed and are followed by another.",
        )
        self._deliveries = meter.create_counter(
            "kochava_segment.deliveries",
            "{delivery}",
            "Deliveries that have ended: accepted, or the name of the delivery error.",
        )
        self._delivery_seconds = meter.create_histogram(
            "kochava_segment.delivery.duration",
            "s",
            "Seconds that a delivery took, waits between attempts included.",
            explicit_bucket_boundaries_advisory=_SECONDS_WITH_WAITS,
        )

    def attempt(self, event: AttemptEvent) -> None:
        """Make a span of an attempt, which has just ended, and measure it."""
        ended = time.time_ns()
        url = urlsplit(event.url)
        http: _Attributes = {
            "http.request.method": "POST",
            "server.address": url.hostname or "",
            "server.port": url.port or _PORTS.get(url.scheme, 0),
        }
        if event.status is not None:
            http["http.response.status_code"] = event.status
        failure = _error_type(event)
        if failure is not None:
            http["error.type"] = failure
        self._attempt_seconds.record(event.elapsed, http)

        own: _Attributes = {
            "url.full": f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}",
            "kochava_segment.action": event.action,
            "kochava_segment.app": self._app(event.app_guid),
        }
        if event.message_id is not None:
            own["kochava_segment.message_id"] = event.message_id
        if event.attempt > 1:
            own["http.request.resend_count"] = event.attempt - 1
        span = self._tracer.start_span(
            f"POST {url.path}".rstrip(),
            kind=trace.SpanKind.CLIENT,
            attributes={**http, **own},
            start_time=ended - int(event.elapsed * _NANOSECONDS),
        )
        if failure is not None:
            span.set_status(trace.StatusCode.ERROR, event.detail)
        span.end(ended)

    def retry_scheduled(self, event: RetryScheduledEvent) -> None:
        """Count a retry."""
        self._retries.add(1, self._of(event))

    def outcome(self, event: OutcomeEvent) -> None:
        """Count an outcome, and measure how long it took."""
        self._deliveries.add(1, {**self._of(event), "kochava_segment.outcome": event.outcome})
        self._delivery_seconds.record(event.elapsed, {"kochava_segment.outcome": event.outcome})

    def _of(self, event: RetryScheduledEvent | OutcomeEvent) -> _Attributes:
        return {
            "kochava_segment.action": event.action,
            "kochava_segment.app": self._app(event.app_guid),
        }

    def _app(self, guid: str | None) -> str:
        return guid if guid is not None and guid in self._app_guids else _OTHER


def _error_type(event: AttemptEvent) -> str | None:
    """What went wrong, as one of few words; None where nothing did."""
    if event.status is None:
        return "answer_lost" if event.maybe_sent else "not_reached"
    if event.detail == Verdict.ACCEPTED:
        return None
    return "rejected" if event.status < 300 else str(event.status)
