"""What the emulator makes of the schema is what a library that knows all of JSON Schema makes of it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from kochava_segment.emulator.checks import RULES
from kochava_segment.emulator.schema_rules import SHAPES, SchemaRules, written
from kochava_segment.emulator.shape import Breach, shape_of
from kochava_segment.schema import payload_schema
from tests.emulator.requests import payload
from tests.emulator.spoilt import ANY, spoilt
from tests.long import many

_DEFINITIONS = payload_schema()["$defs"]
_NAMES = {
    "event": "KochavaEvent",
    "install": "KochavaInstall",
    "update": "KochavaIdfaUpdate",
    "identity link": "KochavaIdentityLink",
    "deletion": "KochavaDataSubjectRequest",
}
_EXAMPLES = {"identity link": "link"}  # as tests.emulator.requests calls it


def _leaf(error):
    """Where the library says that something is wrong, as the emulator says it."""
    path = [*error.absolute_path]
    if error.validator == "required":
        return [(*path, name) for name in error.validator_value if name not in error.instance]
    if error.validator == "additionalProperties":
        return [(*path, name) for name in error.instance if name not in error.schema["properties"]]
    if error.validator == "propertyNames":
        return [(*path, error.instance)]
    return [tuple(path)]


def _by_the_library(kind, value):
    schema = {"$ref": f"#/$defs/{_NAMES[kind]}", "$defs": _DEFINITIONS}
    checker = Draft202012Validator.FORMAT_CHECKER
    errors = Draft202012Validator(schema, format_checker=checker).iter_errors(value)
    return {path for error in errors for path in _leaf(error)}


@pytest.mark.parametrize("kind", _NAMES)
@pytest.mark.parametrize(
    "examples", [100, pytest.param(many(10_000), marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_it_finds_what_the_library_finds_and_nothing_else(kind, examples):
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=examples < 1000,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(value=spoilt([_EXAMPLES.get(kind, kind)]) | ANY)
    def agrees(value):
        ours = {breach.path for breach in SHAPES[kind].breaches(value)}
        assert ours == _by_the_library(kind, value)

    agrees()


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer"}, [0, -7, 2.0, 1e300], [True, "1", 1.5, float("inf"), None]),
        ({"enum": [0, 1]}, [0, 1, 1.0], [True, False, 2, "0"]),
        ({"const": "event"}, ["event"], ["Event", None]),
        ({"type": "string", "pattern": r"\S"}, ["x", " x"], ["", " \n", 1]),
        ({"type": "string", "pattern": "^[A-Z]{3}$", "maxLength": 3}, ["EUR"], ["EUR\n", "EURO"]),
        (
            {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
            ["203.0.113.7", "2001:db8::7"],
            ["203.0.113.777", "fe80::1%eth0", "", 7],
        ),
        ({"type": "object", "minProperties": 1}, [{"a": 1}], [{}, []]),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1}, [["a"]], [[], [1], {}]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_keywords_mean_what_json_schema_says(schema, good, bad):
    judge = shape_of(schema, {}).breaches
    library = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    for value in good:
        assert not judge(value)
        assert library.is_valid(value)
    for value in bad:
        assert judge(value)
        assert not library.is_valid(value)


def test_a_keyword_that_it_does_not_know_stops_it():
    with pytest.raises(ValueError, match="does not know: multipleOf"):
        shape_of({"type": "integer", "multipleOf": 2}, {})


def _places(shape, path=()):
    for name, member in shape.members.items():
        yield (*path, name)
        yield from _places(member, (*path, name))


@pytest.mark.parametrize("kind", _NAMES)
def test_every_field_has_a_rule_of_its_own_kind(kind):
    rules = SchemaRules(kind, [rule for rule in RULES if kind in rule.applies_to])
    for path in _places(SHAPES[kind]):
        rule = rules.rule_of(Breach(path, "type", ""))
        assert rule.severity == "error"
        assert not rule.must or written(path) in rule.fields, "its words are about another field"
    for keyword, code in (("exclusiveMaximum", "usertime-milliseconds"), ("type", "bad-usertime")):
        if kind in ("event", "install"):
            assert rules.rule_of(Breach(("data", "usertime"), keyword, "")).code == code
    assert rules.rule_of(Breach(("mistake",), "additionalProperties", "")).severity == "advice"


def test_paths_read_as_in_complaints():
    assert written(("data", "event_data", "price")) == "data.event_data.price"
    assert written(("device_ids", 0, "id_type")) == "device_ids[0].id_type"


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("event", {"data": 1}, "data must be an object"),
        ("event", {"action": "purchase"}, "action must be event"),
        ("event", {"x": 1}, "x must not be there: Kochava has no such field"),
        ("deletion", {"device_ids": []}, "device_ids must be a list that is not empty"),
    ],
)
def test_a_breach_says_what_must_be(kind, change, said):
    (breach,) = SHAPES[kind].breaches({**payload(kind), **change})
    assert f"{written(breach.path)} {breach.must}" == said


@given(value=st.text(max_size=3))
def test_a_breach_repeats_nothing_of_the_value(value):
    mark = f"zq7{value}"
    found = SHAPES["event"].breaches({"action": mark, "data": {"currency": mark}})
    assert found
    assert all(mark not in breach.must for breach in found)
