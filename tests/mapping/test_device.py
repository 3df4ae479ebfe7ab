"""The data block that installs and events share."""

import pytest

from kochava_segment import InvalidEventPayload
from tests.messages import IDFA, IDFV, MISSING, android, ios

# Time


@pytest.mark.parametrize(
    ("changes", "seconds", "warned"),
    [
        ({}, 1774030016, []),
        ({"timestamp": MISSING, "originalTimestamp": "2026-03-20T18:06:57Z"}, 1774030017, []),
        ({"timestamp": None, "sentAt": 1774030018}, 1774030018, []),
        ({"timestamp": "", "receivedAt": "2026-03-20T18:06:59Z"}, 1774030019, []),
        (
            {"originalTimestamp": 1, "sentAt": 2, "receivedAt": 3},
            1774030016,
            [],
        ),
        (
            {"timestamp": "soon", "originalTimestamp": True, "sentAt": 7},
            7,
            [("bad-timestamp", "timestamp"), ("bad-timestamp", "originalTimestamp")],
        ),
        ({"timestamp": MISSING}, None, [("no-timestamp", "timestamp")]),
        (
            {"timestamp": "9999-12-31"},
            None,
            [("bad-timestamp", "timestamp"), ("no-timestamp", "timestamp")],
        ),
    ],
)
def test_usertime_is_the_first_time_that_is_one(map_with, changes, seconds, warned):
    request = map_with(ios(**changes))
    assert request.payload["data"].get("usertime") == seconds
    assert [(warning.code, warning.field) for warning in request.warnings] == warned


# Address


@pytest.mark.parametrize(
    ("ip", "request_ip", "sent", "warned"),
    [
        ("203.0.113.7", MISSING, "203.0.113.7", []),
        ("203.0.113.7", "203.0.113.9", "203.0.113.7", []),
        (" 2001:db8::7 ", MISSING, "2001:db8::7", []),
        (MISSING, "203.0.113.9", "203.0.113.9", []),
        ("", "203.0.113.9", "203.0.113.9", []),
        (None, None, None, [("no-ip", "context.ip")]),
        ("here", MISSING, None, [("bad-ip", "context.ip")]),
        (7, MISSING, None, [("bad-ip", "context.ip")]),
        ("256.1.1.1", "203.0.113.9", "203.0.113.9", [("bad-ip", "context.ip")]),
        (MISSING, "x", None, [("bad-ip", "request_ip")]),
    ],
)
def test_origination_ip_is_the_first_that_is_an_address(map_with, ip, request_ip, sent, warned):
    request = map_with(ios(context__ip=ip, request_ip=request_ip))
    assert request.payload["data"].get("origination_ip") == sent
    assert [(warning.code, warning.field) for warning in request.warnings] == warned


# User agent and device


@pytest.mark.parametrize("agent", [MISSING, None, "", " ", "undefined"])
def test_without_a_user_agent_kochava_makes_one_of_device_ver(map_with, agent):
    request = map_with(ios(context__userAgent=agent))
    data = request.payload["data"]
    assert (data["device_ua"], data["device_ver"]) == ("", "iPhone16,2-iOS-17.5")
    assert request.headers == {"User-Agent": "Unknown"}
    assert request.warnings == ()


def test_a_user_agent_goes_raw_or_encoded(map_with):
    assert map_with(ios()).payload["data"]["device_ua"] == "Mozilla/5.0 (iPhone)"
    request = map_with(ios(), encode_user_agent=True)
    assert request.payload["data"]["device_ua"] == "Mozilla%2F5.0%20%28iPhone%29"
    assert request.headers == {}


@pytest.mark.parametrize("missing", ["device__model", "os__name", "os__version"])
def test_device_ver_needs_all_three_of_its_parts(map_with, missing):
    request = map_with(ios(**{f"context__{missing}": MISSING}))
    assert request.payload["data"]["device_ver"] == ""
    assert request.warnings == ()
    request = map_with(ios(**{f"context__{missing}": MISSING, "context__userAgent": "undefined"}))
    (warning,) = request.warnings
    assert (warning.code, warning.field) == ("no-device-version", "context.device.model")


def test_a_system_version_may_be_a_number(data_of):
    assert data_of(ios(context__os__version=17))["device_ver"] == "iPhone16,2-iOS-17"


def test_app_version(data_of):
    assert data_of(ios())["app_version"] == "3.2.1"
    assert data_of(ios(properties={"version": "9"}))["app_version"] == "3.2.1"
    assert "app_version" not in data_of(ios(context__app=MISSING))


def test_the_version_that_an_install_names_wins(map_with):
    payload = map_with(ios(event="Application Installed", properties={"version": "9"})).payload
    assert payload["app_ver"] == payload["data"]["app_version"] == "9"
    without = ios(event="Application Installed", context__app__version=MISSING)
    assert "app_ver" not in map_with(without).payload


# App Tracking Transparency


def device(**fields):
    return {"id": IDFV, "type": "ios", **fields}


@pytest.mark.parametrize(
    ("fields", "options", "att", "warned"),
    [
        ({"advertisingId": IDFA, "trackingStatus": "authorized"}, {}, True, []),
        ({"trackingStatus": "authorized"}, {}, True, []),
        ({"trackingStatus": "denied"}, {}, False, []),
        ({"advertisingId": IDFA, "adTrackingEnabled": True}, {}, True, []),
        ({"adTrackingEnabled": True}, {}, False, []),
        ({}, {}, False, []),
        ({"advertisingId": IDFA}, {}, False, ["att-unknown"]),
        ({"advertisingId": IDFA, "trackingStatus": "unknown"}, {}, False, ["att-unknown"]),
        ({"advertisingId": IDFA}, {"att": True}, True, []),
        ({"advertisingId": IDFA}, {"att": "true"}, True, []),
        ({"advertisingId": IDFA, "trackingStatus": "authorized"}, {"att": False}, False, []),
        ({"adTrackingEnabled": False}, {"device_ids": {"idfa": "X"}}, False, ["att-unknown"]),
        ({"adTrackingEnabled": True}, {"device_ids": {"idfa": "X"}}, True, []),
    ],
)
def test_att(map_with, fields, options, att, warned):
    message = ios(context__device=device(**fields), integrations={"Kochava": options})
    request = map_with(message)
    assert request.payload["data"]["app_tracking_transparency"] == {"att": att}
    assert [warning.code for warning in request.warnings] == warned
    assert {warning.field for warning in request.warnings} <= {"context.device.trackingStatus"}


