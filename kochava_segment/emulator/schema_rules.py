"""What of the rules the JSON Schema says: which definition judges which kind of request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kochava_segment.emulator.rule import DELETION, LINK, Finding, Rule
from kochava_segment.emulator.shape import Breach, Path, Shape, shape_of
from kochava_segment.schema import payload_schema

_DEFINITIONS = payload_schema()["$defs"]
SHAPES: Mapping[str, Shape] = {
    kind: shape_of(_DEFINITIONS[name], _DEFINITIONS)
    for kind, name in {
        "event": "KochavaEvent",
        "install": "KochavaInstall",
        "update": "KochavaIdfaUpdate",
        LINK[0]: "KochavaIdentityLink",
        DELETION[0]: "KochavaDataSubjectRequest",
    }.items()
}

RESERVED_KEYS: tuple[str, ...] = tuple(
    _DEFINITIONS["EventProperties"]["propertyNames"]["not"]["enum"]
)


def field_rule(
    code: str, applies_to: tuple[str, ...], field: str, source: str, *, must: str = ""
) -> Rule:
    """The rule that a field has the shape that the schema gives it.

    Args:
        code: Its code.
        applies_to: The kinds of requests that it is about.
        field: The field.
        source: The article that says so.
        must: What must be otherwise, where the schema's own words do not say it best.
    """
    shape = _shape_at(SHAPES[applies_to[0]], field)
    asked = "; ".join(f"`{name}` {member.must}" for name, member in shape.members.items())
    checks = (
        f"In `{field}`, an object, {asked}"
        if asked and not must
        else f"`{field}` {must or shape.must}"
    )
    return Rule(code, "error", applies_to, checks, source, fields=(field,), must=must)


def _shape_at(shape: Shape, field: str) -> Shape:
    for name in field.split("."):
        shape = shape.members[name]
    return shape


class SchemaRules:
    """Tells which rule each breach of the schema breaks.

    Args:
        kind: The kind of requests.
        rules: The rules about it; of several about the same field the last counts.
    """

    def __init__(self, kind: str, rules: Iterable[Rule]) -> None:
        self._breaches = SHAPES[kind].breaches
        self._rules = {field: rule for rule in rules for field in rule.fields}

    def broken(self, payload: Mapping[str, Any]) -> list[tuple[Rule, Finding]]:
        """The rules that a payload breaks, and where."""
        return [self._broken_by(breach) for breach in self._breaches(payload)]

    def _broken_by(self, breach: Breach) -> tuple[Rule, Finding]:
        rule = self.rule_of(breach)
        return rule, (written(breach.path), rule.must or breach.must)

    def rule_of(self, breach: Breach) -> Rule:
        """The rule that is about a breach."""
        return next(self._rules[field] for field in _fields_of(breach) if field in self._rules)


def _fields_of(breach: Breach) -> Iterator[str]:
    """What a rule may call the fields of a breach, the closest first."""
    unknown = breach.keyword == "additionalProperties"
    for length in range(len(breach.path), 0, -1):
        field = written(breach.path[:length])
        if not unknown:
            yield f"{field} {breach.keyword}"
            yield field
        else:
            yield field if length == len(breach.path) else f"{field}.*"
    yield "*"


def written(path: Path) -> str:
    """A path as complaints write it: `data.device_ids.idfa`, `device_ids[0].id_type`."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    return text.removeprefix(".")
