import json
import types

import pytest

from kochava_segment import (
    ConfigurationError,
    EventFiltered,
    EventNotSupported,
    InvalidEventPayload,
    KochavaDestination,
)
from kochava_segment.mapping.mapper import encode, path_of
from tests.messages import IDFA, MISSING, android, ios


def screen(kind="screen", **changes):
    return ios(type=kind, event=MISSING, **changes)


@pytest.mark.parametrize("name", ["Application Installed", " application   INSTALLED "])
def test_application_installed_is_an_install(map_with, name):
    request = map_with(ios(event=name))
    assert request.action == request.payload["action"] == "install"
    assert request.payload["app_ver"] == "3.2.1"
    assert not {"event_name", "event_data", "currency"} & request.payload["data"].keys()


def test_attribution_from_kochava_does_not_go_back(map_with):
    with pytest.raises(EventFiltered) as caught:
        map_with(ios(event="install attributed", properties={"provider": "kochava"}))
    assert caught.value.reason == "LOOP"
    assert caught.value.message_id == "m-1"


def test_attribution_from_somebody_else_is_an_event(data_of):
    message = ios(event="Install Attributed", properties={"provider": "Other"})
    assert data_of(message)["event_name"] == "Install Attributed"


@pytest.mark.parametrize("kind", ["group", "alias", "delete", "something"])
def test_types_that_kochava_does_not_have(map_with, kind):
    with pytest.raises(EventNotSupported):
        map_with(ios(type=kind))


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"type": MISSING}, "type"),
        ({"type": None}, "type"),
        ({"type": 7}, "type"),
        ({"event": MISSING}, "event"),
        ({"event": "  "}, "event"),
        ({"event": 5}, "event"),
        ({"properties": [1]}, "properties"),
        ({"context": "x"}, "context"),
        ({"context__device": 1}, "context.device"),
        ({"context__device__id": 17}, "context.device.id"),
        ({"integrations": "yes"}, "integrations"),
        ({"integrations": {"Kochava": "yes"}}, "integrations.Kochava"),
        ({"event": "Order Completed", "userId": {"a": 1}}, "userId"),
        (
            {"integrations__Kochava__device_ids": {"idfa": 5}},
            "integrations.Kochava.device_ids.idfa",
        ),
        ({"context__device__adTrackingEnabled": "perhaps"}, "context.device.adTrackingEnabled"),
    ],
)
def test_malformed_messages_name_the_path(map_with, changes, path):
    with pytest.raises(InvalidEventPayload) as caught:
        map_with(ios(**changes))
    assert path in [problem.path for problem in caught.value.problems]


def test_all_problems_are_collected(map_with):
    with pytest.raises(InvalidEventPayload) as caught:
        map_with(ios(event="", properties=3, context__device__id=[]))
    assert {problem.path for problem in caught.value.problems} == {
        "event",
        "properties",
        "context.device.id",
    }


@pytest.mark.parametrize("message", [None, 1, "x", [], True])
def test_what_is_no_object_is_invalid(map_with, message):
    with pytest.raises(InvalidEventPayload, match="message"):
        map_with(message)


@pytest.mark.parametrize("kind", ["screen", "page"])
def test_screens_are_off_by_default(map_with, kind):
    with pytest.raises(EventFiltered) as caught:
        map_with(screen(kind, name="Home"))
    assert caught.value.reason == "SCREENS_OFF"


@pytest.mark.parametrize("kind", ["screen", "page"])
def test_screens_as_views(data_of, kind):
    data = data_of(screen(kind, name="Home", properties={"name": "Other", "a": 1}), screens="view")
    assert data["event_name"] == "View"
    assert data["event_data"] == {"a": 1, "content_type": "screen", "name": "Home"}


def test_named_screens(data_of):
    assert data_of(screen(name="Home"), screens="named")["event_name"] == "screen view Home"
    from_properties = screen(properties={"name": "Piste"})
    assert data_of(from_properties, screens="named")["event_name"] == "screen view Piste"
    assert data_of(screen(properties={}), screens="named")["event_name"] == "screen view"
    assert "name" not in data_of(screen(properties={}), screens="view")["event_data"]


@pytest.mark.parametrize(
    ("integrations", "passes"),
    [
        (None, True),
        ({}, True),
        ({"All": True}, True),
        ({"All": False}, False),
        ({"all": False}, False),
        ({"All": False, "Kochava": True}, True),
        ({"All": False, "Kochava": {}}, True),
        ({"All": True, "Kochava": False}, False),
        ({"Kochava": None, "All": False}, False),
        ({"Other": False}, True),
    ],
)
def test_integrations_object(map_with, integrations, passes):
    message = ios(integrations=integrations)
    if passes:
        map_with(message)
    else:
        with pytest.raises(EventFiltered) as caught:
            map_with(message)
        assert caught.value.reason == "FILTERED_BY_INTEGRATIONS_OBJECT"


