"""Each rule: a request that breaks it, and one that comes close and does not."""

import json

import pytest

from kochava_segment.delivery.signing import Credentials, auth_headers
from kochava_segment.emulator import KochavaEmulator, rules_table
from kochava_segment.emulator.checks import RULES
from tests.emulator.requests import DELETION, HEADERS, LINK, MISSING, TRACK, body, path_of
from tests.messages import IDFA, IDFV

_KEYS = {f"k{number}": number for number in range(17)}

# The rule's code, the kind of request, the path it complains of, changes that break it, changes that
# do not.
CASES = [
    ("bad-action", "event", "action", {"action": "purchase"}, {"action": "event"}),
    ("bad-action", "event", "action", {"action": ["event"]}, {}),
    ("bad-app-id", "event", "kochava_app_id", {"kochava_app_id": " "}, {"kochava_app_id": "x"}),
    ("bad-kochava-device-id", "event", "kochava_device_id",
     {"kochava_device_id": MISSING}, {"kochava_device_id": ""}),
    ("bad-data", "event", "data", {"data": []}, {}),
    ("bad-app-ver", "install", "app_ver", {"app_ver": 3.2}, {"app_ver": MISSING}),
    ("bad-device-ids", "event", "data.device_ids.idfv",
     {"data__device_ids__idfv": 1}, {"data__device_ids__custom": "x"}),
    ("bad-device-ids", "install", "data.device_ids",
     {"data__device_ids": []}, {"data__device_ids": {"idfv": "x"}}),
    ("no-device", "event", "data.device_ids",
     {"kochava_device_id": "", "data__device_ids": {"idfa": ""}}, {"kochava_device_id": ""}),
    ("bad-usertime", "event", "data.usertime",
     {"data__usertime": "1774029981"}, {"data__usertime": MISSING}),
    ("bad-usertime", "event", "data.usertime", {"data__usertime": True}, {"data__usertime": 0}),
    ("usertime-milliseconds", "event", "data.usertime",
     {"data__usertime": 1774029981000}, {"data__usertime": 10**11 - 1}),
    ("bad-event-name", "event", "data.event_name",
     {"data__event_name": " "}, {"data__event_name": "x"}),
    ("bad-event-data", "event", "data.event_data",
     {"data__event_data": "{}"}, {"data__event_data": MISSING}),
    ("reserved-key", "event", "data.event_data.source",
     {"data__event_data__source": "x"}, {"data__event_data__segment_source": "x"}),
    ("bad-currency", "event", "data.currency",
     {"data__currency": "eur"}, {"data__currency": MISSING}),
    ("bad-ip", "event", "data.origination_ip",
     {"data__origination_ip": "203.0.113.777"}, {"data__origination_ip": "2001:db8::1"}),
    ("bad-device-ua", "event", "data.device_ua", {"data__device_ua": None}, {}),
    ("bad-device-ver", "event", "data.device_ver",
     {"data__device_ver": 17}, {"data__device_ver": ""}),
    ("bad-app-version", "event", "data.app_version",
     {"data__app_version": 3}, {"data__app_version": MISSING}),
    ("bad-att", "event", "data.app_tracking_transparency.att",
     {"data__app_tracking_transparency": {"att_time": 1}},
     {"data__app_tracking_transparency": {"att": False, "att_time": 1, "att_duration": 0}}),
    ("bad-att", "event", "data.app_tracking_transparency",
     {"data__app_tracking_transparency": True}, {}),
    ("bad-limit-tracking", "event", "data.device_limit_tracking",
     {"data__device_limit_tracking": 0}, {"data__device_limit_tracking": False}),
    ("bad-gdpr-consent", "event", "data.gdpr_privacy_consent.gdpr_applies",
     {"data__gdpr_privacy_consent": {"gdpr_applies": True}},
     {"data__gdpr_privacy_consent": {"gdpr_applies": 1, "tc_string": "x", "ad_user_data": 0}}),
    ("bad-ad-services-token", "install", "data.ad_services_token",
     {"data__ad_services_token": ""}, {"data__ad_services_token": "dG9r"}),
    ("bad-iad-attribution", "install", "data.iad_attribution_details.Version3.1.iad-org-id",
     {"data__iad_attribution_details": {"Version3.1": {"iad-org-id": 7}}},
     {"data__iad_attribution_details": {"Version3.1": {"iad-org-id": "7"}}}),
    ("bad-iad-attribution", "install", "data.iad_attribution_details.Version3.1",
     {"data__iad_attribution_details": {"iad-org-id": "7"}}, {}),
    ("bad-update", "update", "kochava_device_id", {"kochava_device_id": ""}, {}),
    ("bad-update", "update", "data.idfa", {"data__idfa": ""}, {}),
    ("bad-update", "update", "data.usertime", {"data__usertime": 1}, {}),
    ("unknown-field", "event", "event_name", {"event_name": "x"}, {"app_ver": "1"}),
    ("unknown-field", "event", "data.price", {"data__price": 1}, {"data__event_data__x": 1}),
    ("no-device-id", "event", "data.device_ids",
     {"data__device_ids": {"idfa": "", "idfv": ""}}, {"data__device_ids__idfa": ""}),
    ("idfa-is-idfv", "event", "data.device_ids.idfa",
     {"data__device_ids__idfa": IDFV.lower()}, {"data__device_ids__idfa": IDFA}),
    ("zero-advertising-id", "event", "data.device_ids.adid",
     {"data__device_ids__adid": "00000000-0000-0000-0000-000000000000"},
     {"data__device_ids__adid": "00000000-0000-0000-0000-000000000001"}),
    ("android-id-as-idfa", "event", "data.device_ids.idfa",
     {"data__device_ids__idfa": "9774d56d682e549c"}, {"data__device_ids__idfa": "9774d56d682e549x"}),
    ("idfa-without-att", "event", "data.app_tracking_transparency",
     {"data__app_tracking_transparency": MISSING},
     {"data__app_tracking_transparency": MISSING, "data__device_ids": {"idfv": "x"}}),
    ("no-unknown-agent", "event", "headers.User-Agent", {"data__device_ua": ""}, {}),
    ("no-device-version", "event", "data.device_ver",
     {"data__device_ua": "", "data__device_ver": ""}, {"data__device_ver": ""}),
    ("no-ip", "event", "data.origination_ip", {"data__origination_ip": MISSING}, {}),
    ("event-field-on-install", "install", "data.currency", {"data__currency": "EUR"}, {}),
    ("event-spelling", "event", "data.event_name",
     {"data__event_name": "Add to Wishlist"}, {"data__event_name": "Add to Wish List"}),
    ("event-spelling", "event", "data.event_name",
     {"data__event_name": "purchase"}, {"data__event_name": "Purchase made"}),
    ("many-keys", "event", "data.event_data",
     {"data__event_data": _KEYS},
     {"data__event_data": dict(list(_KEYS.items())[:16])}),
    ("raw-key-type", "event", "data.event_data.price",
     {"data__event_data__price": "9.99"}, {"data__event_data__price": 9.99}),
    ("raw-key-type", "event", "data.event_data.completed",
     {"data__event_data__completed": 1}, {"data__event_data__completed": True}),
    ("bad-link-app-id", "link", "kochava_app_id", {"kochava_app_id": None}, {}),
    ("bad-link-device-id", "link", "device_id", {"device_id": {}}, {}),
    ("bad-link-device-id", "link", "device_id.idfa", {"device_id__idfa": ""}, {}),
    ("bad-identities", "link", "data", {"data": MISSING}, {}),
    ("bad-identities", "link", "data.user_id", {"data__user_id": 42}, {"data__user_id": "42"}),
    ("plain-identity", "link", "data.email",
     {"data__email": "a@example.com"}, {"data__handle": "@example"}),
    ("unknown-link-field", "link", "device_ids", {"device_ids": {}}, {}),
]  # fmt: skip
_SIGNED = [
    ("signed-slash", b'{"a":"x/y"}', rb'{"a":"x\/y"}'),
    ("signed-not-ascii", '{"a":"é"}'.encode(), rb'{"a":"\u00e9"}'),
    ("signed-spaces", b'{"a": "x y"}', b'{"a":"x y"}'),
    ("signed-value", b'{"a":150.0}', b'{"a":150.5,"b":150}'),
    ("signed-value", b'{"a":[{}]}', b'{"a":[]}'),
]


