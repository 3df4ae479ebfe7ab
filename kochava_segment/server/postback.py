"""`/kochava/postback/{secret}`: Kochava's install postback, on its way to Segment."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from kochava_segment.destination import KochavaDestination
from kochava_segment.errors import EventNotSupported, InvalidEventPayload
from kochava_segment.outcome import Outcome, OutcomeKind
from kochava_segment.segment.tracking import SegmentTracking
from kochava_segment.server.answers import Refusal, json_answer
from kochava_segment.server.body import check_content_type, parse_json, read_body
from kochava_segment.server.group_commit import GroupCommit, put_in_time
from kochava_segment.server.metrics import Metrics

_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_MOST_PARAMETERS = 200
_LIMIT = 65_536  # bytes


class PostbackReceiver:
    """Takes Kochava's install postbacks.

    Args:
        destination: Maps them.
        tracking: Takes them to Segment; None where they are not taken.
        metrics: Counts them.
        secret: What stands in the URL, since Kochava signs nothing; None where none are taken.
    """

    def __init__(
        self,
        destination: KochavaDestination,
        tracking: SegmentTracking | None,
        metrics: Metrics,
        *,
        secret: str | None,
    ) -> None:
        self._destination = destination
        self._metrics = metrics
        self._secret = secret
        self.commit = None if tracking is None else GroupCommit(tracking.enqueue_many)

    async def receive(self, request: Request) -> Response:
        """Answer a postback.

        Raises:
            Refusal: if it is not taken.
        """
        if request.method == "HEAD":  # Starlette lets it in with GET
            raise Refusal(405, "a postback is a GET or a POST", headers={"Allow": "GET, POST"})
        given = request.path_params["secret"].encode("utf-8", "surrogatepass")
        wanted = (self._secret or "").encode()
        if not hmac.compare_digest(given, wanted) or not wanted or self.commit is None:
            raise Refusal(404, "there is nothing here")
        parameters = await _parameters(request)
        try:
            message = self._destination.install_attribution(parameters)
            (outcome,) = await put_in_time(self.commit, [message])
        except (EventNotSupported, InvalidEventPayload) as error:
            outcome = Outcome.of_error(0, error)
        self._metrics.postback(outcome)
        if isinstance(outcome.error, InvalidEventPayload):
            raise Refusal(400, "the postback is invalid", problems=outcome.error.problems)
        status = 202 if outcome.kind is OutcomeKind.QUEUED else 200
        return json_answer({"outcome": outcome.kind.value}, status)


async def _parameters(request: Request) -> list[tuple[str, Any]]:
    """The parameters of the body, which win, and of the query."""
    found: list[tuple[str, Any]] = []
    if request.method == "POST":
        body = (await read_body(request, _LIMIT)).content
        if body.strip():
            media = check_content_type(request, _FORM, _JSON)
            found += _of_form(body) if media == _FORM else _of_json(body)
    found += _of_form(request.scope["query_string"])
    # The first of several is the one that counts, whatever the letter case of their names.
    return found


def _of_form(encoded: bytes) -> list[tuple[str, Any]]:
    try:
        return parse_qsl(
            encoded.decode("utf-8"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MOST_PARAMETERS,
        )
    except UnicodeDecodeError:
        raise Refusal(400, "the parameters must be UTF-8") from None
    except ValueError:
        detail = f"there may be {_MOST_PARAMETERS} parameters"
        raise Refusal(400, detail) from None


def _of_json(body: bytes) -> Iterable[tuple[str, Any]]:
    document = parse_json(body)
    if not isinstance(document, dict):
        raise Refusal(400, "the body must be a JSON object of parameters")
    return document.items()
