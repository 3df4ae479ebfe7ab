"""Which app and which device a message is about."""

import pytest

from kochava_segment import ConfigurationError, InvalidEventPayload
from tests.messages import ADID, ANDROID_ID, IDFA, IDFV, MISSING, android, ios

NOBODY_S_IDS = {"idfa": "", "idfv": "", "adid": "", "android_id": ""}
ZEROS = "00000000-0000-0000-0000-000000000000"


def of_platform(name=MISSING, kind=MISSING, **changes):
    return ios(context__os__name=name, context__device__type=kind, **changes)


@pytest.mark.parametrize(
    ("os_name", "device_type", "key"),
    [
        ("iOS", MISSING, "idfv"),
        ("iPhone OS", MISSING, "idfv"),
        ("iPadOS", MISSING, "idfv"),
        ("tvOS", MISSING, "idfv"),
        ("watchOS", MISSING, "idfv"),
        ("visionOS", MISSING, "idfv"),
        (MISSING, "iPhone", "idfv"),
        (MISSING, "iPad", "idfv"),
        (" IOS ", MISSING, "idfv"),
        ("Android", "ios", "android_id"),
        ("Fire OS", MISSING, "android_id"),
        ("Linux", "android", "android_id"),
        ("", "ANDROID", "android_id"),
        (None, "ios", "idfv"),
    ],
)
def test_platform_is_the_system_if_it_is_known_else_the_device_type(
    map_with, os_name, device_type, key
):
    message = of_platform(
        os_name, device_type, context__device__id=ANDROID_ID, context__userAgent="curl"
    )
    request = map_with(message)
    assert request.payload["data"]["device_ids"][key] == ANDROID_ID
    assert "platform-inferred" not in [warning.code for warning in request.warnings]


@pytest.mark.parametrize(
    ("agent", "key"),
    [
        ("Mozilla/5.0 (iPhone; CPU)", "idfa"),
        ("Mozilla/5.0 (iPad)", "idfa"),
        ("Mozilla/5.0 (iPod touch)", "idfa"),
        ("Skis/77 CFNetwork/1490", "idfa"),
        ("Skis/77 Darwin/23", "idfa"),
        ("Mozilla/5.0 (Linux; Android 14)", "adid"),
        ("Dalvik/2.1.0 (Linux; U)", "adid"),
    ],
)
def test_the_user_agent_is_asked_where_both_fields_are_missing(map_with, agent, key):
    request = map_with(of_platform(context__userAgent=agent))
    assert request.payload["data"]["device_ids"][key] == IDFA
    (warning,) = request.warnings
    assert (warning.code, warning.field) == ("platform-inferred", "context.userAgent")


@pytest.mark.parametrize(
    ("os_name", "device_type"),
    [("Windows", MISSING), (MISSING, "desktop"), ("macOS", "macos")],
)
def test_the_user_agent_is_not_asked_where_a_field_says_something_else(
    map_with, os_name, device_type
):
    request = map_with(of_platform(os_name, device_type))  # with an iPhone's agent
    data = request.payload["data"]
    assert data["device_ids"] == NOBODY_S_IDS
    assert "app_tracking_transparency" not in data
    assert [warning.code for warning in request.warnings] == ["no-platform", "no-device-id"]


def test_without_a_platform_and_advertising_id_there_is_nothing_to_leave_out(warnings_of):
    message = of_platform(context__userAgent="curl/8", context__device__advertisingId=MISSING)
    assert warnings_of(message) == ["no-device-id"]


# The App GUID


@pytest.mark.parametrize(
    ("changes", "guid"),
    [
        ({"integrations__Kochava__app_guid": "koown"}, "koown"),
        ({"integrations__Kochava__appGuid": "koown"}, "koown"),
        ({}, "koskis"),
        ({"context__app__namespace": "other"}, "koios"),
        ({"context__app__namespace": MISSING}, "koios"),
        ({"context__app__namespace": "other", "context__os__name": "Windows"}, "koios"),
        (
            {
                "context__app__namespace": "other",
                "context__os__name": "Windows",
                "context__device__type": "pc",
            },
            "koapp",
        ),
    ],
)
def test_app_guid_is_the_most_specific_one(map_with, changes, guid):
    guids = {"com.example.skis": "koskis", "ios": "koios"}
    request = map_with(ios(**changes), app_guids=guids)
    assert request.payload["kochava_app_id"] == guid
    assert request.ordering_key == f"{guid}/{IDFV}"


