"""Rules of data subject requests, which ask Kochava to delete what it knows of devices."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kochava_segment.emulator.data_rules import is_text
from kochava_segment.emulator.rule import DATA_SUBJECT, DELETION, Finding, Rule, Sent

DELETION_PATH = re.compile(r"/accounts/[0-9]+(/apps/[0-9]+)?/privacy/scrub")


def _key(sent: Sent) -> Iterator[Finding]:
    named = {name.casefold(): value for name, value in sent.headers.items()}
    if not named.get("authentication-key", "").strip():
        yield "headers.Authentication-Key", "is missing"


def _ids(sent: Sent) -> Iterator[Finding]:
    ids = sent.payload.get("device_ids")
    if not isinstance(ids, list) or not ids:
        yield "device_ids", "must be a list that is not empty"
        return
    for index, item in enumerate(ids):
        for name in ("id_type", "id_value"):
            if not is_text(item.get(name) if isinstance(item, dict) else None):
                yield f"device_ids[{index}].{name}", "must be a string that is not blank"


def _unknown_fields(sent: Sent) -> Iterator[Finding]:
    for key in sent.payload.keys() - {"device_ids"}:
        yield key, "is no field of a data subject request"


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
        _ids,
    ),
    Rule(
        "unknown-deletion-field",
        "advice",
        DELETION,
        "There should be no fields beside `device_ids`",
        DATA_SUBJECT,
        _unknown_fields,
    ),
)
