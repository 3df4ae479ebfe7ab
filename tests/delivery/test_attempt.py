from __future__ import annotations

import pytest

from kochava_segment import Answer, RecordingTransport, TransportFailure
from kochava_segment.delivery.answer import Verdict
from kochava_segment.delivery.attempt import Peer, failed, judge, make_attempt
from tests.delivery.raw_server import a_request

REQUEST = a_request("http://127.0.0.1/track/json")


def raising(error):
    def answer(_request):
        raise error

    return RecordingTransport(answer)


@pytest.mark.parametrize(
    ("status", "verdict", "detail"),
    [
        (200, Verdict.ACCEPTED, "Kochava took the request"),
        (400, Verdict.REJECTED, "Kochava refused the request"),
        (401, Verdict.CREDENTIALS, "Kochava refused the API key or the signature"),
        (503, Verdict.RETRY, "Kochava answered 503"),
    ],
)
def test_an_answer_is_an_attempt_with_its_verdict(status, verdict, detail):
    attempt = make_attempt(RecordingTransport(lambda _: Answer(status)), REQUEST)
    assert (attempt.verdict, attempt.status, attempt.detail) == (verdict, status, detail)
    assert not attempt.maybe_sent
    assert 0 <= attempt.elapsed < 1


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        (200, "Segment took the request"),
        (400, "Segment refused the request"),
        (403, "Segment refused the write key"),
        (503, "Segment answered 503"),
    ],
)
def test_an_attempt_speaks_of_whoever_answered(status, detail):
    peer = Peer("Segment", "the write key", "segment_write_key")
    assert judge(Answer(status), 0.5, peer).detail == detail


@pytest.mark.parametrize(("status", "seconds"), [(429, 7.0), (503, 7.0), (400, None), (200, None)])
def test_only_an_answer_to_be_retried_says_when(status, seconds):
    assert judge(Answer(status, {"Retry-After": "7"}), 0.5).retry_after == seconds


@pytest.mark.parametrize("maybe_sent", [False, True])
def test_a_failure_is_an_attempt_to_be_retried(maybe_sent):
    failure = TransportFailure("the answer was lost", maybe_sent=maybe_sent)
    attempt = make_attempt(raising(failure), REQUEST)
    assert (attempt.verdict, attempt.status) == (Verdict.RETRY, None)
    assert (attempt.maybe_sent, attempt.detail) == (maybe_sent, "the answer was lost")
    assert 0 <= attempt.elapsed < 1


def test_what_a_transport_raises_of_its_own_may_have_been_sent():
    attempt = make_attempt(raising(KeyError("a secret")), REQUEST)
    assert (attempt.verdict, attempt.maybe_sent) == (Verdict.RETRY, True)
    assert attempt.detail == "the transport raised KeyError"
    assert 0 <= attempt.elapsed < 1


def test_an_interruption_is_not_an_attempt():
    with pytest.raises(KeyboardInterrupt):
        make_attempt(raising(KeyboardInterrupt()), REQUEST)


def test_the_time_is_kept():
    assert judge(Answer(200), 0.25).elapsed == 0.25
    assert failed(TransportFailure("", maybe_sent=False), 0.5).elapsed == 0.5
