"""`send_many`: what callers rely on."""

from __future__ import annotations

import collections
import itertools
import threading
import time
from collections.abc import Mapping

import pytest

from kochava_segment import (
    Answer,
    ConfigurationError,
    EventFiltered,
    InvalidEventPayload,
    KochavaDestination,
    KochavaSegmentError,
    OutcomeKind,
    Problem,
    RecordingTransport,
    RetryPolicy,
    TransportFailure,
)
from tests.messages import android, ios

NO_WAIT = RetryPolicy(max_attempts=2, base=0, cap=0)


def messages(count, devices=7):
    return (
        ios(
            messageId=str(n),
            context__device__id=f"d{n % devices}",
            properties={"place": n},
        )
        for n in range(count)
    )


def answering(answers):
    """A destination whose transport answers by `messageId`: a status, or a failure to raise."""

    def answer(request):
        what = answers.get(request.message_id, 200)
        if isinstance(what, Exception):
            raise what
        return Answer(what)

    transport = RecordingTransport(answer)
    return KochavaDestination("koapp", transport=transport, retry=NO_WAIT, hooks=()), transport


class Unreadable(Mapping):
    """Something that calls itself a mapping."""

    def __getitem__(self, key):
        raise RuntimeError("secret")

    def __iter__(self):
        raise RuntimeError("secret")

    def __len__(self):
        return 1


def test_each_message_has_one_outcome_with_its_place_and_id(kochava_emulator):
    with KochavaDestination("koapp", endpoint=kochava_emulator.url) as destination:
        outcomes = sorted(destination.send_many(messages(200)), key=lambda outcome: outcome.index)
    assert [outcome.index for outcome in outcomes] == list(range(200))
    assert [outcome.message_id for outcome in outcomes] == [str(n) for n in range(200)]
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.ACCEPTED}
    assert {(o.receipt.message_id == o.message_id, o.error) for o in outcomes} == {(True, None)}
    assert kochava_emulator.counted == 200
    kochava_emulator.assert_no_complaints()


def test_messages_of_a_device_arrive_in_their_order(kochava_emulator):
    with KochavaDestination("koapp", endpoint=kochava_emulator.url) as destination:
        list(destination.send_many(messages(300, devices=9)))
    arrived = {}
    for request in kochava_emulator.accepted:
        device = request.payload["kochava_device_id"]
        arrived.setdefault(device, []).append(request.payload["data"]["event_data"]["place"])
    assert arrived == {f"d{n}": list(range(n, 300, 9)) for n in range(9)}


def test_everything_that_can_become_of_a_message_is_told_apart():
    destination, _ = answering(
        {
            "rejected": 400,
            "credentials": 401,
            "exhausted": 503,
            "ambiguous": TransportFailure("the answer was lost", maybe_sent=True),
        }
    )
    items = {
        "accepted": ios(),
        "rejected": ios(),
        "credentials": ios(),
        "exhausted": ios(),
        "ambiguous": ios(),
        "filtered": ios(integrations={"Kochava": False}),
        "unsupported": ios(type="group"),
        "invalid": ios(properties=[]),
    }
    sent = [{**message, "messageId": name} for name, message in items.items()]
    outcomes = {o.message_id: o for o in destination.send_many(sent)}
    kinds = {name: outcome.kind.value for name, outcome in outcomes.items()}
    assert kinds == {name: "rejected" if name == "credentials" else name for name in items}
    for name, outcome in outcomes.items():
        assert (outcome.receipt is None) == (name != "accepted")
        assert (outcome.error is None) == (name == "accepted")
        assert (outcome.reason is None) == (name == "accepted")
    assert outcomes["filtered"].reason == "FILTERED_BY_INTEGRATIONS_OBJECT"
    assert outcomes["exhausted"].reason == str(outcomes["exhausted"].error)
    assert str(OutcomeKind.EXHAUSTED) == "exhausted"


@pytest.mark.parametrize("name", ["accepted", "rejected"])
def test_an_outcome_has_the_warnings_of_the_mapping(name):
    destination, _ = answering({"rejected": 400})
    message = android(messageId=name, context__ip="nowhere")
    (outcome,) = destination.send_many([message])
    assert outcome.kind == name
    assert [warning.code for warning in outcome.warnings] == ["bad-ip"]


@pytest.mark.parametrize(
    "poison",
    [
        None,
        7,
        "text",
        [],
        {},
        {"type": "track", "event": object()},
        Unreadable(),
        {"type": "track", "event": "x", "properties": {"a": {1, 2}}},
    ],
    ids=lambda poison: type(poison).__name__,
)
def test_a_poisoned_message_harms_no_other(poison):
    destination, transport = answering({})
    items = [ios(messageId="before"), poison, ios(messageId="after")]
    outcomes = {outcome.index: outcome for outcome in destination.send_many(items)}
    assert {index: o.kind.value for index, o in outcomes.items()} == {
        0: "accepted",
        1: "invalid",
        2: "accepted",
    }
    assert "secret" not in outcomes[1].reason
    assert len(transport.requests) == 2


