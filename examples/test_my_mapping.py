"""Tests of one's own mapping: no network, no mocks. `pytest examples/test_my_mapping.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from examples.my_mapping import make_destination, prepared
from kochava_segment import KochavaDestination, RecordingTransport


@pytest.fixture
def kochava() -> Iterator[KochavaDestination]:
    """This shop's destination, with nothing behind it."""
    with make_destination(app_guid="koexample", transport=RecordingTransport()) as destination:
        yield destination


def lift_pass(**properties: Any) -> dict[str, Any]:
    """A message of this shop."""
    return {
        "type": "track",
        "event": "Lift Pass Bought",
        "userId": "u-42",
        "timestamp": "2026-03-20T18:06:56Z",
        "properties": properties,
        "context": {
            "device": {"id": "7F2A1C5E-0B1D-4E0B-9E6F-3C2A9D1B4F10", "type": "ios"},
            "ip": "203.0.113.7",
            "userAgent": "Mozilla/5.0 (iPhone)",
        },
    }


def test_a_lift_pass_is_a_purchase_in_euros(kochava: KochavaDestination) -> None:
    request = kochava.track(prepared(lift_pass(price_cents=4250, currency="eur")))
    data = request.payload["data"]
    assert (data["event_name"], data["currency"]) == ("Purchase", "EUR")
    assert data["event_data"] == {"price": 42.5, "currency": "EUR", "user_id": "u-42"}


def test_notes_stay_here(kochava: KochavaDestination) -> None:
    request = kochava.track(prepared(lift_pass(internal_note="knows the owner")))
    assert b"owner" not in request.body


def test_nothing_is_odd(kochava: KochavaDestination) -> None:
    assert kochava.track(prepared(lift_pass(price_cents=4250, currency="EUR"))).warnings == ()
