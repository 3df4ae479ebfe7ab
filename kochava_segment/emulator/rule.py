"""What a rule is, what it looks at, and what it says when it is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from attrs import frozen

Severity = Literal["error", "advice"]

# Where a finding stands and what must be otherwise there.
Finding = tuple[str, str]

# Kochava's articles, and what stands in for one where there is none.
EVENT_SETUP = "Post-Install Event Setup"
EVENT_EXAMPLES = "Post-Install Event Examples"
INSTALL_SETUP = "Install Notification Setup"
NO_USER_AGENT = "S2S without Device UA"
AUTHENTICATION = "Kochava Install Authentication Integration"
IDENTITY_LINK = "IdentityLink Setup"
DATA_SUBJECT = "Data Subject Request"
SENDERS = "no article; seen in other senders"
INFERRED = "no article; a conclusion from the others"

# The kinds of requests that a rule is about.
EVENT = ("event",)
INSTALL = ("install",)
UPDATE = ("update",)
DEVICE = ("event", "install")
TRACK = ("event", "install", "update")
LINK = ("identity link",)
DELETION = ("deletion",)
ALL = (*TRACK, *LINK)
HTTP = ("HTTP",)

APPLIES_TO = {
    EVENT: "events",
    INSTALL: "installs",
    UPDATE: "updates",
    DEVICE: "events, installs",
    TRACK: "/track/json",
    LINK: "IdentityLinks",
    DELETION: "data subject requests",
    ALL: "every body",
    HTTP: "every request",
}


@frozen
class Complaint:
    """A rule that a request breaks.

    Attributes:
        code: The rule's stable word, such as `no-ip`.
        path: Where it is broken: `data.usertime`, `headers.User-Agent`, `body`. Names, no values.
        detail: What must be otherwise, as the rest of a sentence without values.
        severity: `error` where the request is refused for it, `advice` where it is accepted.
    """

    code: str
    path: str
    detail: str
    severity: Severity

    def __str__(self) -> str:
        return f"{self.path} {self.detail} ({self.severity} {self.code})"


@frozen
class Sent:
    """What rules look at: a request whose body is a JSON object.

    Attributes:
        payload: The body, decoded.
        headers: The HTTP headers.
        body: The body as it came.
        signed: Whether it is, or has to be, signed.
        data: The `data` object; empty where there is none.
        device_ids: The `data.device_ids` object, likewise.
        event_data: The `data.event_data` object, likewise.
    """

    payload: Mapping[str, Any]
    headers: Mapping[str, str]
    body: bytes
    signed: bool
    data: Mapping[str, Any]
    device_ids: Mapping[str, Any]
    event_data: Mapping[str, Any]

    @classmethod
    def of(
        cls, payload: Mapping[str, Any], headers: Mapping[str, str], body: bytes, *, signed: bool
    ) -> Sent:
        """Take a payload apart, as far as it is what it should be."""
        data = _object(payload, "data")
        device_ids, event_data = _object(data, "device_ids"), _object(data, "event_data")
        return cls(payload, headers, body, signed, data, device_ids, event_data)


def _object(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


@frozen
class Rule:
    """One thing that Kochava's documents ask of a request.

    Attributes:
        code: A stable word for it.
        severity: `error` or `advice`, as in a Complaint.
        applies_to: The kinds of requests that it is about: a key of `APPLIES_TO`.
        checks: What must hold, in Markdown.
        source: The article that says so.
        find: Gives where a request breaks it. None where HTTP is looked after, or the schema.
        fields: The fields whose shape it is about; the schema says what that is. `FIELD KEYWORD` is
            one keyword of the schema there, `FIELD.*` and `*` are fields that the schema does not have.
        must: What must be otherwise, where the schema's own words do not say it best.
    """

    code: str
    severity: Severity
    applies_to: tuple[str, ...]
    checks: str
    source: str
    find: Callable[[Sent], Iterable[Finding]] | None = None
    fields: tuple[str, ...] = ()
    must: str = ""

    def complaint(self, path: str, detail: str) -> Complaint:
        """The complaint about a request that breaks this rule."""
        return Complaint(self.code, path, detail, self.severity)
