"""The steps of a delivery, driven by hand: no thread, no sleep, no socket, a clock that is moved."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from attrs import evolve

from kochava_segment import (
    AmbiguousDelivery,
    CredentialsRejected,
    DeliveryError,
    Rejected,
    RetriesExhausted,
    RetryPolicy,
)
from kochava_segment.delivery.answer import Verdict
from kochava_segment.delivery.attempt import Attempt
from kochava_segment.delivery.rate import RateLimiter
from kochava_segment.delivery.steps import DeliverySteps, Post, Wait
from tests.delivery.raw_server import a_request

ACCEPTED = Attempt(verdict=Verdict.ACCEPTED, status=200)
REFUSED = Attempt(verdict=Verdict.REJECTED, status=400, detail="Kochava refused the request")
FORBIDDEN = Attempt(verdict=Verdict.CREDENTIALS, status=403, detail="Kochava refused the API key")
DOWN = Attempt(verdict=Verdict.RETRY, status=503, detail="Kochava answered 503")
SLOWER = Attempt(verdict=Verdict.RETRY, status=429, detail="Kochava answered 429")
UNREACHED = Attempt(verdict=Verdict.RETRY, detail="Kochava was not reached")
LOST = Attempt(verdict=Verdict.RETRY, maybe_sent=True, detail="the answer was lost")
REQUEST = evolve(a_request("http://127.0.0.1/track/json"), message_id="m-1")


class Recorder:
    """A hook that keeps what it is told."""

    def __init__(self):
        self.events = []

    def _keep(self, event):
        self.events.append(event)

    attempt = retry_scheduled = outcome = _keep


class Course:
    """Drives the steps of requests through given attempts, and notes how long it waited."""

    def __init__(self, *, max_rate=None, **policy):
        self.now = 1000.0
        self.hook = Recorder()
        self.limiter = RateLimiter(max_rate, self.clock)
        self.steps = DeliverySteps(
            retry=RetryPolicy(**{"base": 1, "cap": 1, **policy}),
            limiter=self.limiter,
            hooks=[self.hook],
            clock=self.clock,
        )
        self.waits: list[float] = []
        self.posts = 0

    def clock(self):
        return self.now

    def run(self, attempts: Iterable[Attempt], request=REQUEST, *, took=0.1, closed_in_wait=None):
        """The receipt, or the error that is raised."""
        coming = iter(attempts)
        steps = self.steps.of(request)
        waits = 0
        try:
            step = next(steps)
            while True:
                if isinstance(step, Wait):
                    waits += 1
                    self.waits.append(step.seconds)
                    self.now += step.seconds
                    step = steps.send(waits == closed_in_wait)
                else:
                    assert step == Post(request)
                    self.posts += 1
                    self.now += took
                    step = steps.send(next(coming))
        except StopIteration as settled:
            return settled.value
        except DeliveryError as error:
            return error


def test_an_accepted_request_is_posted_once():
    course = Course()
    receipt = course.run([ACCEPTED])
    assert course.posts == 1
    assert (receipt.message_id, receipt.action, receipt.status) == ("m-1", "event", 200)
    assert (receipt.attempts, receipt.maybe_repeated) == (1, False)
    assert receipt.elapsed == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("attempts", "error", "status"),
    [
        ([REFUSED], Rejected, 400),
        ([FORBIDDEN], CredentialsRejected, 403),
        ([DOWN] * 3, RetriesExhausted, 503),
        ([UNREACHED] * 3, RetriesExhausted, None),
        ([DOWN, DOWN, UNREACHED], RetriesExhausted, None),
        ([LOST] * 3, AmbiguousDelivery, None),
        ([LOST, DOWN, DOWN], AmbiguousDelivery, 503),
        ([LOST, REFUSED], AmbiguousDelivery, 400),
        ([LOST, FORBIDDEN], AmbiguousDelivery, 403),
        ([DOWN, REFUSED], Rejected, 400),
    ],
)
def test_the_error_says_what_is_known(attempts, error, status):
    course = Course(max_attempts=3)
    raised = course.run(attempts)
    assert type(raised) is error
    assert (raised.message_id, raised.attempts, raised.status) == ("m-1", len(attempts), status)
    assert course.posts == len(attempts)


def test_an_ambiguous_error_says_so_and_what_came_last():
    error = Course().run([LOST, REFUSED])
    assert error.detail == "it may have been counted, but Kochava refused the request"


def test_a_receipt_says_that_an_earlier_attempt_may_have_been_counted():
    assert Course().run([LOST, ACCEPTED]).maybe_repeated
    assert not Course().run([UNREACHED, DOWN, ACCEPTED]).maybe_repeated


def test_a_lost_answer_is_not_repeated_where_the_policy_forbids_it():
    course = Course(maybe_sent={"event": "give_up"})
    assert type(course.run([LOST])) is AmbiguousDelivery
    assert course.posts == 1
    assert course.run([LOST, ACCEPTED], evolve(REQUEST, action="install")).attempts == 2
    assert course.run([UNREACHED, ACCEPTED]).attempts == 2


def test_retry_after_is_waited_for_and_does_not_count():
    course = Course(max_attempts=2)
    patient = evolve(DOWN, retry_after=7.0)
    receipt = course.run([patient, patient, patient, DOWN, ACCEPTED])
    assert receipt.attempts == 5
    assert [wait for wait in course.waits if wait == 7.0] == [7.0] * 3
    assert receipt.elapsed > 21


def test_the_deadline_bounds_everything():
    course = Course(max_attempts=1000, deadline=30)
    error = course.run([evolve(DOWN, retry_after=4.0)] * 1000, took=2.0)
    assert type(error) is RetriesExhausted
    assert course.posts == 6  # they begin at 0, 6, 12, 18, 24 and 30 seconds


def test_waiting_for_the_pace_before_the_first_attempt_costs_no_time_of_the_deadline():
    course = Course(max_rate=1.0, deadline=5)
    for _ in range(100):
        course.limiter.reserve()
    receipt = course.run([ACCEPTED])
    assert course.waits[0] > 90
    assert receipt.elapsed == pytest.approx(0.1)


def test_no_attempt_begins_after_the_deadline_for_the_sake_of_the_pace():
    course = Course(max_rate=1.0, deadline=5, base=0, cap=0)

    def others_come_first():
        for _ in range(100):
            course.limiter.reserve()
        yield DOWN

    error = course.run(others_come_first())
    assert type(error) is RetriesExhausted
    assert course.posts == 1
    assert sum(course.waits) < 5


@pytest.mark.parametrize("closed_in_wait", [1, 2, 3])
def test_closing_ends_it_at_any_wait(closed_in_wait):
    course = Course()
    error = course.run([DOWN] * 3, closed_in_wait=closed_in_wait)
    assert type(error) is RetriesExhausted
    assert error.detail == "the destination was closed"
    assert course.posts == error.attempts == closed_in_wait // 2


def test_closing_does_not_hide_that_it_may_have_been_counted():
    assert type(Course().run([LOST], closed_in_wait=2)) is AmbiguousDelivery


def test_a_429_slows_everybody_down_and_success_speeds_up():
    course = Course(max_rate=100.0)
    course.run([SLOWER, ACCEPTED], took=1.0)
    assert 50.0 < course.limiter.rate < 100.0
    unchanged = Course(max_rate=100.0)
    unchanged.run([DOWN, UNREACHED, REFUSED])
    assert unchanged.limiter.rate == 100.0


# Refused credentials.


def refuse(course, times, request=REQUEST):
    for _ in range(times):
        assert type(course.run([FORBIDDEN], request)) is CredentialsRejected


def test_after_five_refusals_in_a_row_kochava_is_left_alone_for_half_a_minute():
    course = Course()
    refuse(course, 5)
    error = course.run([ACCEPTED])
    assert type(error) is CredentialsRejected
    assert (error.attempts, error.status, course.posts) == (0, None, 5)
    assert course.hook.events[-1].elapsed == 0.0
    course.now += 29
    assert type(course.run([ACCEPTED])) is CredentialsRejected
    course.now += 2
    assert course.run([ACCEPTED]).status == 200


def test_four_refusals_or_five_with_another_answer_between_them_are_not_enough():
    course = Course()
    refuse(course, 4)
    course.run([REFUSED])
    refuse(course, 4)
    assert course.run([ACCEPTED]).status == 200


def test_no_answer_does_not_end_a_row_of_refusals():
    course = Course(max_attempts=1)
    refuse(course, 4)
    course.run([UNREACHED])
    refuse(course, 1)
    assert type(course.run([ACCEPTED])) is CredentialsRejected


def test_one_more_refusal_after_the_half_minute_is_enough():
    course = Course()
    refuse(course, 5)
    course.now += 31
    refuse(course, 1)
    assert course.run([ACCEPTED]).attempts == 0


def test_another_app_is_not_left_alone():
    course = Course()
    refuse(course, 5, evolve(REQUEST, ordering_key="koother/d1"))
    assert course.run([ACCEPTED]).status == 200


def test_a_request_that_waits_to_be_tried_again_does_not_hammer_either():
    course = Course()

    steps = course.steps.of(REQUEST)
    assert isinstance(next(steps), Wait)
    assert steps.send(False) == Post(REQUEST)  # noqa: FBT003  # a driver's answer
    assert isinstance(steps.send(UNREACHED), Wait)
    refuse(course, 5)
    assert isinstance(steps.send(False), Wait)  # noqa: FBT003
    with pytest.raises(CredentialsRejected) as caught:
        steps.send(False)  # noqa: FBT003
    assert caught.value.attempts == 1


# What hooks are told.


def test_hooks_are_told_of_each_attempt_retry_and_the_outcome():
    course = Course()
    course.run([LOST, evolve(DOWN, elapsed=0.25, retry_after=3.0), ACCEPTED])
    kinds = [type(event).__name__ for event in course.hook.events]
    assert kinds == [
        "AttemptEvent",
        "RetryScheduledEvent",
        "AttemptEvent",
        "RetryScheduledEvent",
        "AttemptEvent",
        "OutcomeEvent",
    ]
    lost, _, down, retry, accepted, outcome = course.hook.events
    assert (lost.attempt, lost.status, lost.maybe_sent) == (1, None, True)
    assert lost.detail == "the answer was lost"
    assert (down.attempt, down.status, down.maybe_sent) == (2, 503, False)
    assert (down.detail, down.elapsed) == ("to be retried", 0.25)
    assert (retry.attempt, retry.status, retry.wait) == (2, 503, 3.0)
    assert (accepted.attempt, accepted.detail) == (3, "accepted")
    assert (outcome.outcome, outcome.attempts, outcome.status) == ("accepted", 3, 200)
    assert outcome.elapsed == pytest.approx(sum(course.waits) + 0.3)
    assert {(event.message_id, event.action) for event in course.hook.events} == {("m-1", "event")}


@pytest.mark.parametrize(
    ("attempts", "outcome"),
    [([REFUSED], "Rejected"), ([LOST] * 5, "AmbiguousDelivery"), ([DOWN] * 5, "RetriesExhausted")],
)
def test_hooks_are_told_of_a_failure_by_its_name_once(attempts, outcome):
    course = Course()
    course.run(attempts)
    told = [event.outcome for event in course.hook.events if hasattr(event, "outcome")]
    assert told == [outcome]
