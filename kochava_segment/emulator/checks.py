"""All rules in one table: what the emulator checks, and the documentation of it."""

from __future__ import annotations

from collections.abc import Mapping

from kochava_segment.emulator.advice_rules import ADVICE_RULES
from kochava_segment.emulator.body_rules import BODY_RULES
from kochava_segment.emulator.data_rules import DATA_RULES
from kochava_segment.emulator.http_rules import HTTP_RULES
from kochava_segment.emulator.rule import ALL, APPLIES_TO, Complaint, Rule, Sent

RULES: tuple[Rule, ...] = (*HTTP_RULES, *DATA_RULES, *ADVICE_RULES, *BODY_RULES)

IDENTITY_LINK_KIND = "identity link"

_RULES_OF: Mapping[str, tuple[Rule, ...]] = {
    kind: tuple(rule for rule in RULES if kind in rule.applies_to) for kind in ALL
}


def check(sent: Sent, *, identity_link: bool) -> tuple[Complaint, ...]:
    """All complaints about a request that came with an object for its body.

    Args:
        sent: The request.
        identity_link: It came to the IdentityLink endpoint.
    """
    action = IDENTITY_LINK_KIND if identity_link else sent.payload.get("action")
    kind = action if isinstance(action, str) and action in _RULES_OF else "unknown"
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