def test_a_reader_s_error_is_reported_in_its_place():
    destination, _ = answering({})
    errors = [InvalidEventPayload([Problem("line 2", "is not JSON")], "m-9"), KochavaSegmentError()]
    outcomes = sorted(destination.send_many([ios(), *errors]), key=lambda o: o.index)
    assert [outcome.kind.value for outcome in outcomes] == ["accepted", "invalid", "invalid"]
    assert [outcome.error for outcome in outcomes[1:]] == errors
    assert outcomes[1].message_id == "m-9"


def test_requests_that_were_mapped_before_are_sent_as_they_are():
    destination, transport = answering({})
    request = destination.map(ios())
    (outcome,) = destination.send_many([request])
    assert outcome.message_id == "m-1"
    assert transport.requests == (request,)


def test_a_message_without_an_app_is_invalid_and_the_others_are_sent():
    destination = KochavaDestination(
        app_guids={"ios": "koios"}, transport=RecordingTransport(), hooks=()
    )
    kinds = {o.index: o.kind.value for o in destination.send_many([android(), ios()])}
    assert kinds == {0: "invalid", 1: "accepted"}


def test_an_error_of_the_input_comes_after_all_that_was_taken_from_it():
    def input_that_breaks():
        yield from messages(20)
        raise OSError("the disk broke")

    destination, transport = answering({})
    outcomes = []
    with pytest.raises(OSError, match="the disk broke"):
        collections.deque(map(outcomes.append, destination.send_many(input_that_breaks())))
    assert sorted(outcome.index for outcome in outcomes) == list(range(20))
    assert len(transport.requests) == 20


def test_endless_input_is_taken_lazily_and_in_bounds():
    taken = itertools.count()
    destination, _ = answering({})
    endless = (ios(messageId=str(next(taken))) for _ in itertools.count())  # one device
    outcomes = destination.send_many(endless, concurrency=2)
    time.sleep(0.02)
    assert next(taken) == 0
    for _ in range(400):
        next(outcomes)
    outcomes.close()
    assert next(taken) - 2 - 400 <= 2 * (64 + 4)


@pytest.mark.parametrize("concurrency", [0, -1, 1.0, "4", True])
def test_a_concurrency_that_is_no_count_is_refused_at_once(concurrency):
    destination, _ = answering({})
    with pytest.raises(ConfigurationError, match="concurrency"):
        destination.send_many([], concurrency)


def test_nothing_in_nothing_out():
    destination, _ = answering({})
    assert list(destination.send_many([])) == []


# Ending early.


def test_closing_the_generator_reports_nothing_by_halves(kochava_emulator):
    with KochavaDestination("koapp", endpoint=kochava_emulator.url) as destination:
        outcomes = destination.send_many(messages(1000), concurrency=4)
        reported = [next(outcomes) for _ in range(10)]
        outcomes.close()
        at_close = kochava_emulator.counted
        time.sleep(0.05)
    assert kochava_emulator.counted == at_close  # nothing goes on behind the caller's back
    assert at_close < 200
    places = {
        request.payload["data"]["event_data"]["place"] for request in kochava_emulator.accepted
    }
    assert {outcome.index for outcome in reported} <= places


def test_closing_the_generator_does_not_wait_for_retries():
    policy = RetryPolicy(base=0, cap=0, deadline=600, retry_after_cap=600)
    posted = threading.Semaphore(0)

    def answer(request):
        if request.message_id == "0":
            for _ in range(3):  # the other threads have something to do as well
                assert posted.acquire(timeout=5)
            return Answer(200)
        posted.release()
        return Answer(503, {"Retry-After": "300"})

    destination = KochavaDestination(
        "koapp", transport=RecordingTransport(answer), retry=policy, hooks=()
    )
    outcomes = destination.send_many(messages(20, devices=20), concurrency=4)
    assert next(outcomes).index == 0
    began = time.monotonic()
    outcomes.close()
    assert time.monotonic() - began < 2
    # The destination itself is as good as before.
    posted.release(3)
    assert destination.send(ios(messageId="0")).status == 200


def test_closing_the_destination_ends_the_waits_and_every_message_is_reported():
    def answer(_request):
        return Answer(503, {"Retry-After": "300"})

    policy = RetryPolicy(deadline=600, retry_after_cap=600)
    destination = KochavaDestination(
        "koapp", transport=RecordingTransport(answer), retry=policy, hooks=()
    )
    threading.Timer(0.1, destination.close).start()
    began = time.monotonic()
    outcomes = list(destination.send_many(messages(50, devices=50), concurrency=4))
    assert time.monotonic() - began < 5
    assert sorted(outcome.index for outcome in outcomes) == list(range(50))
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.EXHAUSTED}
    assert {outcome.error.detail for outcome in outcomes} == {"the destination was closed"}


def test_after_closing_nothing_is_sent():
    destination, transport = answering({})
    destination.close()
    (outcome,) = destination.send_many([ios()])
    assert (outcome.kind, outcome.error.attempts) == ("exhausted", 0)
    assert transport.requests == ()


def test_a_filter_keeps_its_reason_through_the_outcome():
    destination, _ = answering({})
    (outcome,) = destination.send_many([ios(type="screen", name="Home")])
    assert isinstance(outcome.error, EventFiltered)
    assert outcome.reason == "SCREENS_OFF"
