"""Each row of the tables of docs/consent.md is a message; its last cells are what becomes of it."""

import json
import re
from pathlib import Path

import pytest

from kochava_segment import EventFiltered, InvalidEventPayload, KochavaDestination
from tests.messages import IDFA, IDFV, MISSING, android, ios

PAGE = Path(__file__).parents[2] / "docs" / "consent.md"
ZEROS = "00000000-0000-0000-0000-000000000000"


def rows(heading):
    """The rows of the table below a heading, cell by cell."""
    section = (
        PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    )
    table = re.findall(r"^\| (.+) \|$", section, re.MULTILINE)
    assert len(table) > 2, heading
    return [
        tuple(re.sub(r"^`([^`]*)`$", r"\1", cell) for cell in row.split(" | ")) for row in table[2:]
    ]


def value(cell):
    """What a cell stands for in a message."""
    if cell == "absent":
        return MISSING
    if cell.isdigit() or cell in ("true", "false") or cell.startswith("{"):
        return json.loads(cell)
    return cell


def consent(cell):
    """What stands at `context.consent` for a cell about its `categoryPreferences`."""
    if cell == "no `consent`":
        return MISSING
    return {} if cell == "none in `consent`" else {"categoryPreferences": json.loads(cell)}


def shown(payload):
    """How the page writes a field of a request."""
    return "not sent" if payload is None else json.dumps(payload)


def mapped(message, **options):
    request = KochavaDestination("koexample-app-guid", **options).map(message)
    codes = {warning.code for warning in request.warnings}
    return json.loads(request.body)["data"], codes


@pytest.mark.parametrize("row", rows("Apple's tracking permission"), ids=" ".join)
@pytest.mark.parametrize("place", ["trackingStatus", "attTrackingStatus"])
def test_tracking_permission(row, place):
    status, enabled, *outcome = row
    changes = {
        "context__device__trackingStatus": MISSING,
        f"context__device__{place}": value(status),
    }
    data, codes = mapped(ios(**changes, context__device__adTrackingEnabled=value(enabled)))
    assert [
        "sent" if data["device_ids"].get("idfa") == IDFA else "left out",
        shown(data["app_tracking_transparency"]["att"]),
        shown(data.get("device_limit_tracking")),
    ] == outcome
    sent, allowed, _ = outcome
    assert ("untrusted-advertising-id" in codes) == (sent == "left out")
    assert ("att-unknown" in codes) == (sent == "sent" and allowed == "false")
    assert data["device_ids"]["idfv"] == IDFV


IDS = {
    "an id": IDFA,
    "zeros": ZEROS,
    "empty": "",
    "the same as `device.id`": IDFV.lower(),
}


@pytest.mark.parametrize("row", rows("Limited ad tracking, zeros and copies"), ids=" ".join)
def test_advertising_ids(row):
    name, enabled, *outcome = row
    changes = {
        "context__device__id": IDFV,
        "context__device__advertisingId": IDS[name],
        "context__device__adTrackingEnabled": value(enabled),
    }
    apple, apple_codes = mapped(ios(**changes, context__device__trackingStatus=MISSING))
    google, google_codes = mapped(android(**changes))
    sent = [
        "sent" if ids["device_ids"].get(key) else "left out"
        for ids, key in (
            (apple, "idfa"),
            (google, "adid"),
        )
    ]
    assert [*sent, shown(google.get("device_limit_tracking"))] == outcome
    assert apple.get("device_limit_tracking") == google.get("device_limit_tracking")
    distrusted = ["untrusted-advertising-id" in codes for codes in (apple_codes, google_codes)]
    assert distrusted == [word == "left out" for word in sent]


@pytest.mark.parametrize("row", rows("Segment's consent categories"), ids=" ".join)
def test_consent_categories(row):
    preferences, integrations, outcome = row
    message = ios(context__consent=consent(preferences), integrations=value(integrations))
    kochava = KochavaDestination(
        "koexample-app-guid", required_consent=["Advertising", "Analytics"]
    )
    assert what_becomes_of(message, kochava) == outcome
    if outcome == "FILTERED_BY_END_USER_CONSENT":  # and by nothing else
        assert mapped(message)


