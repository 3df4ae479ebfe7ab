"""What the mapping gives and the delivery takes: one HTTP request to Kochava, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from kochava_segment import json_codec


@frozen
class MappingWarning:
    """Something in a message that was not as it should be, and that did not stop it.

    Attributes:
        code: A stable word for it, such as `no-ip`; docs/errors.md lists them all.
        field: The path in the message that it is about, such as `context.ip`.
        detail: What was done about it, as a sentence without values from the message.
    """

    code: str
    field: str
    detail: str


@frozen(kw_only=True)
class KochavaRequest:
    """One request to Kochava, ready to be posted. Equal messages and options give equal requests.

    Attributes:
        url: Where it goes.
        headers: HTTP headers of this request: `User-Agent: Unknown` where Kochava is to build the
            device's agent, and the authentication headers where credentials are set. The transport
            adds `Content-Type: application/json`.
        body: The JSON document, encoded once. These bytes are what is signed and sent.
        ordering_key: The app and device that it is about. Requests with the same key are sent in
            order.
        action: `event`, `install`, `update` or `identity_link`.
        message_id: The Segment message's `messageId`, if it has one.
        warnings: What was odd about the message.
        method: Always POST.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=lambda body: f"<{len(body)} bytes>")
    ordering_key: str = field(repr=False)
    action: str
    message_id: str | None = None
    warnings: tuple[MappingWarning, ...] = ()
    method: str = "POST"

    @property
    def payload(self) -> dict[str, Any]:
        """The body, decoded: a new dict at each call."""
        payload: dict[str, Any] = json_codec.decode(self.body)
        return payload
