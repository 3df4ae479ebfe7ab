"""One attempt to post a request, and what came of it."""

from __future__ import annotations

import time

from attrs import frozen

from kochava_segment.delivery.answer import (
    Answer,
    TransportFailure,
    Verdict,
    classify,
    retry_after,
)
from kochava_segment.delivery.transport import PunctualTransport, Transport
from kochava_segment.request import KochavaRequest


@frozen(kw_only=True)
class Attempt:
    """One attempt: what came of it.

    Attributes:
        verdict: What it means for the request. Without an answer it is always RETRY.
        status: The answer's HTTP status; None where none came.
        maybe_sent: No answer came, but the request may have been counted.
        retry_after: The seconds that the answer asked to wait, None where it did not.
        detail: What happened, as a sentence without content.
        elapsed: Seconds that it took.
    """

    verdict: Verdict
    status: int | None = None
    maybe_sent: bool = False
    retry_after: float | None = None
    detail: str = ""
    elapsed: float = 0.0


_DETAILS = {
    Verdict.ACCEPTED: "Kochava took the request",
    Verdict.REJECTED: "Kochava refused the request",
    Verdict.CREDENTIALS: "Kochava refused the API key or the signature",
}


def make_attempt(
    transport: Transport, request: KochavaRequest, seconds: float | None = None
) -> Attempt:
    """Post a request once. No failure is raised: each is an attempt that came to something.

    Args:
        transport: Posts it. An exception of its own counts as a failure in which the request may
            have been sent, for nobody knows better.
        request: What is posted.
        seconds: How long it may take at most. A transport that cannot be told takes its own time.
    """
    began = time.monotonic()
    try:
        if seconds is None or not isinstance(transport, PunctualTransport):
            answer = transport.send(request)
        else:
            answer = transport.send_within(request, seconds)
    except Exception as error:  # noqa: BLE001  # a transport of the user's own
        return failed(error, time.monotonic() - began)
    return judge(answer, time.monotonic() - began)


def judge(answer: Answer, elapsed: float) -> Attempt:
    """The attempt that was answered so.

    Args:
        answer: Kochava's answer.
        elapsed: Seconds until it came.
    """
    verdict = classify(answer)
    to_be_retried = verdict is Verdict.RETRY
    return Attempt(
        verdict=verdict,
        status=answer.status,
        retry_after=retry_after(answer) if to_be_retried else None,
        detail=_DETAILS.get(verdict, f"Kochava answered {answer.status}"),
        elapsed=elapsed,
    )


def failed(failure: Exception, elapsed: float) -> Attempt:
    """The attempt that had no answer.

    Args:
        failure: What the transport raised. Of anything but a TransportFailure nobody knows whether
            the request was sent.
        elapsed: Seconds until it did.
    """
    if not isinstance(failure, TransportFailure):
        detail = f"the transport raised {type(failure).__name__}"
        failure = TransportFailure(detail, maybe_sent=True)
    return Attempt(
        verdict=Verdict.RETRY,
        maybe_sent=failure.maybe_sent,
        detail=failure.detail,
        elapsed=elapsed,
    )
