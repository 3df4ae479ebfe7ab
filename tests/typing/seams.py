"""Never run: type checkers read it. What users write themselves: transports and hooks."""

import random
from collections.abc import Iterator

from typing_extensions import assert_type

from kochava_segment import (
    Answer,
    AttemptEvent,
    DeliveryHook,
    DryRunTransport,
    KochavaDestination,
    KochavaRequest,
    LoggingHook,
    OutcomeEvent,
    RecordingTransport,
    RequestsTransport,
    RetryScheduledEvent,
    Transport,
    TransportFailure,
)
from kochava_segment.delivery.opentelemetry import OpenTelemetryHook
from kochava_segment.emulator import Complaint, Faults, KochavaEmulator, ReceivedRequest


class Flaky:
    """A transport of one's own."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner

    def send(self, request: KochavaRequest) -> Answer:
        """Lose every other request."""
        if random.random() < 0.5:
            raise TransportFailure("lost on purpose", maybe_sent=False)
        return self.inner.send(request)

    def close(self) -> None:
        """Close the other one."""
        self.inner.close()


class Sentence:
    """A hook of one's own."""

    def attempt(self, event: AttemptEvent) -> None:
        """See the parts."""
        assert_type(event.status, int | None)
        assert_type(event.maybe_sent, bool)

    def retry_scheduled(self, event: RetryScheduledEvent) -> None:
        """See the parts."""
        assert_type(event.wait, float)

    def outcome(self, event: OutcomeEvent) -> None:
        """See the parts."""
        assert_type(event.outcome, str)
        assert_type(event.attempts, int)


class Half:
    """No hook: it lacks two methods."""

    def attempt(self, event: AttemptEvent) -> None:
        """Not enough."""


transports: list[Transport] = [
    Flaky(RequestsTransport(timeout=(1, 2))),
    DryRunTransport(),
    RecordingTransport(lambda request: Answer(503, {"Retry-After": "1"}, request.body)),
]
hooks: list[DeliveryHook] = [LoggingHook(), Sentence(), OpenTelemetryHook(app_guids=["koexample"])]
KochavaDestination("koexample-app-guid", transport=transports[0], hooks=hooks)
KochavaDestination("koexample-app-guid", hooks=[Half()])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]  # ty: ignore[invalid-argument-type]
assert_type(RecordingTransport().requests, tuple[KochavaRequest, ...])


def test_with_the_fixture(kochava_emulator: KochavaEmulator) -> Iterator[str]:
    """The fixture's type, and what it gives."""
    kochava_emulator.faults = Faults(script=("503",), latency=1)
    assert_type(kochava_emulator.complaints, tuple[Complaint, ...])
    assert_type(kochava_emulator.accepted, tuple[ReceivedRequest, ...])
    yield kochava_emulator.url