def complaints(sent, *, path=TRACK, headers=HEADERS, method="POST", **options):
    """What the emulator has to say about some bytes, by code."""
    kochava = KochavaEmulator(**options)
    kochava.judge(method, path, dict(headers), sent, "ok")
    return {complaint.code: complaint for complaint in kochava.complaints}


@pytest.mark.parametrize("kind", ["event", "install", "update", "link"])
def test_what_the_cases_start_from_breaks_no_rule(kind):
    assert complaints(body(kind), path=path_of(kind)) == {}


@pytest.mark.parametrize(
    ("code", "kind", "path", "breaks", "keeps"), CASES, ids=[f"{c[0]}-{c[2]}" for c in CASES]
)
def test_a_rule_is_broken_there_and_only_there(code, kind, path, breaks, keeps):
    found = complaints(body(kind, **breaks), path=path_of(kind))
    assert found[code].path == path
    assert code not in complaints(body(kind, **keeps), path=path_of(kind))


@pytest.mark.parametrize(
    ("ids", "path"),
    [
        ([], "device_ids"),
        ({"idfa": IDFA}, "device_ids"),
        ([{"id_type": "idfa"}], "device_ids[0].id_value"),
        ([{"id_type": " ", "id_value": IDFA}], "device_ids[0].id_type"),
        ([{"id_type": "idfa", "id_value": IDFA}, IDFV], "device_ids[1]"),
    ],
)
def test_the_ids_of_a_data_subject_request(ids, path):
    headers = {**HEADERS, "Authentication-Key": "account-key"}
    found = complaints(body("deletion", device_ids=ids), path=DELETION, headers=headers)
    assert found["bad-deletion-ids"].path == path


