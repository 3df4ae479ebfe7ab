"""Deliveries that must be over in a given time: no attempt that cannot end in it, none that overruns."""

from __future__ import annotations

import time

import pytest
from attrs import evolve

from kochava_segment import (
    AmbiguousDelivery,
    Answer,
    KochavaDestination,
    OutcomeKind,
    RecordingTransport,
    RequestsTransport,
    RetriesExhausted,
    TransportFailure,
)
from kochava_segment.delivery.attempt import Attempt, make_attempt
from kochava_segment.delivery.rate import RateLimiter
from kochava_segment.delivery.retry import RetryPolicy
from kochava_segment.delivery.steps import DeliverySteps, Post, Wait
from kochava_segment.emulator import Faults
from tests.delivery.raw_server import RawServer, a_request, say_nothing
from tests.delivery.test_steps import ACCEPTED, DOWN, LOST, REQUEST
from tests.messages import ios


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def run(clock, attempts, within, *, took=0.1, max_rate=None, **policy):
    """What came of it, and the seconds that each attempt was given."""
    limiter = RateLimiter(max_rate, clock)
    steps = DeliverySteps(
        retry=RetryPolicy(**{"base": 0, "cap": 0, **policy}), limiter=limiter, clock=clock
    ).of(REQUEST, clock.now + within)
    coming, given = iter(attempts), []
    try:
        step = next(steps)
        while True:
            if isinstance(step, Wait):
                clock.now += step.seconds
                step = steps.send(False)  # noqa: FBT003  # a driver's answer
            else:
                given.append(step.seconds)
                clock.now += took
                step = steps.send(next(coming))
    except StopIteration as settled:
        return settled.value, given
    except (RetriesExhausted, AmbiguousDelivery) as error:
        return error, given


def test_an_attempt_is_given_what_is_left(clock):
    receipt, given = run(clock, [DOWN, DOWN, ACCEPTED], 5, took=1)
    assert receipt.attempts == 3
    assert given == pytest.approx([5, 4, 3])


def test_without_a_deadline_an_attempt_takes_its_own_time():
    steps = DeliverySteps(retry=RetryPolicy(), limiter=RateLimiter(None)).of(REQUEST)
    assert isinstance(next(steps), Wait)
    assert steps.send(False) == Post(REQUEST)  # noqa: FBT003


def test_no_attempt_begins_that_has_less_than_half_a_second(clock):
    error, given = run(clock, [DOWN] * 99, 5, took=1, max_attempts=99)
    assert type(error) is RetriesExhausted
    assert given == pytest.approx([5, 4, 3, 2, 1])
    assert error.detail == "Kochava answered 503, and the caller's time is up"
    assert clock.now == pytest.approx(1005)


def test_a_wait_that_would_outlast_the_deadline_is_not_begun(clock):
    error, _ = run(clock, [evolve(DOWN, retry_after=30.0)], 5)
    assert (error.attempts, error.status) == (1, 503)
    assert clock.now == pytest.approx(1000.1)


def test_that_the_time_is_up_does_not_hide_that_it_may_have_been_counted(clock):
    error, _ = run(clock, [LOST], 1, took=0.9)
    assert type(error) is AmbiguousDelivery


def test_a_deadline_that_has_passed_leaves_no_attempt(clock):
    error, given = run(clock, [], 0.1)
    assert (type(error), error.attempts, given) == (RetriesExhausted, 0, [])


def test_a_slot_that_comes_too_late_is_left_to_others(clock):
    limiter = RateLimiter(10.0, clock)
    assert [limiter.reserve(0.15) for _ in range(2)] == pytest.approx([0, 0.1])
    assert [limiter.reserve(0.15) for _ in range(50)] == pytest.approx([0.2] * 50)
    assert limiter.reserve() == pytest.approx(0.2)


def test_what_the_pace_brings_too_late_costs_later_requests_nothing(clock):
    limiter = RateLimiter(1.0, clock)
    steps = DeliverySteps(retry=RetryPolicy(), limiter=limiter, clock=clock)
    limiter.reserve()
    for _ in range(100):
        with pytest.raises(RetriesExhausted):
            next(steps.of(REQUEST, clock.now + 1.2))
    assert next(steps.of(REQUEST)).seconds == pytest.approx(1.0)


class Punctual(RecordingTransport):
    def send_within(self, request, seconds):
        self.seconds = seconds
        return self.send(request)


def test_a_transport_that_can_be_told_is_told():
    transport = Punctual()
    assert make_attempt(transport, REQUEST, 2.5).status == 200
    assert transport.seconds == 2.5


def test_a_transport_that_cannot_be_told_is_used_all_the_same():
    transport = RecordingTransport(lambda _: Answer(200))
    assert isinstance(make_attempt(transport, REQUEST, 2.5), Attempt)
    assert len(transport.requests) == 1


# Over real sockets.


@pytest.fixture(params=["requests", "pycurl"])
def make(request):
    """Makes a transport of each kind; pycurl is an extra."""
    if request.param == "requests":
        return RequestsTransport
    pytest.importorskip("pycurl")
    from kochava_segment.delivery.pycurl_transport import PycurlTransport

    return PycurlTransport


def test_the_time_of_an_attempt_is_cut_to_what_it_is_given(make):
    transport = make(timeout=(10, 10))
    with RawServer(say_nothing) as server:
        began = time.monotonic()
        with pytest.raises(TransportFailure) as caught:
            transport.send_within(a_request(server.url), 0.3)
        assert 0.2 < time.monotonic() - began < 5
    transport.close()
    assert caught.value.maybe_sent


def test_a_longer_time_does_not_stretch_the_transport_s_own(make):
    transport = make(timeout=(0.3, 0.3))
    with RawServer(say_nothing) as server:
        began = time.monotonic()
        with pytest.raises(TransportFailure):
            transport.send_within(a_request(server.url), 30)
        assert time.monotonic() - began < 5
    transport.close()


@pytest.mark.parametrize("fault", ["503", "trickle"])
def test_send_is_over_in_time(kochava_emulator, fault):
    kochava_emulator.faults = Faults(script=(fault,) * 200, retry_after=0.6)
    with KochavaDestination("koapp", endpoint=kochava_emulator.url, hooks=()) as destination:
        began = time.monotonic()
        with pytest.raises((RetriesExhausted, AmbiguousDelivery)):
            destination.send(ios(), within=1.0)
        assert time.monotonic() - began < 3  # what a trickle takes at its own pace


def test_many_messages_share_the_time_and_those_without_any_were_not_tried(kochava_emulator):
    kochava_emulator.faults = Faults(latency=0.2)
    with KochavaDestination("koapp", endpoint=kochava_emulator.url, hooks=()) as destination:
        began = time.monotonic()
        outcomes = list(
            destination.send_many((ios(messageId=str(n)) for n in range(30)), within=1.5)
        )  # all of one device, so one after the other
        assert time.monotonic() - began < 3
    outcomes.sort(key=lambda outcome: outcome.index)
    done = [outcome.kind is OutcomeKind.ACCEPTED for outcome in outcomes]
    assert 1 <= sum(done) <= 7
    assert done == sorted(done, reverse=True)
    late = outcomes[-1].error
    assert (type(late), late.attempts) == (RetriesExhausted, 0)
    assert kochava_emulator.counted == sum(done)
