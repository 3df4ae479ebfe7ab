"""Anything at all, to the emulator: only clean answers come back."""

import http.client
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kochava_segment.emulator import KochavaEmulator
from kochava_segment.emulator.checks import RULES
from tests.emulator.requests import HEADERS, LINK, TRACK
from tests.emulator.spoilt import ANY, spoilt

KINDS = ["event", "install", "update", "link"]
_SENT = st.binary(max_size=60) | (ANY | spoilt(KINDS)).map(lambda value: json.dumps(value).encode())
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