def test_att_details_come_in_both_spellings(data_of):
    snake = {"att_time": 1774030016.9, "att_duration": 4, "att_detail": "asked"}
    camel = {"attTime": 1774030016, "attDuration": 4, "attDetail": "asked"}
    expected = {"att": True, "att_time": 1774030016, "att_duration": 4, "att_detail": "asked"}
    for options in (snake, camel):
        data = data_of(ios(integrations={"Kochava": options}))
        assert data["app_tracking_transparency"] == expected


@pytest.mark.parametrize("time", [1774030016900, -1, True, "1774030016", float("nan"), 10**400])
def test_att_time_is_in_seconds(map_with, time):
    with pytest.raises(InvalidEventPayload) as caught:
        map_with(ios(integrations={"Kochava": {"attTime": time}}))
    assert [problem.path for problem in caught.value.problems] == ["integrations.Kochava.att_time"]


def test_android_knows_no_att(data_of):
    assert "app_tracking_transparency" not in data_of(android())


@pytest.mark.parametrize(
    ("enabled", "limited"), [(True, False), (False, True), ("true", False), (" False ", True)]
)
def test_limit_tracking_is_the_opposite_of_tracking_enabled(data_of, enabled, limited):
    message = android(context__device__adTrackingEnabled=enabled)
    assert data_of(message)["device_limit_tracking"] is limited


def test_limit_tracking_is_left_out_where_nothing_tells(data_of):
    assert "device_limit_tracking" not in data_of(android(context__device__adTrackingEnabled=None))


# Consent

CONSENT = {"Ads": True, "Sale": False, "Odd": "true"}


@pytest.mark.parametrize("name", ["gdpr_privacy_consent", "gdprPrivacyConsent"])
def test_gdpr_consent_of_the_message_goes_as_it_is(data_of, name):
    own = {"gdpr_applies": 1, "tc_string": "CPAs", "email": "kept@mail.example"}
    message = ios(
        context__consent__categoryPreferences=CONSENT, **{f"integrations__Kochava__{name}": own}
    )
    assert data_of(message, ad_user_data_consent="Ads")["gdpr_privacy_consent"] == own


def test_what_is_left_out_of_gdpr_consent_names_its_path(map_with):
    own = {"gdpr_applies": 1, "odd": float("nan")}
    request = map_with(ios(integrations={"Kochava": {"gdpr_privacy_consent": own}}))
    assert request.payload["data"]["gdpr_privacy_consent"] == {"gdpr_applies": 1}
    (warning,) = request.warnings
    assert warning.field == "integrations.Kochava.gdpr_privacy_consent.odd"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, None),
        ({"ad_user_data_consent": "Ads"}, {"ad_user_data": 1}),
        ({"ad_user_data_consent": "Sale"}, {"ad_user_data": 0}),
        ({"ad_personalization_consent": "Odd"}, {"ad_personalization": 0}),
        (
            {"ad_user_data_consent": "Ads", "ad_personalization_consent": "Gone"},
            {"ad_user_data": 1, "ad_personalization": 0},
        ),
    ],
)
def test_gdpr_consent_is_built_from_categories(data_of, options, expected):
    message = ios(
        context__consent__categoryPreferences=CONSENT,
        integrations__Kochava__gdpr_privacy_consent={},
    )
    assert data_of(message, **options).get("gdpr_privacy_consent") == expected


def test_gdpr_consent_is_left_out_where_the_message_has_no_consent(data_of):
    assert "gdpr_privacy_consent" not in data_of(ios(), ad_user_data_consent="Ads")


# Apple Search Ads


@pytest.mark.parametrize(
    ("changes", "token"),
    [
        ({"integrations__Kochava__ad_services_token": "A"}, "A"),
        ({"integrations__Kochava__adServicesToken": "A"}, "A"),
        ({}, "B"),
        ({"context__device__adServicesToken": None}, "C"),
        ({"context__device__adServicesToken": None, "properties": {}}, None),
    ],
)
def test_ad_services_token_goes_with_installs(data_of, changes, token):
    places = {
        "context__device__adServicesToken": "B",
        "properties": {"ad_services_token": "C"},
        **changes,
    }
    assert data_of(ios(event="Application Installed", **places)).get("ad_services_token") == token
    assert "ad_services_token" not in data_of(ios(**places))


def test_fields_have_the_order_of_kochava_s_table(data_of):
    message = ios(
        event="Order Completed",
        properties={"revenue": 1},
        context__campaign={"provider": "Apple", "source": "iAd", "id": "1"},
        integrations__Kochava__gdpr_privacy_consent={"gdpr_applies": 0},
    )
    order = (
        "device_ids usertime event_name event_data currency origination_ip device_ua device_ver "
        "app_version app_tracking_transparency device_limit_tracking gdpr_privacy_consent "
        "iad_attribution_details"
    )
    assert " ".join(data_of(message)) == order
    install = ios(event="Application Installed", integrations__Kochava__ad_services_token="A")
    assert list(data_of(install))[-1] == "ad_services_token"
