"""Rules about the HTTP around a body. Those who read and judge requests look after them."""

from __future__ import annotations

from kochava_segment.emulator.rule import (
    AUTHENTICATION,
    DATA_SUBJECT,
    EVENT_SETUP,
    HTTP,
    IDENTITY_LINK,
    INFERRED,
    Rule,
)

MAX_BODY_BYTES = 2_000_000

MALFORMED = Rule(
    "malformed-http",
    "error",
    HTTP,
    "A request must be whole, and HTTP/1.1 (400, 414, 431, 505)",
    INFERRED,
)
UNKNOWN_PATH = Rule(
    "unknown-path",
    "error",
    HTTP,
    "The path must be `/track/json`, `/v1/cpi/identityLink.php` or "
    "`/accounts/NUMBER[/apps/NUMBER]/privacy/scrub` (404)",
    f"{EVENT_SETUP}; {IDENTITY_LINK}; {DATA_SUBJECT}",
)
WRONG_METHOD = Rule("wrong-method", "error", HTTP, "The method must be POST (405)", EVENT_SETUP)
NO_LENGTH = Rule(
    "no-length", "error", HTTP, "A body must come with its `Content-Length` (411)", INFERRED
)
TOO_LARGE = Rule(
    "too-large", "error", HTTP, f"A body must not exceed {MAX_BODY_BYTES} bytes (413)", EVENT_SETUP
)
BAD_SIGNATURE = Rule(
    "bad-signature",
    "error",
    HTTP,
    "With credentials set, `Kochava-Api-Key` and `Kochava-Auth-Token` must be right (401)",
    AUTHENTICATION,
)
NOT_JSON = Rule("not-json", "error", HTTP, "The body must be JSON in UTF-8 (400)", EVENT_SETUP)
NOT_AN_OBJECT = Rule(
    "not-an-object",
    "error",
    HTTP,
    "The body must be one object: there is no batch form (400)",
    EVENT_SETUP,
)
FOREIGN_APP = Rule(
    "foreign-app",
    "error",
    HTTP,
    "With App GUIDs set, `kochava_app_id` must be one of them (400)",
    EVENT_SETUP,
)
NO_INSTALL = Rule(
    "no-install",
    "error",
    HTTP,
    "With `require_install`, a device's install must come before all else of it (400)",
    f"{EVENT_SETUP}; {IDENTITY_LINK}",
)
CONTENT_TYPE = Rule(
    "content-type",
    "advice",
    HTTP,
    "The header `Content-Type` should be `application/json`",
    EVENT_SETUP,
)
QUERY = Rule("query", "advice", HTTP, "The URL should have no query parameters", EVENT_SETUP)

HTTP_RULES = (
    MALFORMED,
    UNKNOWN_PATH,
    WRONG_METHOD,
    NO_LENGTH,
    TOO_LARGE,
    BAD_SIGNATURE,
    NOT_JSON,
    NOT_AN_OBJECT,
    FOREIGN_APP,
    NO_INSTALL,
    CONTENT_TYPE,
    QUERY,
)
