"""A Segment function as a Google Cloud Function: entry point `handle`.

    KOCHAVA_SEGMENT_APP_GUID   and other options of the destination
    SEGMENT_TOKEN              what callers send as `Authorization: Bearer TOKEN`

The body is one event, as Segment's Webhooks destination posts it, answered with a status that
Segment understands; or `{"events": [...]}`, answered with one status per event, which the onBatch of
a Segment function can return as it is.
"""

from __future__ import annotations

import hmac
import os
from typing import Any, cast

from flask import Request

from kochava_segment import KochavaDestination
from kochava_segment.segment.functions import Functions

# Made when an instance starts; its connections serve all of its requests.
functions = Functions(KochavaDestination.from_env())
TOKEN = os.environ["SEGMENT_TOKEN"]


def handle(request: Request) -> tuple[Any, int]:
    """Deliver events to Kochava."""
    given = request.headers.get("Authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {TOKEN}".encode()):
        return {"errormessage": "the token is missing or wrong"}, 401
    document = request.get_json(silent=True)
    if not isinstance(document, dict):
        # A request has one status, and some events of a list may have to be sent again.
        return {"errormessage": 'the body must be one event, or {"events": [...]}'}, 400
    body = cast("dict[str, Any]", document)
    if isinstance(body.get("events"), list):
        return functions.on_batch(body["events"]), 200
    (entry,) = functions.on_batch([body])
    return entry, entry["status"]
