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
    EVENT,
    LINK,
    TRACK,
    Complaint,
    Rule,
    Sent,
)
from kochava_segment.emulator.schema_rules import SchemaRules

RULES: tuple[Rule, ...] = (*HTTP_RULES, *DATA_RULES, *ADVICE_RULES, *BODY_RULES, *DELETION_RULES)

(IDENTITY_LINK_KIND,) = LINK
(DELETION_KIND,) = DELETION

# Complaints come in this order, whoever found them.
_ORDER = {rule.code: place for place, rule in enumerate(RULES)}
_RULES_OF: Mapping[str, tuple[Rule, ...]] = {
    kind: tuple(rule for rule in RULES if kind in rule.applies_to) for kind in (*ALL, *DELETION)
}
_OF_THE_SCHEMA = {kind: SchemaRules(kind, rules) for kind, rules in _RULES_OF.items()}
_FINDERS = {
    kind: tuple((rule, rule.find) for rule in rules if rule.find is not None)
    for kind, rules in _RULES_OF.items()
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
        # With an unknown action it is most likely an event.
        kind = action if isinstance(action, str) and action in TRACK else EVENT[0]
    broken = [(rule, finding) for rule, find in _FINDERS[kind] for finding in find(sent)]
    broken += _OF_THE_SCHEMA[kind].broken(sent.payload)
    broken.sort(key=lambda found: _ORDER[found[0].code])
    return tuple(rule.complaint(path, detail) for rule, (path, detail) in broken)


def rules_table() -> str:
    """All rules as a table in Markdown, for docs/testing.md."""
    rows = ["| Code | Severity | About | Rule | Source |", "| --- | --- | --- | --- | --- |"]
    rows += (
        f'| <a id="{rule.code}"></a>`{rule.code}` | {rule.severity} '
        f"| {APPLIES_TO[rule.applies_to]} | {rule.checks} | {rule.source} |"
        for rule in RULES
    )
    return "\n".join(rows)
