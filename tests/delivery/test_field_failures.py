"""What event SDKs get wrong when they send, and this one must not: one test for each.

Those of the mapping are in tests/mapping, those of the outbox in test_outbox.py, leaving the process
and forking in test_delivery.py.
"""

from __future__ import annotations

import copy
import json
import logging
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
import responses

from kochava_segment import KochavaDestination, RetriesExhausted, RetryPolicy
from kochava_segment.emulator import Faults
from tests.messages import ios

QUICK = RetryPolicy(base=0.01, cap=0.02)
PERSONAL = ("EA7583CD", "7F2A1C5E", "203.0.113.7", "u-42", "a-42", "Level Up", "iPhone")


@pytest.fixture
def destination(kochava_emulator):
    with KochavaDestination("koapp", endpoint=kochava_emulator.url, retry=QUICK) as destination:
        yield destination


def test_a_synchronous_send_is_retried(kochava_emulator, destination):
    kochava_emulator.faults = Faults(script=("503", "reset-before-reading", "500"))
    receipt = destination.send(ios())
    assert receipt.attempts == 4
    assert kochava_emulator.counted == 1


def test_one_failing_minute_costs_no_message(kochava_emulator):
    kochava_emulator.faults = Faults(error_rate=0.3, seed=7)
    messages = [ios(messageId=str(n), context__device__id=f"d{n % 20}") for n in range(200)]
    policy = RetryPolicy(max_attempts=20, base=0.001, cap=0.002)
    with KochavaDestination("koapp", endpoint=kochava_emulator.url, retry=policy) as patient:
        kinds = [outcome.kind.value for outcome in patient.send_many(messages)]
    assert kinds == ["accepted"] * 200
    assert kochava_emulator.counted == 200


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(kochava_emulator, destination, form):
    # A date has whole seconds, so this one is between one and two seconds away.
    date = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=2), usegmt=True)
    kochava_emulator.faults = Faults(script=("429",), retry_after=1 if form == "seconds" else date)
    began = time.monotonic()
    receipt = destination.send(ios())
    assert receipt.attempts == 2
    assert receipt.elapsed > 0.9
    assert 0.9 < time.monotonic() - began < 3


def test_every_send_has_a_time_limit(kochava_emulator):
    policy = RetryPolicy(max_attempts=1000, base=0.05, cap=0.05, deadline=0.5)
    kochava_emulator.faults = Faults(error_rate=1.0)
    with KochavaDestination("koapp", endpoint=kochava_emulator.url, retry=policy) as destination:
        began = time.monotonic()
        with pytest.raises(RetriesExhausted):
            destination.send(ios())
        assert time.monotonic() - began < 1.5


@responses.activate
def test_there_are_timeouts_by_default():
    responses.post("https://control.kochava.com/track/json", json={"success": "1"})
    with KochavaDestination("koapp", transport="requests") as destination:
        destination.send(ios())
    assert responses.calls[0].request.req_kwargs["timeout"] == (3.05, 10.0)


def test_one_poisoned_message_does_not_fail_its_neighbours(kochava_emulator, destination):
    messages = [ios(messageId=str(n)) for n in range(60)]
    messages[30] = ios(messageId="30", properties={"a": object()})
    outcomes = {outcome.message_id: outcome for outcome in destination.send_many(messages)}
    assert {o.message_id for o in outcomes.values() if o.kind != "accepted"} == {"30"}
    assert outcomes["30"].error.problems[0].path == "properties.a"
    assert kochava_emulator.counted == 59


@pytest.mark.parametrize("fault", ["ok", "503", "half-answer", "400", "401"])
def test_no_log_of_any_library_shows_the_payload(kochava_emulator, destination, caplog, fault):
    caplog.set_level(logging.DEBUG)  # of requests and urllib3 as well
    kochava_emulator.faults = Faults(script=(fault,))
    outcomes = list(destination.send_many([ios()]))
    assert caplog.records
    assert [value for value in PERSONAL if value in caplog.text + repr(outcomes)] == []


def test_the_caller_s_message_is_not_changed(destination):
    message = ios(event="Order Completed", properties={"revenue": "9.99", "products": [{"sku": 1}]})
    before = copy.deepcopy(message)
    destination.send(message)
    list(destination.send_many([message, message]))
    assert message == before


def test_what_json_cannot_say_is_not_sent(kochava_emulator, destination):
    destination.send(ios(properties={"a": float("nan"), "b": float("inf"), "c": 1}))

    def refuse(word):
        pytest.fail(f"{word} is not JSON")

    (received,) = kochava_emulator.accepted
    body = json.loads(received.body, parse_constant=refuse)
    assert body["data"]["event_data"] == {"c": 1}


def test_no_message_is_dropped_for_want_of_room(kochava_emulator, destination):
    kochava_emulator.faults = Faults(latency=0.002)
    messages = (ios(messageId=str(n), context__device__id=f"d{n % 3}") for n in range(400))
    outcomes = []
    for outcome in destination.send_many(messages, concurrency=2):
        if len(outcomes) == 5:
            time.sleep(0.2)  # a slow consumer
        outcomes.append(outcome)
    assert sorted(outcome.index for outcome in outcomes) == list(range(400))
    assert kochava_emulator.counted == 400
