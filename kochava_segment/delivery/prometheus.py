"""Deliveries as Prometheus metrics: a hook, with or without the receiver."""

from __future__ import annotations

from collections.abc import Iterable

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
except ModuleNotFoundError as error:
    detail = "PrometheusHook needs an extra: pip install 'kochava-segment[metrics]'"
    raise ModuleNotFoundError(detail, name=error.name) from None

from kochava_segment.delivery.instrumentation import (
    AttemptEvent,
    OutcomeEvent,
    RetryScheduledEvent,
)

OTHER = "other"
"""The label of apps that were not configured: a message can name any."""

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SECONDS_WITH_WAITS = (0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0, 86400.0)


class PrometheusHook:
    """Counts attempts, retries and outcomes.

        hook = PrometheusHook(app_guids=["koexample"])
        KochavaDestination("koexample", hooks=[LoggingHook(), hook])

    Every label has few values: actions and outcomes are words of this library, statuses those of
    HTTP, and apps those that were named.

    Args:
        registry: Where the metrics are registered; by default prometheus_client's own.
        app_guids: The App GUIDs that become labels; all others are "other".

    Attributes:
        registry: As above.
        app_guids: As above; may be added to.
    """

    def __init__(
        self, registry: CollectorRegistry = REGISTRY, app_guids: Iterable[str] = ()
    ) -> None:
        self.registry: CollectorRegistry = registry
        self.app_guids: set[str] = set(app_guids)
        self._attempts = Counter(
            "kochava_segment_attempts",
            "Requests that were posted to Kochava, by HTTP status (none: no answer came).",
            ("app", "action", "status"),
            registry=registry,
        )
        self._attempt_seconds = Histogram(
            "kochava_segment_attempt_seconds",
            "Seconds until Kochava answered, or until no answer was expected any more.",
            ("action",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._retries = Counter(
            "kochava_segment_retries",
            "Attempts that failed and are followed by another.",
            ("app", "action"),
            registry=registry,
        )
        self._deliveries = Counter(
            "kochava_segment_deliveries",
            "Deliveries that have ended: accepted, or the name of the delivery error.",
            ("app", "action", "outcome"),
            registry=registry,
        )
        self._delivery_seconds = Histogram(
            "kochava_segment_delivery_seconds",
            "Seconds that a delivery took, waits between attempts included.",
            ("outcome",),
            buckets=_SECONDS_WITH_WAITS,
            registry=registry,
        )

    def attempt(self, event: AttemptEvent) -> None:
        """Count an attempt."""
        status = "none" if event.status is None else str(event.status)
        self._attempts.labels(self._app(event.app_guid), event.action, status).inc()
        self._attempt_seconds.labels(event.action).observe(event.elapsed)

    def retry_scheduled(self, event: RetryScheduledEvent) -> None:
        """Count a retry."""
        self._retries.labels(self._app(event.app_guid), event.action).inc()

    def outcome(self, event: OutcomeEvent) -> None:
        """Count an outcome."""
        self._deliveries.labels(self._app(event.app_guid), event.action, event.outcome).inc()
        self._delivery_seconds.labels(event.outcome).observe(event.elapsed)

    def _app(self, guid: str | None) -> str:
        return guid if guid in self.app_guids and guid is not None else OTHER
