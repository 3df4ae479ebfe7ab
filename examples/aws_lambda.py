"""A Segment function as an AWS Lambda function: handler `aws_lambda.handler`.

    KOCHAVA_SEGMENT_APP_GUID   and other options of the destination
    SEGMENT_SECRET             the shared secret of Segment's Webhooks destination

It takes events in two ways:

- from the Webhooks destination, through API Gateway or a function URL: one event a request, signed,
  answered with a status that Segment understands;
- by a direct invocation with `{"events": [...]}`, which IAM has authenticated: answered with one
  status per event, which the onBatch of a Segment function can return as it is.
"""

from __future__ import annotations

import base64
import json
import os
from typing import Any

from kochava_segment import KochavaDestination
from kochava_segment.segment.functions import BatchEntry, Functions
from kochava_segment.segment.webhook import is_array, is_signed

# Made when an instance starts; its connections serve all of its invocations.
functions = Functions(KochavaDestination.from_env())
SECRET = os.environ.get("SEGMENT_SECRET", "")  # without one, every request is refused


def handler(event: dict[str, Any], context: object) -> Any:  # noqa: ARG001  # Lambda's signature
    """Deliver events to Kochava."""
    if "requestContext" in event:
        entry = deliver(event)
        return {
            "statusCode": entry["status"],
            "headers": {"Content-Type": "application/json"},
            "body": json.dumps(entry),
        }
    return functions.on_batch(event["events"])


def deliver(request: dict[str, Any]) -> BatchEntry:
    """Deliver the one event of an HTTP request, as API Gateway passes it on."""
    text: str = request.get("body") or ""
    body = base64.b64decode(text) if request.get("isBase64Encoded") else text.encode()
    given: dict[str, str] = request.get("headers") or {}
    headers = {name.lower(): value for name, value in given.items()}
    if not is_signed(body, headers.get("x-signature"), SECRET):
        return {"status": 401, "errormessage": "the signature is missing or wrong"}
    if is_array(body):
        # A request has one answer, and some events of a list may have to be sent again.
        return {"status": 400, "errormessage": "send one event a request: turn batching off"}
    try:
        message = json.loads(body)
    except ValueError:
        return {"status": 400, "errormessage": "the body is no JSON"}
    (entry,) = functions.on_batch([message])
    return entry
