"""What the receiver answers: outcomes as JSON, and refusals, none of which repeats any content."""

from __future__ import annotations

import json
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from kochava_segment.errors import ConfigurationError, InvalidEventPayload, Problem
from kochava_segment.log_events import BROKEN, REFUSED, TAKES_NOTHING
from kochava_segment.outcome import Outcome, OutcomeKind

_STATUS = {
    OutcomeKind.QUEUED: 202,
    OutcomeKind.DUPLICATE: 200,
    OutcomeKind.FILTERED: 200,
    OutcomeKind.UNSUPPORTED: 501,
    OutcomeKind.INVALID: 400,
}
_BAD = (OutcomeKind.INVALID, OutcomeKind.UNSUPPORTED)
_TAKEN = (OutcomeKind.QUEUED, OutcomeKind.DUPLICATE)
_MOST_PROBLEMS = 20
_MOST_FRAMES = 8


class Refusal(Exception):  # it ends in an answer, not in a traceback
    """A request that is not taken, and the answer that says so.

    Args:
        status: The HTTP status.
        detail: The rest of a sentence for whoever sent it, without content of the request.
        problems: What is wrong with which paths.
        retry_after: Seconds after which the sender may try again.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        problems: Iterable[Problem] = (),
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.problems = tuple(problems)
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)

    def answer(self) -> Response:
        """The answer."""
        content: dict[str, Any] = {"error": self.detail}
        if self.problems:
            content["problems"] = _problems(self.problems)
        return json_answer(content, self.status, self.headers)


def json_answer(
    content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON document as an answer."""
    body = json.dumps(content, separators=(",", ":")).encode()
    return Response(body, status, headers, media_type="application/json")


def answer_one(outcome: Outcome) -> Response:
    """The answer to a single message."""
    content = {"outcome": outcome.kind.value, **_why(outcome)}
    if outcome.warnings:
        content["warnings"] = [{"code": w.code, "field": w.field} for w in outcome.warnings]
    return json_answer(content, _STATUS[outcome.kind])


def answer_many(outcomes: Sequence[Outcome]) -> Response:
    """The answer to an array: how many of each, and which were not taken."""
    counts = Counter(outcome.kind for outcome in outcomes)
    status = 200
    if outcomes and sum(counts[kind] for kind in _BAD) == len(outcomes):
        status = 400 if counts[OutcomeKind.INVALID] else 501
    not_taken = [
        {"index": outcome.index, "outcome": outcome.kind.value, **_why(outcome)}
        for outcome in outcomes
        if outcome.kind not in _TAKEN
    ]
    content = {
        "counts": {kind.value: count for kind, count in counts.items()},
        "not_taken": not_taken,
    }
    return json_answer(content, status)


def log_refusal(request: Request, endpoint: str, status: int, detail: str) -> None:
    """Say in the log that something was not taken.

    Args:
        request: Where it came from; nothing else of it is logged.
        endpoint: Where it went.
        status: What was answered.
        detail: Why, without content.
    """
    client = request.client.host if request.client else "unknown"
    if status != 503:
        REFUSED.log(endpoint=endpoint, status=status, client=client, reason=detail)
    elif count := request.app.state.refused_for_now.take((endpoint, detail)):
        TAKES_NOTHING.log(
            endpoint=endpoint, status=status, client=client, reason=detail, count=count
        )


def answer_failure(request: Request, endpoint: str, error: Exception) -> Response:
    """The answer where something failed that nobody expected; it is logged without what it says.

    Such errors quote what they stumbled over: `could not convert string to float: '...'`.

    Args:
        request: Where it came from.
        endpoint: Where it went.
        error: What was raised.
    """
    frames = traceback.extract_tb(error.__traceback__)[-_MOST_FRAMES:]
    places = " < ".join(f"{PurePath(one.filename).name}:{one.lineno}" for one in reversed(frames))
    client = request.client.host if request.client else "unknown"
    reason = f"{type(error).__name__} at {places}"
    BROKEN.log(endpoint=endpoint, status=500, client=client, reason=reason)
    return Refusal(500, "something broke here; the log says where").answer()


def refused_in_words(outcomes: Sequence[Outcome]) -> str:
    """How many messages were bad, and in which way; empty where none was."""
    counts = Counter(outcome.kind for outcome in outcomes if outcome.kind in _BAD)
    return ", ".join(
        f"{count} message{'s' if count > 1 else ''} {kind.value}" for kind, count in counts.items()
    )


def _why(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome.error, (InvalidEventPayload, ConfigurationError)):
        return {"problems": _problems(outcome.error.problems)}
    return {} if outcome.error is None else {"reason": outcome.reason}


def _problems(problems: Sequence[Problem]) -> list[dict[str, str]]:
    return [{"path": p.path, "detail": p.detail} for p in problems[:_MOST_PROBLEMS]]
