from __future__ import annotations

import logging
import pickle

import pytest

from kochava_segment import (
    Answer,
    CredentialsRejected,
    KochavaDestination,
    LoggingHook,
    RecordingTransport,
    RetriesExhausted,
    RetryPolicy,
    RetryScheduledEvent,
    TransportFailure,
    log_events,
)
from kochava_segment.delivery.instrumentation import Hooks
from tests.messages import ios
from tests.records import fields, logged

SECRETS = ("EA7583CD", "7F2A1C5E", "203.0.113.7", "u-42", "a-42", "Level Up", "iPhone", "s3cret")


def destination(statuses, **options):
    answers = iter(statuses)

    def answer(_request):
        status = next(answers)
        if status is None:
            raise TransportFailure("the answer was lost", maybe_sent=True)
        return Answer(status, {}, b'{"success":"1","echo":"EA7583CD"}')

    return KochavaDestination(
        "koapp",
        transport=RecordingTransport(answer),
        retry=RetryPolicy(max_attempts=2, base=0, cap=0),
        api_key="s3cret-key",
        api_secret="s3cret",
        **options,
    )


class Broken:
    def attempt(self, _event):
        raise RuntimeError("EA7583CD")

    def retry_scheduled(self, _event):
        raise ValueError

    def outcome(self, _event):
        raise ZeroDivisionError


class Counting:
    def __init__(self):
        self.calls = []

    def attempt(self, _event):
        self.calls.append("attempt")

    def retry_scheduled(self, _event):
        self.calls.append("retry")

    def outcome(self, _event):
        self.calls.append("outcome")


def test_the_log_shows_each_step_at_its_level(caplog):
    caplog.set_level(logging.DEBUG, "kochava_segment")
    destination([None, 200]).send(ios())
    with pytest.raises(CredentialsRejected):
        destination([401]).send(ios())
    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [level for level, _ in lines] == [
        *("DEBUG", "WARNING", "DEBUG", "DEBUG"),
        *("DEBUG", "ERROR"),
    ]
    assert lines[0][1].startswith("event m-1: attempt 1 the answer was lost (answer: none,")
    assert (
        lines[1][1]
        == "event m-1: attempt 1 failed (answer: none), next in 0.00 s; 1 such since the last line"
    )
    assert lines[3][1].startswith("event m-1: accepted at attempt 2 (answer: 200,")
    assert lines[5][1].startswith("event m-1: CredentialsRejected at attempt 1 (answer: 401,")
    assert {record.name for record in caplog.records} == {"kochava_segment.delivery"}


@pytest.mark.parametrize("statuses", [[200], [None, 200], [503, 503], [401], [400], [None, None]])
def test_the_log_shows_no_content_and_no_secret(caplog, statuses):
    caplog.set_level(logging.DEBUG)
    try:
        destination(statuses).send(ios())
    except Exception as error:  # whatever it is, it is looked at
        logging.getLogger("app").exception("sending failed", exc_info=error)
    assert caplog.records
    shown = caplog.text + repr([fields(record) for record in caplog.records])
    assert [secret for secret in SECRETS if secret in shown] == []


def failed(status):
    return RetryScheduledEvent(message_id="m", action="event", attempt=1, status=status, wait=1.0)


def test_many_retries_are_few_records_that_count_them(caplog, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(log_events.time, "monotonic", lambda: now)
    hook, another = LoggingHook(), LoggingHook()
    for status in (503, 503, None, 503, 503, None):
        hook.retry_scheduled(failed(status))
    another.retry_scheduled(failed(503))
    now += 10.0
    for _ in range(3):
        hook.retry_scheduled(failed(503))
    found = [(one["status"], one["count"]) for one in logged(caplog, "retry")]
    assert found == [(503, 1), (None, 1), (503, 1), (503, 4)]
    assert caplog.messages[-1].endswith("next in 1.00 s; 4 such since the last line")


def test_a_hook_that_comes_from_another_machine_is_not_silent(caplog, monkeypatch):
    monkeypatch.setattr(log_events.time, "monotonic", lambda: 1e9)  # it runs for longer
    hook = LoggingHook()
    hook.retry_scheduled(failed(503))
    monkeypatch.setattr(log_events.time, "monotonic", lambda: 1000.0)
    pickle.loads(pickle.dumps(hook)).retry_scheduled(failed(503))
    assert len(logged(caplog, "retry")) == 2


def test_hooks_of_one_logger_are_equal():
    used = LoggingHook()
    used.retry_scheduled(failed(503))
    assert used == LoggingHook()
    assert hash(used) == hash(LoggingHook())


def test_the_logger_can_be_another(caplog):
    caplog.set_level(logging.DEBUG, "mine")
    destination([200], hooks=[LoggingHook(logging.getLogger("mine"))]).send(ios())
    assert {record.name for record in caplog.records} == {"mine"}


def test_a_failing_hook_harms_neither_delivery_nor_other_hooks(caplog):
    counting = Counting()
    receipt = destination([503, 200], hooks=[Broken(), counting]).send(ios())
    assert receipt.attempts == 2
    assert counting.calls == ["attempt", "retry", "attempt", "outcome"]
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert errors == ["the hook Broken raised RuntimeError; delivery goes on"]  # once, no content


def test_a_failing_hook_does_not_hide_the_error():
    with pytest.raises(RetriesExhausted):
        destination([503, 503], hooks=[Broken()]).send(ios())


def test_a_hook_may_end_the_program():
    class Ending(Counting):
        def attempt(self, _event):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        destination([200], hooks=[Ending()]).send(ios())


def test_a_library_that_nobody_configured_prints_nothing():
    handlers = logging.getLogger("kochava_segment").handlers
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)


class Louder(LoggingHook):
    pass


def test_events_are_made_only_where_somebody_wants_them():
    quiet, verbose = logging.getLogger("quiet"), logging.getLogger("verbose")
    quiet.setLevel(logging.INFO)
    verbose.setLevel(logging.DEBUG)
    assert not Hooks(()).hear_details
    assert not Hooks([LoggingHook(quiet)]).hear_details
    assert Hooks([LoggingHook(verbose)]).hear_details
    assert Hooks([LoggingHook(quiet), Counting()]).hear_details
    assert Hooks([Louder(quiet)]).hear_details  # nobody knows what it does with them


def test_failures_are_logged_where_details_are_not(caplog):
    caplog.set_level(logging.WARNING, logger="kochava_segment.delivery")
    with pytest.raises(RetriesExhausted):
        destination([503, 503]).send(ios())
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