@pytest.mark.parametrize(
    ("consent", "passes"),
    [
        (MISSING, True),
        ({}, True),
        ({"categoryPreferences": None}, True),
        ({"categoryPreferences": {}}, False),
        ({"categoryPreferences": {"Ads": True}}, False),
        ({"categoryPreferences": {"Ads": True, "Sale": False}}, False),
        ({"categoryPreferences": {"Ads": True, "Sale": "true"}}, False),
        ({"categoryPreferences": {"Ads": True, "Sale": True, "Other": False}}, True),
    ],
)
def test_consent(map_with, consent, passes):
    message = ios(context__consent=consent)
    if passes:
        map_with(message, required_consent=["Ads", "Sale"])
    else:
        with pytest.raises(EventFiltered) as caught:
            map_with(message, required_consent=["Ads", "Sale"])
        assert caught.value.reason == "FILTERED_BY_END_USER_CONSENT"


def test_consent_comes_before_integrations_and_both_before_the_type(map_with):
    refused = {"categoryPreferences": {"Ads": False}}
    message = ios(type="group", context__consent=refused, integrations={"Kochava": False})
    with pytest.raises(EventFiltered) as caught:
        map_with(message, required_consent=["Ads"])
    assert caught.value.reason == "FILTERED_BY_END_USER_CONSENT"
    with pytest.raises(EventFiltered) as caught:
        map_with(message)
    assert caught.value.reason == "FILTERED_BY_INTEGRATIONS_OBJECT"


def test_methods_take_their_own_type_only():
    with KochavaDestination("koapp", screens="named") as destination:
        assert destination.track(ios()) == destination.map(ios())
        assert destination.screen(screen(name="a")).action == "event"
        assert destination.screen(screen("page", name="a")).action == "event"
        link = ios(type="identify")
        assert destination.identify(link).action == "identity_link"
        for method, message in (
            (destination.track, link),
            (destination.identify, ios()),
            (destination.screen, ios()),
            (destination.track, ios(type=MISSING)),
        ):
            with pytest.raises(InvalidEventPayload) as caught:
                method(message)
            assert caught.value.problems[0].path == "type"


def test_idfa_update_tells_the_idfa_alone():
    with KochavaDestination("koapp") as destination:
        request = destination.idfa_update(ios())
        assert request.payload == {
            "action": "update",
            "kochava_app_id": "koapp",
            "kochava_device_id": ios()["context"]["device"]["id"],
            "data": {"idfa": IDFA},
        }
        assert request.headers == {"User-Agent": "Unknown"}
        for message in (ios(context__device__trackingStatus="denied"), android()):
            with pytest.raises(InvalidEventPayload):
                destination.idfa_update(message)
        nobody = ios(anonymousId=MISSING, context__device__id=MISSING)
        with pytest.raises(InvalidEventPayload, match="kochava_device_id"):
            destination.idfa_update(nobody)


def test_keys_of_the_document_have_a_fixed_order(map_with):
    install = map_with(ios(event="Application Installed")).payload
    assert list(install) == ["action", "kochava_app_id", "app_ver", "kochava_device_id", "data"]
    event = map_with(ios(properties={"price": 1, "currency": "EUR"})).payload["data"]
    assert list(event)[:5] == ["device_ids", "usertime", "event_name", "event_data", "currency"]


def test_bytes_are_compact_utf8(map_with):
    body = map_with(ios(properties={"ort": "Zürich/Süd"})).body
    assert "Zürich/Süd".encode() in body
    assert b", " not in body
    assert b": " not in body.replace(b"Mozilla/5.0 (iPhone)", b"")


def test_signed_bytes_are_what_php_writes():
    body = encode({"a": "ü/", "b": {}, "c": [{}], "d": {"e": {}}, "f": [], "g": 1}, signed=True)
    assert body == rb'{"a":"\u00fc\/","c":[],"f":[],"g":1}'


def test_a_body_over_two_megabytes_is_invalid(map_with):
    with pytest.raises(InvalidEventPayload, match="2000000"):
        map_with(ios(properties={"text": "x" * 2_000_000}))


def test_no_app_guid_anywhere(map_with):
    with pytest.raises(ConfigurationError, match="app_guid"):
        map_with(ios(), app_guid=None)


def test_any_mapping_is_taken_and_none_is_changed(map_with):
    def readonly(value):
        if isinstance(value, dict):
            return types.MappingProxyType({key: readonly(item) for key, item in value.items()})
        return tuple(map(readonly, value)) if isinstance(value, list) else value

    message = ios(properties={"products": [{"sku": "a"}]}, event="Order Completed")
    before = json.dumps(message)
    assert map_with(readonly(message)).body == map_with(message).body
    assert json.dumps(message) == before


@pytest.mark.parametrize(
    "message", [ios(), ios(event="Application Installed"), ios(type="identify")]
)
def test_the_path_of_a_request_is_that_of_its_action(map_with, message):
    request = map_with(message)
    assert request.url == f"https://control.kochava.com{path_of(request.action)}"
