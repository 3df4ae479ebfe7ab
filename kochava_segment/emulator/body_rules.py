"""Rules of IdentityLinks, and of the bytes of signed bodies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kochava_segment.emulator.rule import (
    ALL,
    IDENTITY_LINK,
    INFERRED,
    LINK,
    Finding,
    Rule,
    Sent,
)

_EMAIL = re.compile(r"\s*[^@\s]+@[^@\s]+\.[^@\s]+\s*")
_LONGEST_EMAIL = 320  # characters; the pattern takes its time over long ones that almost match

_ESCAPE = re.compile(rb"\\.")
_JSON_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_SPACE = re.compile(rb"\s")


def _plain_identities(sent: Sent) -> Iterator[Finding]:
    for name, value in sent.data.items():
        if not isinstance(value, str) or len(value) > _LONGEST_EMAIL:
            continue
        if _EMAIL.fullmatch(value):
            yield f"data.{name}", "should be hashed: Kochava asks not to be sent e-mail addresses"


def _unescaped_slash(sent: Sent) -> Iterator[Finding]:
    if sent.signed and b"/" in sent.body and b"/" in _ESCAPE.sub(b"", sent.body):
        yield "body", r"should have its slashes written \/, as PHP writes them"


def _not_ascii(sent: Sent) -> Iterator[Finding]:
    if sent.signed and not sent.body.isascii():
        yield "body", r"should have characters outside ASCII written \uXXXX, as PHP writes them"


def _spaces(sent: Sent) -> Iterator[Finding]:
    if sent.signed and _SPACE.search(_JSON_STRING.sub(b"", sent.body)):
        yield "body", "should have no white space between its values"


def _unstable_values(sent: Sent) -> Iterator[Finding]:
    if not sent.signed:
        return
    # A stack, not recursion: a body may be nested deeper than Python's calls may be.
    left: list[tuple[str, Any]] = [("", sent.payload)]
    while left:
        path, value = left.pop()
        if value == {} and isinstance(value, dict):
            yield path, "should be left out: PHP cannot tell an empty object from an empty list"
        elif isinstance(value, float) and value.is_integer():
            yield path, "should be written without a fraction, as PHP writes whole numbers"
        elif isinstance(value, dict):
            left += ((f"{path}.{key}".lstrip("."), item) for key, item in value.items())
        elif isinstance(value, list):
            left += ((f"{path}[{index}]", item) for index, item in enumerate(value))


def _signed(code: str, checks: str, find: Any) -> Rule:
    return Rule(code, "advice", ALL, f"A signed body {checks}", INFERRED, find)


BODY_RULES = (
    Rule(
        "bad-link-app-id",
        "error",
        LINK,
        "`kochava_app_id` must be a string that is not blank",
        IDENTITY_LINK,
        fields=("kochava_app_id",),
    ),
    Rule(
        "bad-link-device-id",
        "error",
        LINK,
        "`device_id` (no s) must be an object of strings; neither it nor they may be empty",
        IDENTITY_LINK,
        fields=("device_id",),
    ),
    Rule(
        "bad-identities",
        "error",
        LINK,
        "`data` must be an object of strings; neither it nor they may be empty",
        IDENTITY_LINK,
        fields=("data",),
    ),
    Rule(
        "plain-identity",
        "advice",
        LINK,
        "Identities should not be e-mail addresses: send opaque ids or hashes",
        IDENTITY_LINK,
        _plain_identities,
    ),
    Rule(
        "unknown-link-field",
        "advice",
        LINK,
        "There should be no fields beside `kochava_app_id`, `device_id` and `data`",
        IDENTITY_LINK,
        fields=("*",),
        must="is no field of an IdentityLink",
    ),
    _signed("signed-slash", r"should have `/` written `\/`", _unescaped_slash),
    _signed("signed-not-ascii", r"should have `\uXXXX` for characters outside ASCII", _not_ascii),
    _signed("signed-spaces", "should have no white space between its values", _spaces),
    _signed(
        "signed-value",
        "should have no empty objects, and no whole numbers with a fraction (150.0)",
        _unstable_values,
    ),
)
