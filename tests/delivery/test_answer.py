"""Every status that Kochava can answer with, and `Retry-After`."""

from __future__ import annotations

import pickle

import pytest

from kochava_segment import Answer, TransportFailure
from kochava_segment.delivery.answer import Verdict, classify, retry_after

NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
@pytest.mark.parametrize(
    "body",
    [
        b'{"success":"1"}',
        b'{"success": 1}',
        b'{"success": true}',
        b"",
        b"OK",
        b"<html></html>",
        b"\xff\xfe",
        b"[" * 100_000,
        b"{}",
        b'{"status":"OK"}',
        b"[0]",
        b"0",
        b"null",
    ],
    ids=lambda body: body[:20].decode("latin-1"),
)
def test_a_success_that_nothing_denies_is_accepted(status, body):
    assert classify(Answer(status, {}, body)) is Verdict.ACCEPTED


@pytest.mark.parametrize(
    "success", ['"0"', "0", "false", "null", '""', '"true"', '"01"', "2", "[]", "[1]", "{}"]
)
def test_any_other_word_under_success_is_rejected(success):
    answer = Answer(200, {}, b'{"error":"no", "success": %s}' % success.encode())
    assert classify(answer) is Verdict.REJECTED


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ((408, 425, 429), Verdict.RETRY),
        ((500, 502, 503, 504, 507, 520, 599), Verdict.RETRY),
        ((501, 505), Verdict.REJECTED),
        ((401, 403), Verdict.CREDENTIALS),
        ((300, 301, 302, 303, 304, 307, 308), Verdict.REJECTED),
        ((400, 402, 404, 405, 409, 410, 411, 413, 422, 451, 499), Verdict.REJECTED),
        ((199, 600, 999), Verdict.REJECTED),
    ],
)
def test_every_status_has_its_verdict_whatever_the_body(statuses, verdict):
    for status in statuses:
        assert classify(Answer(status, {}, b'{"success":"1"}')) is verdict, status


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("Fri, 15 Jan 2027 08:01:00 GMT", 60.0),
        ("Fri, 15 Jan 2027 09:01:00 +0100", 60.0),
        ("Friday, 15-Jan-27 08:01:00 GMT", 60.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("Fri, 99 Jan 99999999999 08:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, seconds):
    assert retry_after(Answer(503, {"Retry-After": text}), NOW) == seconds


def test_retry_after_may_be_missing():
    assert retry_after(Answer(503)) is None


def test_a_date_is_compared_with_the_time_of_day():
    assert retry_after(Answer(503, {"retry-after": "Fri, 15 Jan 1971 08:00:00 GMT"})) == 0.0


def test_an_answer_knows_its_headers_in_any_case_and_shows_no_content():
    answer = Answer(200, {"X-Device": "idfa"}, b"secret")
    assert answer.headers == {"x-device": "idfa"}
    assert repr(answer) == "Answer(status=200)"


def test_a_failure_survives_pickling():
    failure = pickle.loads(pickle.dumps(TransportFailure("it broke", maybe_sent=True)))
    assert (failure.detail, failure.maybe_sent, str(failure)) == ("it broke", True, "it broke")
