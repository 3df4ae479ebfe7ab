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


@frozen
class Peer:
    """Who answers requests, in the words of reasons and logs.

    Attributes:
        name: Its name.
        credentials: What it refuses where it refuses the credentials.
        options: The options that are to be mended then.
    """

    name: str
    credentials: str
    options: str


KOCHAVA = Peer("Kochava", "the API key or the signature", "api_key and api_secret")


def make_attempt(
    transport: Transport,
    request: KochavaRequest,
    seconds: float | None = None,
    peer: Peer = KOCHAVA,
) -> Attempt:
    """Post a request once. No failure is raised: each is an attempt that came to something.

    Args:
        transport: Posts it. An exception of its own counts as a failure in which the request may
            have been sent, for nobody knows better.
        request: What is posted.
        seconds: How long it may take at most. A transport that cannot be told takes its own time.
        peer: Who answers.
    """
    began = time.monotonic()
    try:
        if seconds is None or not isinstance(transport, PunctualTransport):
            answer = transport.send(request)
        else:
            answer = transport.send_within(request, seconds)
    except Exception as error:  # noqa: BLE001  # a transport of the user's own
        return failed(error, time.monotonic() - began)
    return judge(answer, time.monotonic() - began, peer)


def judge(answer: Answer, elapsed: float, peer: Peer = KOCHAVA) -> Attempt:
    """The attempt that was answered so.

    Args:
        answer: The answer.
        elapsed: Seconds until it came.
        peer: Whose it is.
    """
    verdict = classify(answer)
    to_be_retried = verdict is Verdict.RETRY
    return Attempt(
        verdict=verdict,
        status=answer.status,
        retry_after=retry_after(answer) if to_be_retried else None,
        detail=_detail(verdict, answer.status, peer),
        elapsed=elapsed,
    )


def _detail(verdict: Verdict, status: int, peer: Peer) -> str:
    if verdict is Verdict.ACCEPTED:
        return f"{peer.name} took the request"
    if verdict is Verdict.REJECTED:
        return f"{peer.name} refused the request"
    if verdict is Verdict.CREDENTIALS:
        return f"{peer.name} refused {peer.credentials}"
    return f"{peer.name} answered {status}"


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
