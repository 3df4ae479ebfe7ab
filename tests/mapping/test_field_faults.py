"""What other integrations with Kochava get wrong. Each of these costs somebody attribution."""

import copy
import json

import pytest

from kochava_segment.mapping.mapper import map_message
from kochava_segment.options import Options
from tests.messages import ADID, ANDROID_ID, IDFA, IDFV, MISSING, android, ios


@pytest.mark.parametrize(
    "timestamp", ["2026-03-20T18:06:56.900Z", 1774030016, 1774030016900, 1774030016.9]
)
def test_usertime_is_in_seconds_never_milliseconds(data_of, timestamp):
    assert data_of(ios(timestamp=timestamp))["usertime"] == 1774030016


@pytest.mark.parametrize("status", ["denied", "notDetermined", MISSING])
def test_the_idfv_is_not_sent_as_idfa(map_with, status):
    message = ios(
        context__device__advertisingId=IDFV.lower(), context__device__trackingStatus=status
    )
    ids = map_with(message).payload["data"]["device_ids"]
    assert ids == {"idfv": IDFV}


def test_the_wish_list_has_kochava_s_name(data_of):
    data = data_of(ios(event="Product Added to Wishlist"))
    assert data["event_name"] == "Add to Wish List"


def test_no_android_id_is_sent_as_idfa(data_of):
    ids = data_of(android(context__device__idfa=ADID))["device_ids"]
    assert ids == {"adid": ADID, "android_id": ANDROID_ID}


@pytest.mark.parametrize("kind", ["Level Up", "Application Installed", "Order Completed"])
@pytest.mark.parametrize("device", [{}, {"id": IDFV}, {"id": IDFV, "advertisingId": IDFA}])
def test_app_tracking_transparency_is_always_sent_on_apple(data_of, kind, device):
    message = ios(event=kind, context__device={"type": "ios", **device})
    assert isinstance(data_of(message)["app_tracking_transparency"]["att"], bool)


@pytest.mark.parametrize("message_of", [ios, android])
def test_anonymous_id_is_no_device_id(data_of, message_of):
    message = message_of(context__device__id=MISSING, context__device__advertisingId=MISSING)
    assert not any(data_of(message)["device_ids"].values())


def test_nan_does_not_become_invalid_json(map_with):
    message = ios(
        event="Order Completed",
        properties={
            "revenue": float("nan"),
            "a": [float("inf")],
            "products": [{"quantity": 1e999}],
        },
    )
    body = map_with(message).body

    def refuse(constant):
        raise AssertionError(constant)

    assert "price" not in json.loads(body, parse_constant=refuse)["data"]["event_data"]


def test_the_caller_s_message_is_not_changed():
    message = ios(
        event="Order Completed",
        properties={
            "revenue": "5",
            "currency": "eur",
            "source": "mail",
            "email": "ann@mail.example",
            "products": [{"sku": "s", "quantity": "2"}],
        },
        integrations={"Kochava": {"device_ids": {"custom": "c"}}},
    )
    before = copy.deepcopy(message)
    for nested in ("keep", "flatten", "drop"):
        map_message(message, Options.load({"app_guid": "koapp", "nested": nested}))
    assert message == before


def test_a_request_shares_nothing_with_the_message(map_with):
    message = ios(properties={"a": {"b": [1]}})
    request = map_with(message)
    body = request.body
    message["properties"]["a"]["b"].append(2)
    assert request.body == body
    assert request.payload["data"]["event_data"] == {"a": {"b": [1]}}
    assert request.payload is not request.payload