def what_becomes_of(message, kochava):
    try:
        kochava.map(message)
    except EventFiltered as filtered:
        return str(filtered.reason)
    return "sent"


OPTIONS = {
    "both": {
        "ad_user_data_consent": "Advertising",
        "ad_personalization_consent": "Personalization",
    },
    "the first": {"ad_user_data_consent": "Advertising"},
    "none": {},
}


@pytest.mark.parametrize("row", rows("Google's consent signals (DMA, GDPR)"), ids=" ".join)
def test_consent_signals(row):
    options, preferences, own, outcome = row
    message = ios(
        context__consent=consent(preferences),
        integrations__Kochava__gdpr_privacy_consent=value(own),
    )
    data, _ = mapped(message, **OPTIONS[options])
    assert shown(data.get("gdpr_privacy_consent")) == outcome


REQUESTS = {
    "install": lambda kochava, **changes: kochava.map(
        ios(event="Application Installed", **changes)
    ),
    "event": lambda kochava, **changes: kochava.map(ios(**changes)),
    "update": lambda kochava, **changes: kochava.idfa_update(ios(**changes)),
    "IdentityLink": lambda kochava, **changes: kochava.map(ios(type="identify", **changes)),
}
CONSENT = {"context__consent__categoryPreferences": {"Advertising": False}}


def is_stopped(make, kochava, changes):
    assert make(kochava)
    try:
        make(kochava, **changes)
    except EventFiltered:
        return True
    return False


def holds_idfa_back(make, kochava):
    assert IDFA in make(kochava).body.decode()
    try:
        return IDFA not in make(kochava, context__device__trackingStatus="denied").body.decode()
    except InvalidEventPayload:
        return True


def says(field):
    return lambda make, kochava: f'"{field}"' in make(kochava, **CONSENT).body.decode()


QUESTIONS = {
    "stopped by `required_consent`": lambda make, _: is_stopped(
        make, KochavaDestination("koexample-app-guid", required_consent=["Advertising"]), CONSENT
    ),
    "stopped by `integrations`": lambda make, kochava: is_stopped(
        make, kochava, {"integrations": {"Kochava": False}}
    ),
    "holds an IDFA back": holds_idfa_back,
    **{
        field: says(field)
        for field in ("app_tracking_transparency", "device_limit_tracking", "gdpr_privacy_consent")
    },
}


@pytest.mark.parametrize("row", rows("Which request says what"), ids=" ".join)
def test_requests(row):
    question, *answers = row
    kochava = KochavaDestination("koexample-app-guid", **OPTIONS["both"])
    asked = [QUESTIONS[question](make, kochava) for make in REQUESTS.values()]
    assert ["yes" if answer else "no" for answer in asked] == answers


def test_hints_in_the_text():
    """The ways out that the page names beside its tables."""
    held_back, _ = mapped(ios(integrations__Kochava__device_ids={"idfa": ""}))
    assert not held_back["device_ids"]["idfa"]
    told, _ = mapped(ios(integrations__Kochava__att=False))
    assert told["device_ids"]["idfa"] == IDFA
    assert told["app_tracking_transparency"] == {"att": False}
    limited, _ = mapped(android(integrations__Kochava__device_ids={"adid": ""}))
    assert not limited["device_ids"]["adid"]
    own = {"device_ids": {"idfv": "", "idfa": ""}, "kochava_device_id": "c-1"}
    request = KochavaDestination("koexample-app-guid").map(ios(integrations__Kochava=own))
    assert not any(known in request.body.decode() for known in (IDFA, IDFV))


def test_every_table_is_tested():
    sections = PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
    with_tables = {text.partition("\n")[0] for text in sections if "\n| --- " in text}
    tests = Path(__file__).read_text(encoding="utf-8")
    untested = {heading for heading in with_tables if f'rows("{heading}")' not in tests}
    assert untested == {"In short"}