def test_a_data_subject_request_has_no_other_fields():
    headers = {**HEADERS, "Authentication-Key": "account-key"}
    found = complaints(body("deletion", action="event"), path=DELETION, headers=headers)
    assert list(found) == ["unknown-deletion-field"]


@pytest.mark.parametrize(("code", "breaks", "keeps"), _SIGNED)
def test_rules_of_signed_bodies_are_for_signed_bodies(code, breaks, keeps):
    signed = {**HEADERS, "Kochava-Api-Key": "KEY"}
    assert code in complaints(breaks, headers=signed)
    assert code not in complaints(keeps, headers=signed)
    assert code not in complaints(breaks)


def _status(sent, *, path=TRACK, headers=HEADERS, method="POST", **options):
    kochava = KochavaEmulator(**options)
    status, _ = kochava.judge(method, path, dict(headers), sent, "ok")
    return status, [complaint.code for complaint in kochava.complaints]


def test_the_path_and_the_method():
    assert _status(body("event"), path="/track") == (404, ["unknown-path"])
    assert _status(b"", method="GET") == (405, ["wrong-method"])


def test_a_query_is_odd_and_accepted():
    assert _status(body("event"), path=f"{TRACK}?a=b") == (200, ["query"])


def test_the_content_type():
    assert _status(body("event"), headers={}) == (200, ["content-type"])
    typed = {"content-type": "application/json; charset=utf-8"}
    assert _status(body("event"), headers=typed) == (200, [])


@pytest.mark.parametrize(
    "sent", [b"", b"{", b'{"a":NaN}', b'{"a":"\xe9"}', '{"a":1}'.encode("utf-16"), b"[" * 100_000]
)
def test_what_is_no_json(sent):
    assert _status(sent) == (400, ["not-json"])


@pytest.mark.parametrize("sent", [b"[]", b"null", b'"x"', b"[" + body("event") + b"]"])
def test_what_is_not_one_object(sent):
    assert _status(sent) == (400, ["not-an-object"])


