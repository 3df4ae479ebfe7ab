import pytest

from kochava_segment import InvalidEventPayload
from kochava_segment.delivery.instrumentation import AttemptEvent
from kochava_segment.errors import EventFiltered, FilterReason
from kochava_segment.outcome import Outcome, OutcomeKind
from kochava_segment.server.console.history import DeliveryHistory

NOW = 1_700_000_040.0  # a whole minute and 0 s after it is 1_699_999_980 + 60


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def history(clock):
    return DeliveryHistory(clock)


def _attempt(elapsed=0.1, status=200, number=1, message_id="m-1"):
    return AttemptEvent(
        message_id=message_id,
        action="event",
        attempt=number,
        status=status,
        detail="accepted",
        elapsed=elapsed,
    )


FILTERED = Outcome.of_error(0, EventFiltered(FilterReason.LOOP, "it came from Kochava"))
INVALID = Outcome.of_error(0, InvalidEventPayload([]))
QUEUED = Outcome(index=0, message_id=None, kind=OutcomeKind.QUEUED)


def test_durations_are_told_within_a_few_per_cent(history):
    for milliseconds in range(1, 1001):
        history.attempt(_attempt(milliseconds / 1000))
    count, found = history.durations(0, 0.5, 0.95, 0.99, 1.0)
    assert count == 1000
    assert found == [pytest.approx(seconds, rel=0.06) for seconds in (0.5, 0.95, 0.99, 1.0)]


def test_without_answers_there_are_no_durations(history):
    history.attempt(_attempt(status=None))
    assert history.durations(0, 0.5) == (0, [])


def test_messages_fall_into_the_span_in_which_they_came(history, clock):
    history.received([FILTERED, INVALID, QUEUED])
    clock.now += 60
    history.received([FILTERED])
    since = NOW // 60 * 60
    spans = history.not_sent(since=since, span=60, spans=2)
    assert spans == [{"filtered": 1, "refused": 1}, {"filtered": 1}]
    assert history.not_sent(since=since + 60, span=60, spans=2) == [{"filtered": 1}, {}]
    assert history.reasons(since) == {
        (OutcomeKind.FILTERED, "LOOP"): 2,
        (OutcomeKind.INVALID, ""): 1,
    }


def test_a_day_is_remembered_and_no_more(history, clock):
    for _ in range(24 * 60 + 10):
        history.received([FILTERED])
        clock.now += 60
    assert sum(history.reasons(0).values()) == 24 * 60


def test_a_clock_that_is_set_back_loses_nothing(history, clock):
    history.received([FILTERED])
    clock.now -= 3600
    history.received([FILTERED])
    assert sum(history.reasons(0).values()) == 2


def test_attempts_that_failed_are_remembered_with_those_that_followed(history):
    history.attempt(_attempt(status=503))
    history.attempt(_attempt(status=200, number=2))
    history.attempt(_attempt(message_id="good"))
    assert [one.status for one in history.attempts_of("m-1", "event")] == [503, 200]
    assert history.attempts_of("good", "event") == ()
    assert history.attempts_of(None, "event") == ()


def test_attempts_are_bounded(history):
    for number in range(2_500):
        history.attempt(_attempt(status=503, message_id=f"m-{number}"))
    for number in range(100):
        history.attempt(_attempt(status=503, number=number, message_id="m-2499"))
    assert history.attempts_of("m-0", "event") == ()
    assert len(history.attempts_of("m-2499", "event")) == 20
