"""Kochava's install postback to Segment's Install Attributed."""

import hashlib
import time

import attrs
import pytest

from kochava_segment import InvalidEventPayload, KochavaDestination, PostbackFields
from kochava_segment.errors import EventFiltered, EventNotSupported
from tests.messages import ADID, ANDROID_ID, IDFA, IDFV, MISSING

destination = KochavaDestination("koapp")

POSTBACK = {
    "event_name": "_install",
    "network_name": "Net",
    "campaign_name": "Spring",
    "campaign_id": "7",
    "site_id": "s",
    "sub_site_id": "g",
    "creative_id": "c",
    "click_date": "2026-03-19 10:00:00",
    "install_date": "1774030016",
    "kochava_device_id": "k1",
    "idfa": IDFA,
    "idfv": IDFV,
    "ip": "203.0.113.7",
    "user_agent": "Mozilla/5.0 (iPhone)",
    "user_id": "u-42",
    "anonymous_id": "a-42",
}


def attributed(**changes):
    postback = {**POSTBACK, **changes}
    kept = {name: value for name, value in postback.items() if value is not MISSING}
    return destination.install_attribution(kept)


def test_every_field_has_its_place():
    message = attributed()
    assert message.pop("messageId").startswith("kochava-")
    assert message == {
        "type": "track",
        "event": "Install Attributed",
        "userId": "u-42",
        "anonymousId": "a-42",
        "timestamp": "2026-03-20T18:06:56Z",
        "properties": {
            "provider": "Kochava",
            "campaign": {
                "source": "Net",
                "name": "Spring",
                "id": "7",
                "content": "s",
                "ad_creative": "c",
                "ad_group": "g",
                "click_date": "2026-03-19 10:00:00",
            },
        },
        "context": {
            "device": {"id": "k1", "advertisingId": IDFA, "type": "ios"},
            "ip": "203.0.113.7",
            "userAgent": "Mozilla/5.0 (iPhone)",
        },
        "integrations": {"Kochava": False},
    }


def test_it_does_not_come_back():
    message = attributed()
    with pytest.raises(EventFiltered) as caught:
        destination.map(message)
    assert caught.value.reason == "FILTERED_BY_INTEGRATIONS_OBJECT"
    with pytest.raises(EventFiltered) as caught:
        destination.map({**message, "integrations": {}})
    assert caught.value.reason == "LOOP"


def test_little_is_enough():
    message = destination.install_attribution({"adid": ADID})
    del message["messageId"]
    assert message == {
        "type": "track",
        "event": "Install Attributed",
        "anonymousId": ADID,
        "properties": {"provider": "Kochava", "campaign": {"source": "Organic"}},
        "context": {"device": {"advertisingId": ADID, "type": "android"}},
        "integrations": {"Kochava": False},
    }


@pytest.mark.parametrize(
    "network", [MISSING, "", " ", "organic", "ORGANIC", "{network_name}", None]
)
def test_organic_installs(network):
    assert attributed(network_name=network)["properties"]["campaign"]["source"] == "Organic"


@pytest.mark.parametrize("name", [MISSING, "", "{campaign_name}", "%7Bcampaign_name%7D"])
def test_a_campaign_without_a_name_has_its_id_for_one(name):
    campaign = attributed(campaign_name=name)["properties"]["campaign"]
    assert (campaign["name"], campaign["id"]) == ("7", "7")


@pytest.mark.parametrize("value", ["{macro}", " {macro} ", "%7bmacro%7d", "", "  ", None, []])
def test_macros_that_were_not_filled_in_and_empty_values_are_missing(value):
    message = attributed(
        site_id=value, ip=value, user_agent=value, kochava_device_id=value, install_date=value
    )
    assert "content" not in message["properties"]["campaign"]
    assert message["context"] == {"device": {"id": IDFV, "advertisingId": IDFA, "type": "ios"}}
    assert "timestamp" not in message


def test_braces_inside_a_value_are_no_macro():
    assert attributed(site_id="a{b}c")["properties"]["campaign"]["content"] == "a{b}c"


# Who


@pytest.mark.parametrize(
    ("changes", "user_id", "anonymous_id"),
    [
        ({}, "u-42", "a-42"),
        ({"user_id": MISSING}, None, "a-42"),
        ({"anonymous_id": MISSING}, "u-42", "k1"),
        ({"anonymous_id": "", "kochava_device_id": ""}, "u-42", IDFV),
        ({"anonymous_id": "", "kochava_device_id": "", "idfv": "", "user_id": ""}, None, IDFA),
    ],
)
def test_identity(changes, user_id, anonymous_id):
    message = attributed(**changes)
    assert message.get("userId") == user_id
    assert message.get("anonymousId") == anonymous_id


@pytest.mark.parametrize(
    "zeros", ["00000000-0000-0000-0000-000000000000", "00000000000000000000000000000000"]
)
def test_ids_of_zeros_are_nobody_s(zeros):
    with pytest.raises(InvalidEventPayload):
        destination.install_attribution({"idfa": zeros, "adid": zeros, "idfv": zeros})
    message = attributed(idfa=zeros, anonymous_id="", kochava_device_id="")
    assert message["context"]["device"] == {"id": IDFV, "type": "ios"}
    assert message["anonymousId"] == IDFV


@pytest.mark.parametrize(
    ("ids", "device"),
    [
        ({"idfv": IDFV}, {"id": IDFV, "type": "ios"}),
        ({"idfa": IDFA}, {"advertisingId": IDFA, "type": "ios"}),
        ({"adid": ADID}, {"advertisingId": ADID, "type": "android"}),
        ({"android_id": ANDROID_ID}, {"type": "android"}),
        ({"kochava_device_id": "k"}, {"id": "k"}),
    ],
)
def test_device(ids, device):
    assert destination.install_attribution(ids)["context"] == {"device": device}


