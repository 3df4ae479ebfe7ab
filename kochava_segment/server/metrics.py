"""`/metrics`: what was received, answered and delivered, and what waits, for Prometheus."""

from __future__ import annotations

import asyncio
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from kochava_segment.delivery.outbox_inspection import OutboxDepth
from kochava_segment.delivery.prometheus import PrometheusHook
from kochava_segment.destination import KochavaDestination
from kochava_segment.errors import OutboxError
from kochava_segment.outcome import Outcome, OutcomeKind
from kochava_segment.segment.tracking import SegmentTracking
from kochava_segment.server.status import CountedDepth, OneAtATime

_COUNTED_WITHIN = 4.0  # seconds
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The metrics of one application, in a registry of its own.

    Those of the destination's PrometheusHook, if it has one, are exposed with them.

    Args:
        destination: Whose outbox and hooks are looked at.
        tracking: The queue towards Segment, if there is one.
        depth: Counts what waits in the destination's outbox.

    Attributes:
        registry: Where they are.
        listeners: Are told of what became of messages as well.
    """

    def __init__(
        self,
        destination: KochavaDestination,
        tracking: SegmentTracking | None,
        depth: CountedDepth,
    ) -> None:
        self.registry = CollectorRegistry()
        self.listeners: list[Callable[[Sequence[Outcome]], object]] = []
        self._registries = [self.registry]
        options = destination.options
        for hook in options.hooks:
            if isinstance(hook, PrometheusHook):
                hook.app_guids |= {*filter(None, [options.app_guid]), *options.app_guids.values()}
                self._registries.append(hook.registry)
        self._received = Counter(
            "kochava_segment_received",
            "Messages from Segment, by what became of them, and why they were filtered.",
            ("outcome", "reason"),
            registry=self.registry,
        )
        self._postbacks = Counter(
            "kochava_segment_postbacks",
            "Install postbacks from Kochava, by what became of them.",
            ("outcome",),
            registry=self.registry,
        )
        self._answers = Counter(
            "kochava_segment_http_requests",
            "HTTP requests, by endpoint and status.",
            ("endpoint", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "kochava_segment_http_seconds",
            "Seconds until an HTTP request was answered.",
            ("endpoint",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._queues = _Queues(destination, tracking, depth)
        self.registry.register(self._queues)
        self._count = OneAtATime(self._queues.count)

    def received(self, outcomes: Sequence[Outcome]) -> None:
        """Count what became of messages."""
        for (kind, reason), count in Counts(map(_label, outcomes)).items():
            self._received.labels(kind, reason).inc(count)
        for listener in self.listeners:
            listener(outcomes)

    def postback(self, outcome: Outcome) -> None:
        """Count what became of a postback."""
        self._postbacks.labels(outcome.kind.value).inc()

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._answers.labels(endpoint, str(status)).inc()
        self._seconds.labels(endpoint).observe(seconds)

    async def exposed(self, _request: Request) -> Response:
        """Answer with all of them; without the outbox where it cannot be counted in time."""
        try:
            await self._count.get(_COUNTED_WITHIN)
        except (OutboxError, asyncio.TimeoutError):
            self._queues.forget()
        text = b"".join(generate_latest(registry) for registry in self._registries)
        return Response(text, media_type=_CONTENT_TYPE)


def _label(outcome: Outcome) -> tuple[str, str]:
    # Other reasons than those of filters are sentences, of which there are too many for labels.
    reason = outcome.reason if outcome.kind is OutcomeKind.FILTERED else ""
    return outcome.kind.value, reason or ""


class _Queues(Collector):
    """What waits, as gauges that are read when they are asked for."""

    def __init__(
        self,
        destination: KochavaDestination,
        tracking: SegmentTracking | None,
        depth: CountedDepth,
    ) -> None:
        self._destination = destination
        self._tracking = tracking
        self._counted = {"kochava": depth}
        if tracking is not None:
            self._counted["segment"] = CountedDepth(tracking.outbox)
        self._found: dict[str, OutboxDepth] = {}

    def count(self) -> None:
        """Count. Blocks."""
        self._found = {queue: counted.get() for queue, counted in self._counted.items()}

    def forget(self) -> None:
        """Expose nothing: what was counted is too old, or not so any more."""
        self._found = {}

    def describe(self) -> Iterable[Metric]:
        """Nothing to describe before it was counted."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The gauges."""
        found = self._found
        requests = _gauge(
            "outbox_requests", "Requests that wait or have failed, by state.", "state"
        )
        oldest = _gauge("outbox_oldest_seconds", "Seconds that the oldest request has waited.")
        used = _gauge("outbox_bytes", "Bytes of the outbox file that are used.")
        paused = _gauge(
            "outbox_paused_apps", "Apps that wait since their credentials were refused."
        )
        for queue, depth in found.items():
            for state, count in depth.states.items():
                requests.add_metric([queue, state], count)
            oldest.add_metric([queue], depth.oldest_age or 0.0)
            used.add_metric([queue], depth.used_bytes)
            paused.add_metric([queue], len(depth.paused))
        yield from (requests, oldest, used, paused)
        alive = _gauge("relay_alive", "Whether the relay runs in this process.")
        if self._destination.options.relay:
            alive.add_metric(["kochava"], self._destination.relay_alive)
        if self._tracking is not None:
            alive.add_metric(["segment"], self._tracking.relay_alive)
        yield alive
        limit = GaugeMetricFamily(
            "kochava_segment_rate_limit",
            "Requests a second that the relay posts at most; +Inf where nothing limits it.",
        )
        current = self._destination.relay_rate
        limit.add_metric([], float("inf") if current is None else current)
        yield limit


def _gauge(name: str, help_: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"kochava_segment_{name}", help_, labels=("queue", *labels))