@pytest.mark.parametrize("guid", ["koown/x", "ko own", "ko\nown", "\x1b[2J", "köown", "koown\n"])
def test_an_app_guid_of_a_message_is_none_with_other_characters(map_with, guid):
    with pytest.raises(InvalidEventPayload) as caught:
        map_with(ios(integrations__Kochava__app_guid=guid))
    assert [problem.path for problem in caught.value.problems] == ["integrations.Kochava.app_guid"]


def test_app_guid_of_android(map_with):
    guids = {"ios": "koios", "android": "koandroid"}
    assert map_with(android(), app_guids=guids).payload["kochava_app_id"] == "koandroid"


def test_no_app_guid_is_a_matter_of_configuration(map_with):
    with pytest.raises(ConfigurationError) as caught:
        map_with(android(), app_guid=None, app_guids={"ios": "koios"})
    assert caught.value.problems[0].path == "app_guid"


# kochava_device_id


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"integrations__Kochava__kochava_device_id": "k-1"}, "k-1"),
        ({"integrations__Kochava__kochavaDeviceId": "k-1"}, "k-1"),
        ({"integrations__Kochava": {"kochava_device_id": None, "kochavaDeviceId": "k"}}, "k"),
        ({}, IDFV),
        ({"context__device__id": MISSING}, "a-42"),
        ({"context__device__id": ""}, "a-42"),
        ({"context__device__id": "UNKNOWN_ID"}, "a-42"),
        ({"context__device__id": None, "anonymousId": 42}, "42"),
        ({"context__device__id": None, "anonymousId": None}, ""),
    ],
)
def test_kochava_device_id(map_with, changes, expected):
    assert map_with(ios(**changes)).payload["kochava_device_id"] == expected


def test_requests_of_a_device_without_kochava_device_id_are_ordered_by_another_id(map_with):
    message = ios(context__device__id=None, anonymousId=None)
    assert map_with(message).ordering_key == f"koapp/{IDFA}"


# The advertising id


@pytest.mark.parametrize(
    "given",
    [
        {"advertisingId": IDFA},
        {"advertising_id": IDFA},
        {"idfa": IDFA},
        {"advertisingId": IDFA, "advertising_id": ADID, "idfa": ADID},
        {"advertisingId": None, "advertising_id": IDFA, "idfa": ADID},
        {"advertisingId": "", "idfa": IDFA},
    ],
)
def test_three_names_of_the_advertising_id(map_with, given):
    device = {"id": IDFV, "type": "ios", "trackingStatus": "authorized", **given}
    request = map_with(ios(context__device=device))
    assert request.payload["data"]["device_ids"] == {"idfa": IDFA, "idfv": IDFV}
    assert "untrusted-advertising-id" not in [warning.code for warning in request.warnings]


@pytest.mark.parametrize("value", ["", "  ", ZEROS, "0", IDFV, IDFV.lower()])
@pytest.mark.parametrize("message_of", [ios, android])
def test_an_advertising_id_that_is_none_is_left_out_on_every_platform(map_with, message_of, value):
    request = map_with(message_of(context__device__advertisingId=value, context__device__id=IDFV))
    ids = request.payload["data"]["device_ids"]
    assert not ids.get("idfa")
    assert not ids.get("adid")
    warning = request.warnings[0]
    assert warning.code == "untrusted-advertising-id"
    assert warning.field == "context.device.advertisingId"


def test_an_advertising_id_that_was_never_asked_for_is_not_warned_of(warnings_of):
    assert warnings_of(ios(context__device__advertisingId=None)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"adTrackingEnabled": False},
        {"trackingStatus": "denied"},
        {"trackingStatus": "restricted"},
        {"trackingStatus": "notDetermined"},
        {"trackingStatus": "not_determined"},
        {"trackingStatus": "TrackingStatus.denied"},
        {"trackingStatus": MISSING, "attTrackingStatus": 0},
        {"trackingStatus": MISSING, "attTrackingStatus": 1.0},
        {"trackingStatus": "unknown", "attTrackingStatus": "2"},
    ],
)
def test_an_idfa_without_consent_is_left_out(map_with, changes):
    message = ios(**{f"context__device__{name}": value for name, value in changes.items()})
    request = map_with(message)
    assert request.payload["data"]["device_ids"] == {"idfv": IDFV}
    assert [warning.code for warning in request.warnings] == ["untrusted-advertising-id"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"trackingStatus": "TrackingStatus.authorized"},
        {"trackingStatus": 3},
        {"trackingStatus": MISSING, "attTrackingStatus": 3.0},
        {"trackingStatus": "unknown"},
        {"trackingStatus": MISSING},
    ],
)
def test_an_idfa_with_consent_or_nothing_against_it_is_sent(data_of, changes):
    message = ios(**{f"context__device__{name}": value for name, value in changes.items()})
    data = data_of(message)
    assert data["device_ids"]["idfa"] == IDFA
    assert data["app_tracking_transparency"] == {"att": True}


