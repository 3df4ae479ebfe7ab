"""Each fault that the emulator can commit, once and for ever, over real HTTP."""

import pytest

from kochava_segment import (
    AmbiguousDelivery,
    CredentialsRejected,
    KochavaDestination,
    Rejected,
    RetriesExhausted,
    RetryPolicy,
)
from kochava_segment.delivery.signing import Credentials, auth_headers
from kochava_segment.emulator import Faults
from tests.messages import ios

_POLICY = RetryPolicy(max_attempts=2, base=0.01, deadline=20)


@pytest.fixture
def destination(kochava_emulator):
    with KochavaDestination(
        "koapp", endpoint=kochava_emulator.url, retry=_POLICY, timeout=(2, 0.5)
    ) as destination:
        yield destination


@pytest.mark.parametrize(
    ("fault", "maybe_repeated", "counted"),
    [
        ("503", False, 1),
        ("429", False, 1),
        ("408", False, 1),
        ("reset-before-reading", True, 1),
        ("reset-after-reading", True, 2),
        ("half-answer", True, 2),
        ("trickle", True, 2),
    ],
)
def test_a_passing_fault_is_retried(kochava_emulator, destination, fault, maybe_repeated, counted):
    kochava_emulator.faults = Faults(script=(fault,))
    receipt = destination.send(ios())
    assert (receipt.attempts, receipt.maybe_repeated) == (2, maybe_repeated)
    assert len(kochava_emulator.accepted) == counted


@pytest.mark.parametrize(
    ("fault", "error", "attempts", "status"),
    [
        ("503", RetriesExhausted, 2, 503),
        ("400", Rejected, 1, 400),
        ("501", Rejected, 1, 501),
        ("302", Rejected, 1, 302),
        ("401", CredentialsRejected, 1, 401),
        ("403", CredentialsRejected, 1, 403),
        ("success-zero", Rejected, 1, 200),
        ("reset-before-reading", AmbiguousDelivery, 2, None),
        ("reset-after-reading", AmbiguousDelivery, 2, None),
        ("half-answer", AmbiguousDelivery, 2, None),
        ("trickle", AmbiguousDelivery, 2, None),
    ],
)
def test_a_lasting_fault_has_its_error(
    kochava_emulator, destination, fault, error, attempts, status
):
    kochava_emulator.faults = Faults(script=(fault,) * 3)
    with pytest.raises(error) as caught:
        destination.send(ios())
    assert type(caught.value) is error
    assert (caught.value.attempts, caught.value.status) == (attempts, status)
    assert caught.value.message_id == "m-1"


def test_nobody_listens():
    with (
        KochavaDestination("koapp", endpoint="http://127.0.0.1:9", retry=_POLICY) as destination,
        pytest.raises(RetriesExhausted),
    ):
        destination.send(ios())


def test_the_vector_of_the_signature():
    body = (
        rb'{"action":"install","kochava_app_id":"koconversionsdemo174ea19bc63928c",'
        rb'"app_ver":"3.3.0","data":{"origination_ip":"69.224.141.77","device_ua":'
        rb'"Mozilla\/5.0 (iPhone)","device_ver":"iPhone-iOS-9.3.4","device_ids":'
        rb'{"idfa":"kochava-test-idfa-2015-12-09-12"}}}'
    )
    credentials = Credentials("AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE", "example-secret")
    assert auth_headers(body, credentials)["Kochava-Auth-Token"] == (
        "a3aee836a416623b732152385ffb9e298373ef500b42867d7b0683bbb4c94964"
    )


def test_many_messages_and_a_poisoned_one(kochava_emulator, destination):
    messages = [ios(messageId=str(n), context__device__id=f"d{n % 7}") for n in range(100)]
    messages[50] = {"type": "track", "event": object()}
    outcomes = sorted(destination.send_many(messages), key=lambda outcome: outcome.index)
    assert [outcome.index for outcome in outcomes] == list(range(100))
    assert {o.index: o.kind.value for o in outcomes if o.kind != "accepted"} == {50: "invalid"}
    for device in range(7):
        sent = [
            request.payload["data"]["usertime"]
            for request in kochava_emulator.accepted
            if request.payload["kochava_device_id"] == f"d{device}"
        ]
        assert len(sent) == len([n for n in range(100) if n % 7 == device and n != 50])
    kochava_emulator.assert_no_complaints()