def test_the_signature():
    options = {"api_key": "KEY", "api_secret": "secret"}
    signed = {**HEADERS, **auth_headers(body("event"), Credentials("KEY", "secret"))}
    lower = {name.lower(): value for name, value in signed.items()}
    assert _status(body("event"), headers=signed, **options)[0] == 200
    assert _status(body("event"), headers=lower, **options)[0] == 200
    assert _status(body("event"), **options) == (401, ["bad-signature"])
    assert _status(body("install"), headers=signed, **options) == (401, ["bad-signature"])
    other = {**signed, "Kochava-Api-Key": "OTHER"}
    assert _status(body("event"), headers=other, **options) == (401, ["bad-signature"])


def test_other_apps_are_refused_when_apps_are_set():
    assert _status(body("event"), app_guids={"koapp"}) == (200, [])
    assert _status(body("event"), app_guids={"koother"}) == (400, ["foreign-app"])
    assert _status(body("link"), path=LINK, app_guids={"koother"}) == (400, ["foreign-app"])
    assert _status(body("event", kochava_app_id=7), app_guids={"koapp"}) == (400, ["bad-app-id"])


@pytest.mark.parametrize("path", [DELETION, "/accounts/7/privacy/scrub"])
def test_a_data_subject_request_has_a_key_and_an_answer_of_its_own(path):
    kochava = KochavaEmulator(
        require_install=True, app_guids={"koapp"}, api_key="K", api_secret="s"
    )
    headers = {**HEADERS, "authentication-key": "account-key"}
    status, answer = kochava.judge("POST", path, headers, body("deletion"), "ok")
    assert kochava.complaints == ()
    assert status == 200
    answer = json.loads(answer)
    assert (answer["status"], answer["response"], answer["job_status"]) == ("OK", "200", "queued")
    assert answer["job_id"]


def test_a_data_subject_request_without_a_key_is_refused():
    assert _status(body("deletion"), path=DELETION) == (401, ["no-authentication-key"])
    blank = {**HEADERS, "Authentication-Key": " "}
    assert _status(body("deletion"), path=DELETION, headers=blank)[0] == 401


@pytest.mark.parametrize("path", ["/accounts/x/privacy/scrub", "/accounts/7/apps//privacy/scrub"])
def test_the_numbers_of_accounts_and_apps_are_numbers(path):
    assert _status(body("deletion"), path=path) == (404, ["unknown-path"])


def test_the_install_has_to_come_first_when_asked_for():
    kochava = KochavaEmulator(require_install=True)

    def codes(kind, **changes):
        kochava.judge("POST", path_of(kind), HEADERS, body(kind, **changes), "ok")
        return [complaint.code for complaint in kochava.requests[-1].complaints]

    assert codes("event") == ["no-install"]
    assert codes("link") == ["no-install"]
    assert codes("install", data__usertime="x") == ["bad-usertime"]
    assert codes("event") == ["no-install"], "an install that was refused is none"
    assert codes("install") == []
    assert codes("event") == []
    assert codes("link") == []
    assert codes("update") == []
    assert codes("event", kochava_app_id="koother") == ["no-install"]
    kochava.clear()
    assert codes("event") == ["no-install"]


def test_every_rule_has_a_case():
    """Those of HTTP are the tests above, and those over sockets in test_server.py."""
    over_http = {
        "malformed-http", "unknown-path", "wrong-method", "no-length", "too-large", "bad-signature",
        "not-json", "not-an-object", "foreign-app", "no-install", "content-type", "query",
        "no-authentication-key", "bad-deletion-ids", "unknown-deletion-field",
    }  # fmt: skip
    cases = {case[0] for case in CASES} | {case[0] for case in _SIGNED}
    assert {rule.code for rule in RULES} == over_http | cases
    assert len({rule.code for rule in RULES}) == len(RULES)


def test_no_complaint_repeats_what_was_sent():
    secret = "mallory-4711"
    spoilt = json.dumps(
        {"action": "event", "data": dict.fromkeys(("usertime", "currency"), secret)}
    )
    found = complaints(spoilt.encode())
    assert len(found) >= 4
    assert secret not in "".join(map(str, found.values()))


def test_the_table_of_rules_has_a_row_for_each():
    rows = rules_table().splitlines()
    assert len(rows) == len(RULES) + 2
    assert len({row.count("|") for row in rows}) == 1
