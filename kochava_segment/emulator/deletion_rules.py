"""Rules of data subject requests, which ask Kochava to delete what it knows of devices."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kochava_segment.emulator.rule import DATA_SUBJECT, DELETION, Finding, Rule, Sent

DELETION_PATH = re.compile(r"/accounts/[0-9]+(/apps/[0-9]+)?/privacy/scrub")


def _key(sent: Sent) -> Iterator[Finding]:
    named = {name.casefold(): value for name, value in sent.headers.items()}
    if not named.get("authentication-key", "").strip():
        yield "headers.Authentication-Key", "is missing"


NO_KEY = Rule(
    "no-authentication-key",
    "error",
    DELETION,
    "There must be a header `Authentication-Key` (401)",
    DATA_SUBJECT,
    _key,
)
DELETION_RULES = (
    NO_KEY,
    Rule(
        "bad-deletion-ids",
        "error",
        DELETION,
        "`device_ids` must be a list of objects with `id_type` and `id_value`, and not empty",
        DATA_SUBJECT,
        fields=("device_ids",),
    ),
    Rule(
        "unknown-deletion-field",
        "advice",
        DELETION,
        "There should be no fields beside `device_ids`",
        DATA_SUBJECT,
        fields=("*",),
        must="is no field of a data subject request",
    ),
)