def test_android_has_its_adid_whatever_tracking_says(map_with):
    request = map_with(
        android(context__device__adTrackingEnabled=False, context__device__trackingStatus="denied")
    )
    assert request.payload["data"]["device_ids"]["adid"] == ADID
    assert request.warnings == ()


# device_ids


@pytest.mark.parametrize(
    ("device_id", "sent"),
    [
        (ANDROID_ID, True),
        (ANDROID_ID.upper(), True),
        (ANDROID_ID + "0", False),
        ("g" + ANDROID_ID[1:], False),
        ("X" + ANDROID_ID[1:], False),
        ("9c56" * 16, False),
        (IDFV, False),
        ("a-42", False),
    ],
)
def test_android_id_is_a_device_id_of_sixteen_hex_digits(data_of, device_id, sent):
    ids = data_of(android(context__device__id=device_id))["device_ids"]
    assert ids == ({"adid": ADID, "android_id": device_id} if sent else {"adid": ADID})


def test_anonymous_id_is_nobody_s_device_id(map_with):
    message = ios(context__device__id=MISSING, context__device__advertisingId=MISSING)
    request = map_with(message)
    assert request.payload["kochava_device_id"] == "a-42"
    assert request.payload["data"]["device_ids"] == {"idfa": "", "idfv": ""}
    (warning,) = request.warnings
    assert (warning.code, warning.field) == ("no-device-id", "context.device")


def test_react_native_s_unknown_id_is_not_an_idfv(data_of):
    assert data_of(ios(context__device__id="UNKNOWN_ID"))["device_ids"] == {"idfa": IDFA}


@pytest.mark.parametrize("name", ["device_ids", "deviceIds"])
def test_device_ids_of_the_message_go_over_those_that_were_found(data_of, name):
    own = {"custom": "c", "idfa": "OTHER", "nothing": None}
    data = data_of(ios(**{f"integrations__Kochava__{name}": own}))
    assert data["device_ids"] == {"custom": "c", "idfa": "OTHER", "idfv": IDFV}


def test_device_ids_of_the_message_are_all_there_is_without_a_platform(map_with):
    message = of_platform("Windows", integrations__Kochava__device_ids={"custom": "c"})
    request = map_with(message)
    assert request.payload["data"]["device_ids"] == {"custom": "c"}
    assert [warning.code for warning in request.warnings] == ["no-platform"]


def test_empty_device_ids_of_the_message_count_as_none(map_with):
    message = of_platform(
        "Windows",
        context__device__advertisingId=MISSING,
        integrations__Kochava__device_ids={"custom": ""},
    )
    assert map_with(message).payload["data"]["device_ids"] == NOBODY_S_IDS


@pytest.mark.parametrize(
    ("own", "path"),
    [
        ({"idfa": 5}, "integrations.Kochava.device_ids.idfa"),
        ({"idfa": "\ud800"}, "integrations.Kochava.device_ids.idfa"),
        ({"\ud800": "x"}, "integrations.Kochava.device_ids.[…]"),
        ({5: "x"}, "integrations.Kochava.device_ids[5]"),
        (["x"], "integrations.Kochava.device_ids"),
    ],
)
def test_device_ids_of_the_message_are_an_object_of_strings(map_with, own, path):
    with pytest.raises(InvalidEventPayload) as caught:
        map_with(ios(integrations__Kochava__device_ids=own))
    assert [problem.path for problem in caught.value.problems] == [path]


def test_equal_device_ids_give_equal_bytes(map_with):
    one = ios(integrations__Kochava__device_ids={"a": "1", "b": "2"})
    other = ios(integrations__Kochava__device_ids={"b": "2", "a": "1"})
    assert map_with(one).body == map_with(other).body


def test_no_device_id_is_invalid_on_request_or_without_kochava_device_id(map_with):
    without_ids = ios(context__device__id=MISSING, context__device__advertisingId=MISSING)
    with pytest.raises(InvalidEventPayload) as caught:
        map_with(without_ids, require_device_id=True)
    assert [problem.path for problem in caught.value.problems] == ["context.device.id"]
    assert "give an advertising id" in caught.value.problems[0].detail
    with pytest.raises(InvalidEventPayload):
        map_with({**without_ids, "anonymousId": ""})
    map_with(ios(), require_device_id=True)
