"""Anything at all, to the emulator: only clean answers come back."""

import http.client
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kochava_segment.emulator import KochavaEmulator
from kochava_segment.emulator.checks import RULES
from tests.emulator.requests import HEADERS, LINK, TRACK, payload

_NAMES = st.sampled_from(
    "action kochava_app_id kochava_device_id data device_id device_ids usertime event_name "
    "event_data app_tracking_transparency gdpr_privacy_consent iad_attribution_details Version3.1 "
    "idfa price source currency".split()
) | st.text(max_size=4)
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)
_KINDS = st.sampled_from(["event", "install", "update", "link"])


@st.composite
def _spoilt(draw):
    """A good payload in which something is replaced by anything."""
    message = payload(draw(_KINDS))
    inner = message
    while True:
        name = draw(st.sampled_from(sorted(inner)) | _NAMES)
        if isinstance(inner.get(name), dict) and inner[name] and draw(st.booleans()):
            inner = inner[name]
            continue
        inner[name] = draw(_ANY)
        return message


_SENT = st.binary(max_size=60) | (_ANY | _spoilt()).map(lambda value: json.dumps(value).encode())
_PATHS = st.sampled_from([TRACK, LINK, "/", TRACK + "?a=b"])
_CODES = {rule.code for rule in RULES}


def _is_clean(status, answer):
    assert status in {200, 400, 401, 404, 411, 413}
    assert json.loads(answer)["success"] == ("1" if status == 200 else "0")


@pytest.mark.parametrize(
    "examples", [300, pytest.param(10_000, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_whatever_is_judged_has_a_clean_answer(examples):
    @settings(max_examples=examples, deadline=None)
    @given(sent=_SENT, path=_PATHS, signed=st.booleans(), strict=st.booleans())
    def judged(sent, path, signed, strict):
        kochava = KochavaEmulator(require_install=strict, app_guids={"koapp"} if strict else None)
        headers = {**HEADERS, **({"Kochava-Api-Key": "KEY"} if signed else {})}
        _is_clean(*kochava.judge("POST", path, headers, sent, "ok"))
        assert {complaint.code for complaint in kochava.complaints} <= _CODES
        assert kochava.received == 1
        assert (kochava.counted == 1) == (
            not any(complaint.severity == "error" for complaint in kochava.complaints)
        )

    judged()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sent=_SENT, path=_PATHS)
def test_whatever_is_posted_has_a_clean_answer(kochava_emulator, sent, path):
    connection = http.client.HTTPConnection("127.0.0.1", kochava_emulator.port, timeout=5)
    try:
        connection.request("POST", path, sent, HEADERS)
        answer = connection.getresponse()
        _is_clean(answer.status, answer.read())
    finally:
        connection.close()
