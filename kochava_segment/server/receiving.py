"""`POST /segment`: Segment's Webhooks destination, classic and Actions, into the outbox."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from kochava_segment.outcome import Outcome
from kochava_segment.segment.webhook import is_array, is_signed
from kochava_segment.server.answers import (
    Refusal,
    answer_many,
    answer_one,
    log_refusal,
    refused_in_words,
)
from kochava_segment.server.body import Body, check_content_type, parse_json, read_body
from kochava_segment.server.group_commit import GroupCommit, put_in_time
from kochava_segment.server.metrics import Metrics

MAX_BATCH = 4_000
"""Messages in an array: as many as Segment's Actions send at most."""

_LARGE = 65_536  # bytes; parsing more than this would hold up everybody else


class SegmentReceiver:
    """Takes Segment's messages.

    Args:
        commit: Stores them.
        metrics: Counts them.
        webhook_secret: The secret that bodies are signed with; None where they are not.
        bearer_token: A token that stands for a signature; None where there is none.
    """

    def __init__(
        self,
        commit: GroupCommit,
        metrics: Metrics,
        *,
        webhook_secret: str | None,
        bearer_token: str | None,
    ) -> None:
        self._commit = commit
        self._metrics = metrics
        self._secret = webhook_secret
        self._token = bearer_token

    async def receive(self, request: Request) -> Response:
        """Answer a request of Segment's.

        Raises:
            Refusal: if nothing of it is taken.
        """
        trusted = self._has_token(request)
        signature = request.headers.get("x-signature")
        if not trusted and (self._secret is None or signature is None):
            self._refuse_unless_open(request)
        check_content_type(request, "application/json")
        body = await read_body(request, trusted=trusted)
        self._check_signature(body, signature, trusted=trusted)
        if len(body.content) > _LARGE:
            document = await run_in_threadpool(parse_json, body.content)
        else:
            document = parse_json(body.content)
        if not isinstance(document, list):
            outcomes = await self._stored([document])
            answer = answer_one(outcomes[0])
        else:
            outcomes = await self._stored_array(document)
            answer = answer_many(outcomes)
        refused = refused_in_words(outcomes)
        if refused:
            log_refusal(request, "segment", answer.status_code, refused)
        return answer

    async def _stored_array(self, document: list[Any]) -> list[Outcome]:
        if len(document) > MAX_BATCH:
            raise Refusal(413, f"an array may have {MAX_BATCH} messages: send smaller batches")
        return await self._stored(document) if document else []

    def _has_token(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if self._token is None or scheme.lower() != "bearer":
            return False
        if not hmac.compare_digest(token.strip().encode(), self._token.encode()):
            raise _unauthorised("the bearer token is wrong: is it the same in Segment and here?")
        return True

    def _refuse_unless_open(self, request: Request) -> None:
        if self._secret is not None:
            raise _unauthorised("X-Signature is missing: set the shared secret in Segment")
        if self._token is not None:
            raise _unauthorised("Authorization is missing: set it to the bearer token in Segment")
        if "origin" in request.headers:
            # A page whose name was made to mean this machine (DNS rebinding) is let in by browsers.
            raise Refusal(403, "a web page sent this; without a secret none may")

    def _check_signature(self, body: Body, signature: str | None, *, trusted: bool) -> None:
        if self._secret is None:
            return
        if not trusted and is_array(body.content):
            raise _unauthorised(
                "an array needs the bearer token: its signature covers the first message alone"
            )
        if signature is None:
            return
        # Compressed, a body is opaque; whoever signs it does so either before or after.
        signed = is_signed(body.content, signature, self._secret) or (
            body.sent is not body.content and is_signed(body.sent, signature, self._secret)
        )
        if not signed:
            raise _unauthorised("X-Signature is wrong: is the shared secret the same here?")

    async def _stored(self, messages: Sequence[Any]) -> list[Outcome]:
        outcomes = await put_in_time(self._commit, messages)
        self._metrics.received(outcomes)
        return outcomes


def _unauthorised(detail: str) -> Refusal:
    return Refusal(401, detail, headers={"WWW-Authenticate": "Bearer"})
