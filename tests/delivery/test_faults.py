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
