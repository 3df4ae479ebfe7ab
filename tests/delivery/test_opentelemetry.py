"""Spans and measurements as OpenTelemetry's own SDK exports them, of real requests to the emulator."""

import asyncio
import subprocess
import sys
import time

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from kochava_segment import (
    AsyncKochavaDestination,
    AttemptEvent,
    CredentialsRejected,
    DeliveryError,
    KochavaDestination,
    Rejected,
    RetriesExhausted,
)
from kochava_segment.delivery.opentelemetry import OpenTelemetryHook
from kochava_segment.emulator import Faults
from tests.messages import ios

APP = "koexample-app-guid"
QUICK = {"max_attempts": 2, "base": 0, "cap": 0}


class Exported:
    """An SDK whose spans and metrics stay in memory, and the hook that gives them to it."""

    def __init__(self):
        self._spans, self._metrics = InMemorySpanExporter(), InMemoryMetricReader()
        tracers, meters = TracerProvider(), MeterProvider([self._metrics])
        tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.tracer = tracers.get_tracer("app")
        self.hook = OpenTelemetryHook(tracers, meters, app_guids=[APP])

    @property
    def spans(self):
        return self._spans.get_finished_spans()

    @property
    def points(self):
        """The points of each metric, with what was counted or how often."""
        data = self._metrics.get_metrics_data()
        found = {}
        for metric in data.resource_metrics[0].scope_metrics[0].metrics:
            for point in metric.data.data_points:
                count = point.count if hasattr(point, "count") else point.value
                found.setdefault(metric.name, []).append((dict(point.attributes), count))
        return found


@pytest.fixture
def exported():
    return Exported()


@pytest.fixture
def kochava(kochava_emulator, exported):
    options = {"endpoint": kochava_emulator.url, "retry": QUICK, "hooks": [exported.hook]}
    with KochavaDestination(APP, **options) as kochava:
        yield kochava


def test_an_attempt_is_a_client_span_as_the_conventions_want_it(
    kochava, kochava_emulator, exported
):
    before = time.time_ns()
    kochava.send(ios())
    after = time.time_ns()
    (span,) = exported.spans
    assert (span.name, span.kind, span.parent) == ("POST /track/json", SpanKind.CLIENT, None)
    assert dict(span.attributes) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": kochava_emulator.port,
        "url.full": f"{kochava_emulator.url}/track/json",
        "kochava_segment.action": "event",
        "kochava_segment.app": APP,
        "kochava_segment.message_id": "m-1",
    }
    assert span.status.status_code is StatusCode.UNSET
    assert before <= span.start_time < span.end_time <= after
    assert span.instrumentation_scope.name == "kochava_segment"


def test_the_caller_s_span_is_the_parent(kochava, exported):
    with exported.tracer.start_as_current_span("checkout") as parent:
        kochava.send(ios())
    attempt, _ = exported.spans
    assert attempt.parent.span_id == parent.get_span_context().span_id
    assert attempt.context.trace_id == parent.get_span_context().trace_id


def test_the_caller_s_span_is_the_parent_in_an_event_loop(kochava_emulator, exported):
    async def send():
        options = {"endpoint": kochava_emulator.url, "hooks": [exported.hook]}
        async with AsyncKochavaDestination(APP, **options) as kochava:
            with exported.tracer.start_as_current_span("checkout"):
                await kochava.send(ios())

    asyncio.run(send())
    attempt, parent = exported.spans
    assert attempt.parent.span_id == parent.context.span_id


def test_each_attempt_has_its_span_and_retries_are_counted(kochava, kochava_emulator, exported):
    kochava_emulator.faults = Faults(script=("503",))
    kochava.send(ios())
    failed, accepted = exported.spans
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.attributes["error.type"] == "503"
    assert "http.request.resend_count" not in failed.attributes
    assert accepted.attributes["http.request.resend_count"] == 1
    assert "error.type" not in accepted.attributes
    of = {"kochava_segment.action": "event", "kochava_segment.app": APP}
    assert exported.points["kochava_segment.retries"] == [(of, 1)]
    accepted = {**of, "kochava_segment.outcome": "accepted"}
    assert exported.points["kochava_segment.deliveries"] == [(accepted, 1)]


@pytest.mark.parametrize(
    ("fault", "error", "kind"),
    [
        ("401", CredentialsRejected, "401"),
        ("302", Rejected, "302"),
        ("success-zero", Rejected, "rejected"),
        ("reset-after-reading", DeliveryError, "answer_lost"),
    ],
)
def test_what_fails_says_how(kochava, kochava_emulator, exported, fault, error, kind):
    kochava_emulator.faults = Faults(script=(fault, fault))
    with pytest.raises(error) as caught:
        kochava.send(ios())
    span = exported.spans[-1]
    assert span.attributes["error.type"] == kind
    assert span.status.status_code is StatusCode.ERROR
    deliveries = exported.points["kochava_segment.deliveries"]
    assert [attributes["kochava_segment.outcome"] for attributes, _ in deliveries] == [
        type(caught.value).__name__
    ]


