"""All rules in one table: what the emulator checks, and the documentation of it."""

from __future__ import annotations

from collections.abc import Mapping

from kochava_segment.emulator.advice_rules import ADVICE_RULES
from kochava_segment.emulator.body_rules import BODY_RULES
from kochava_segment.emulator.data_rules import DATA_RULES
from kochava_segment.emulator.deletion_rules import DELETION_RULES
from kochava_segment.emulator.http_rules import HTTP_RULES
from kochava_segment.emulator.rule import (
    ALL,
    APPLIES_TO,
    DELETION,
    LINK,
    TRACK,
    Complaint,
    Rule,
    Sent,
)

RULES: tuple[Rule, ...] = (*HTTP_RULES, *DATA_RULES, *ADVICE_RULES, *BODY_RULES, *DELETION_RULES)

(IDENTITY_LINK_KIND,) = LINK
(DELETION_KIND,) = DELETION

_RULES_OF: Mapping[str, tuple[Rule, ...]] = {
    kind: tuple(rule for rule in RULES if kind in rule.applies_to) for kind in (*ALL, *DELETION)
}


def check(sent: Sent, kind: str | None = None) -> tuple[Complaint, ...]:
    """All complaints about a request that came with an object for its body.

    Args:
        sent: The request.
        kind: `IDENTITY_LINK_KIND` or `DELETION_KIND` where its path says that it is one; its body
            tells the others apart.
    """
    if kind is None:
        action = sent.payload.get("action")
        kind = action if isinstance(action, str) and action in TRACK else "unknown"
    return tuple(
        rule.complaint(path, detail) for rule in _RULES_OF[kind] for path, detail in rule.find(sent)
    )


def rules_table() -> str:
    """All rules as a table in Markdown, for docs/testing.md."""
    rows = ["| Code | Severity | About | Rule | Source |", "| --- | --- | --- | --- | --- |"]
    rows += (
        f"| {rule.code} | {rule.severity} | {APPLIES_TO[rule.applies_to]} | {rule.checks}"
        f" | {rule.source} |"
        for rule in RULES
    )
    return "\n".join(rows)