def test_a_postback_about_nobody_says_what_to_add():
    with pytest.raises(InvalidEventPayload) as caught:
        destination.install_attribution({"network_name": "Net", "user_id": "{user_id}"})
    (problem,) = caught.value.problems
    assert problem.path == "postback"
    assert "kochava_device_id" in problem.detail
    assert "postback_fields" in problem.detail


# When and where


@pytest.mark.parametrize(
    ("date", "timestamp"),
    [
        ("1774030016", "2026-03-20T18:06:56Z"),
        ("1774030016900", "2026-03-20T18:06:56Z"),
        ("1774030016.9", "2026-03-20T18:06:56Z"),
        (1774030016, "2026-03-20T18:06:56Z"),
        ("2026-03-20 18:06:56", "2026-03-20T18:06:56Z"),
        ("2026-03-20T19:06:56+01:00", "2026-03-20T18:06:56Z"),
        ("yesterday", None),
    ],
)
def test_timestamp(date, timestamp):
    assert attributed(install_date=date).get("timestamp") == timestamp


@pytest.mark.parametrize("ip", ["here", "1.2.3", "256.1.1.1"])
def test_an_address_that_is_none_is_left_out(ip):
    assert "ip" not in attributed(ip=ip)["context"]
    assert attributed(ip="2001:db8::7")["context"]["ip"] == "2001:db8::7"


# Forms in which parameters come


def test_query_form_and_json_give_the_same_message():
    pairs = list(POSTBACK.items())
    lists = {name: [value, "second"] for name, value in pairs}
    upper = {name.upper(): value for name, value in pairs}
    numbers = {**POSTBACK, "campaign_id": 7, "install_date": 1774030016}
    for postback in (pairs, tuple(pairs), iter(pairs), lists, upper, numbers):
        assert destination.install_attribution(postback) == attributed()


def test_the_first_of_repeated_parameters_counts():
    pairs = [("idfa", IDFA), ("network_name", "Net"), ("idfa", ADID), ("NETWORK_NAME", "Other")]
    message = destination.install_attribution(pairs)
    assert message["context"]["device"]["advertisingId"] == IDFA
    assert message["properties"]["campaign"]["source"] == "Net"


def test_message_id_is_that_of_the_parameters_whatever_their_order():
    first = attributed()["messageId"]
    assert attributed()["messageId"] == first
    again = dict(reversed(POSTBACK.items()))
    assert destination.install_attribution(again)["messageId"] == first
    assert attributed(campaign_id="8")["messageId"] != first
    assert attributed(unknown="8")["messageId"] != first
    assert len(first) == len("kochava-") + 64


def test_message_id_stays_the_same_from_version_to_version():
    postback = {"adid": "A", "Network_Name": "Net"}
    # sha256 of [["adid","A"],["network_name","Net"]]
    digest = hashlib.sha256(b'[["adid","A"],["network_name","Net"]]').hexdigest()
    assert destination.install_attribution(postback)["messageId"] == f"kochava-{digest}"


def test_a_postback_about_a_user_alone_has_no_device():
    assert destination.install_attribution({"user_id": "u-42"})["context"] == {}


def test_the_time_zone_of_the_machine_does_not_matter(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        assert attributed()["timestamp"] == "2026-03-20T18:06:56Z"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_true_and_false_are_text():
    assert attributed(site_id=True)["properties"]["campaign"]["content"] == "true"


@pytest.mark.parametrize(
    ("postback", "path"),
    [
        ("network_name=Net", "postback"),
        (b"network_name=Net", "postback"),
        (None, "postback"),
        ([("a",)], "postback"),
        ([("a", "b", "c")], "postback"),
        ({1: "a"}, "postback"),
        ([1, 2], "postback"),
        ({"idfa": {"a": 1}}, "postback.idfa"),
        ({"idfa": float("nan")}, "postback.idfa"),
        ({"idfa": 10**400}, "postback.idfa"),
        ({"idfa": "\ud800"}, "postback.idfa"),
        ({"idfa": [[1]]}, "postback.idfa"),
    ],
)
def test_what_is_no_postback(postback, path):
    with pytest.raises(InvalidEventPayload) as caught:
        destination.install_attribution(postback)
    assert [problem.path for problem in caught.value.problems] == [path]
    assert caught.value.problems[0].detail.startswith(("must be", "is not valid Unicode"))


@pytest.mark.parametrize(
    "event", ["_install", "Install", " INSTALL  attributed", "{event_name}", ""]
)
def test_installs_go_by_these_names(event):
    assert attributed(event_name=event)["event"] == "Install Attributed"


def test_postbacks_of_other_events_are_not_supported():
    with pytest.raises(EventNotSupported, match="this postback is about an event"):
        attributed(event_name="Purchase")


def test_every_parameter_name_can_be_replaced():
    fields = [field.name for field in attrs.fields(PostbackFields)]
    postback = {**POSTBACK, "adid": ADID, "android_id": ANDROID_ID}
    assert postback.keys() == set(fields)
    renamed = {f"MY-{name}": value for name, value in postback.items()}
    with KochavaDestination(
        "koapp", postback_fields={name: f"my-{name}" for name in fields}
    ) as own:
        message = own.install_attribution(renamed)
        assert {**message, "messageId": None} == {**attributed(), "messageId": None}
        with pytest.raises(InvalidEventPayload):
            own.install_attribution(postback)