def test_what_never_arrives_has_no_status(exported):
    options = {"endpoint": "http://127.0.0.1:9", "retry": QUICK, "hooks": [exported.hook]}
    with KochavaDestination(APP, **options) as kochava, pytest.raises(RetriesExhausted):
        kochava.send(ios())
    for span in exported.spans:
        assert span.attributes["error.type"] == "not_reached"
        assert "http.response.status_code" not in span.attributes
        assert "was not reached" in span.status.description


def test_a_relay_tells_where_it_posts_today(kochava_emulator, exported, tmp_path):
    path = tmp_path / "outbox.sqlite3"
    with KochavaDestination(APP, outbox=path, relay=False) as before:
        before.enqueue(ios())  # for the endpoint of Kochava
    options = {"endpoint": kochava_emulator.url, "outbox": path, "hooks": [exported.hook]}
    with KochavaDestination(APP, **options) as kochava:
        assert kochava.flush(20).pending == 0
    (span,) = exported.spans
    assert span.attributes["url.full"] == f"{kochava_emulator.url}/track/json"
    assert [count for _, count in exported.points["kochava_segment.deliveries"]] == [1]


def test_durations_are_measured_in_seconds_with_the_conventions_buckets(kochava, exported):
    kochava.send(ios())
    kochava.send(ios(messageId="m-2"))
    ((attributes, count),) = exported.points["http.client.request.duration"]
    assert count == 2
    assert set(attributes) == {
        "http.request.method",
        "http.response.status_code",
        "server.address",
        "server.port",
    }
    ((attributes, count),) = exported.points["kochava_segment.delivery.duration"]
    assert (attributes, count) == ({"kochava_segment.outcome": "accepted"}, 2)


def test_kochava_gets_no_trace_of_the_trace(kochava, kochava_emulator, exported):
    with exported.tracer.start_as_current_span("checkout"):
        kochava.send(ios())
    (request,) = kochava_emulator.requests
    assert {"traceparent", "tracestate", "baggage"}.isdisjoint(map(str.lower, request.headers))


def test_no_span_or_point_has_content_or_a_secret(kochava_emulator, exported):
    options = {"endpoint": kochava_emulator.url, "hooks": [exported.hook]}
    with KochavaDestination(APP, api_key="s3cret-key", api_secret="s3cret", **options) as kochava:
        kochava.send(ios())
    shown = "".join(span.to_json() for span in exported.spans) + repr(exported.points)
    for secret in ("s3cret", "EA7583CD", "203.0.113.7", "u-42", "a-42", "Level Up", "iPhone"):
        assert secret not in shown


def test_what_may_be_secret_in_a_url_is_left_out_and_unknown_apps_are_one(exported):
    exported.hook.attempt(
        AttemptEvent(
            message_id=None,
            action="event",
            attempt=1,
            status=200,
            detail="accepted",
            elapsed=0.25,
            app_guid="koanother",
            url="https://user:s3cret@[::1]/base/track/json?token=s3cret",
        )
    )
    (span,) = exported.spans
    assert span.attributes["url.full"] == "https://[::1]/base/track/json"
    assert span.attributes["server.address"] == "::1"
    assert span.attributes["server.port"] == 443
    assert span.attributes["kochava_segment.app"] == "other"
    assert "kochava_segment.message_id" not in span.attributes
    assert span.end_time - span.start_time == 250_000_000


def test_it_works_without_an_sdk():
    code = (
        "from kochava_segment import DryRunTransport, KochavaDestination\n"
        "from kochava_segment.delivery.opentelemetry import OpenTelemetryHook\n"
        "options = {'transport': DryRunTransport(), 'hooks': [OpenTelemetryHook()]}\n"
        "with KochavaDestination('koapp', **options) as kochava:\n"
        "    print(kochava.send({'type': 'track', 'event': 'x', 'anonymousId': 'a'}).status)\n"
    )
    assert _printed(code) == "200\n"


def test_who_does_not_use_it_does_not_load_it():
    code = (
        "import sys, kochava_segment\n"
        "with kochava_segment.KochavaDestination('koapp'): pass\n"
        "print([name for name in sys.modules if 'opentelemetry' in name])\n"
    )
    assert _printed(code) == "[]\n"


def test_it_names_its_extra():
    code = (
        "import sys\nsys.modules['opentelemetry'] = None\n"
        "try:\n    import kochava_segment.delivery.opentelemetry\n"
        "except ModuleNotFoundError as error:\n    print(error)\n"
    )
    assert _printed(code) == (
        "OpenTelemetryHook needs an extra: pip install 'kochava-segment[opentelemetry]'\n"
    )


def _printed(code):
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    return result.stdout + result.stderr
