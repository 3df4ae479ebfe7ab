"""The signature of Segment's Webhooks destination.

Segment, *Webhooks Destination* and *Webhooks (Actions) Destination*: `X-Signature` is the hex
HMAC-SHA1 of the body with the shared secret. On a batch it covers the first element alone, as it
stands in the body; the other elements are not authenticated.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re

_SPACE = b" \t\r\n"
_SPACES = re.compile(r"[ \t\r\n]*")
# What the numbers are worth does not matter here, and some are too long to be worked out.
_EXTENT = json.JSONDecoder(parse_int=str, parse_float=str)


def sign(body: bytes, secret: str) -> str:
    """The `X-Signature` that Segment sends with a body: for tests, and for senders of your own.

    Args:
        body: The bytes of the request's body: one JSON object, or an array of them.
        secret: The shared secret of the destination.

    Raises:
        ValueError: if the body is an array without a first element.
    """
    return _hex(_signed_part(body), secret)


def is_signed(body: bytes, signature: str | None, secret: str) -> bool:
    """Whether a body carries the right signature. Takes the same time for every wrong one.

    Of an array, only the first element is covered: whoever takes the others has to know the sender
    by something else, such as a bearer token.

    Args:
        body: The bytes of the request's body, as they came.
        signature: The value of `X-Signature`; None where there was none, which is never right.
        secret: The shared secret of the destination. Nothing is right without one.
    """
    if not signature or not secret:
        return False
    try:
        signed = _signed_part(body)
    except ValueError:
        return False
    given = signature.strip().lower().encode("utf-8", "surrogatepass")
    return hmac.compare_digest(_hex(signed, secret).encode(), given)


def is_array(body: bytes) -> bool:
    """Whether a body is a JSON array, as far as its first character tells."""
    return body.lstrip(_SPACE)[:1] == b"["


def _hex(signed: bytes, secret: str) -> str:
    return hmac.new(secret.encode("utf-8"), signed, hashlib.sha1).hexdigest()


def _signed_part(body: bytes) -> bytes:
    """The bytes that are signed: all of them, or those of an array's first element."""
    if not is_array(body):
        return body
    try:
        text = body.decode("utf-8")
        start = _SPACES.match(text, text.index("[") + 1).end()  # type: ignore[union-attr]  # it always does
        _, end = _EXTENT.raw_decode(text, start)
    except RecursionError:
        raise ValueError("the first element is nested too deeply") from None
    return text[start:end].encode()
