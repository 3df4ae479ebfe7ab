"""Values of properties to JSON values."""

import collections
import datetime as dt
import decimal
import enum
import json
import types
import uuid

import pytest

from kochava_segment import InvalidEventPayload
from kochava_segment.mapping import values
from tests.messages import ios


class Plan(enum.Enum):
    GOLD = "gold"
    BOTH = ("a", 1)


class Level(enum.IntEnum):
    TWO = 2


class Name(str):
    __slots__ = ()


class Ratio(float):
    __slots__ = ()


class Count(int):
    __slots__ = ()


UTC = dt.timezone.utc


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        ("Zürich 🎿", "Zürich 🎿"),
        (None, None),
        (True, True),
        (5, 5),
        (1.5, 1.5),
        (150.0, 150),
        (-0.0, 0),
        (2.0**53, 2.0**53),
        (10**300, 10**300),
        ((1, 2), [1, 2]),
        ({"a": [{}]}, {"a": [{}]}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (collections.OrderedDict(b=1), {"b": 1}),
        (dt.datetime(2026, 3, 20, 18, 6, tzinfo=UTC), "2026-03-20T18:06:00+00:00"),
        (dt.date(2026, 3, 20), "2026-03-20"),
        (decimal.Decimal("19.90"), 19.9),
        (decimal.Decimal(7), 7),
        (decimal.Decimal("1E+2"), 100),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (Plan.GOLD, "gold"),
        (Plan.BOTH, ["a", 1]),
        (Level.TWO, 2),
        (Name("Ann"), "Ann"),
        (Ratio(2.0), 2),
        (Count(3), 3),
    ],
)
def test_values_become_json(map_with, value, expected):
    for properties in ({"key": value}, {"key": [value]}, {"key": {"inner": value}}):
        event_data = map_with(ios(properties=properties)).payload["data"]["event_data"]
        (found,) = event_data.values()
        inner = (
            next(iter(found.values() if isinstance(found, dict) else found))
            if (properties != {"key": value})
            else found
        )
        assert inner == expected
        assert json.dumps(inner) == json.dumps(expected)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        float("-inf"),
        10**400,
        decimal.Decimal("NaN"),
        decimal.Decimal("sNaN"),
        decimal.Decimal("1E+400"),
        decimal.Decimal("-1E+9999999"),
    ],
)
def test_numbers_that_are_not_finite_are_left_out(map_with, value):
    request = map_with(ios(properties={"a": value, "b": [1, value, 2], "c": {"d": value}}))
    assert request.payload["data"]["event_data"] == {"b": [1, 2], "c": {}}
    assert [(warning.code, warning.field) for warning in request.warnings] == [
        ("not-finite", "properties.a"),
        ("not-finite", "properties.b[1]"),
        ("not-finite", "properties.c.d"),
    ]


SMALL = "1e-05"  # orjson would write 0.00001, and the bytes are signed


@pytest.mark.parametrize(
    "properties",
    [
        {"own": 0.00001},
        {"own": decimal.Decimal("0.00001")},
        {"own": [{"deep": Ratio(0.00001)}]},
        {"revenue": "0.00001"},
        {"revenue": 0.00001},
        {"products": [{"quantity": "0.00001"}]},
        {"products": [{"quantity": 0.000005}, {"quantity": 0.000005}]},
    ],
)
def test_small_numbers_are_written_as_python_writes_them(map_with, properties):
    message = ios(event="Order Completed", properties=properties)
    assert f":{SMALL}".encode() in map_with(message).body
    kochava = {"gdpr_privacy_consent": {"own": 0.00001}}
    body = map_with(ios(integrations={"Kochava": kochava})).body
    assert f'"gdpr_privacy_consent":{{"own":{SMALL}}}'.encode() in body


def test_names_are_judged_alike_however_many_there_were(map_with):
    for _ in range(2):
        properties = {f"a{number}": "x" for number in range(5000)} | {"email": "x", "x" * 300: "x"}
        request = map_with(ios(properties=properties))
        assert len(request.payload["data"]["event_data"]) == 5001
        assert [warning.code for warning in request.warnings] == ["pii-property", "many-keys"]
    assert len(values._PLAIN_NAMES) < 5000


@pytest.mark.parametrize(
    ("value", "name"),
    [(b"x", "bytes"), ({1}, "set"), (object(), "object"), (1j, "complex"), (len, "builtin")],
)
def test_what_json_does_not_have_is_invalid_and_names_its_path(map_with, value, name):
    with pytest.raises(InvalidEventPayload) as caught:
        map_with(ios(properties={"a": [0, {"b": value}], "c": value}))
    problems = caught.value.problems
    assert [problem.path for problem in problems] == ["properties.a[1].b", "properties.c"]
    assert all(name in problem.detail for problem in problems)


@pytest.mark.parametrize("key", [1, None, "\ud800", ("a",)])
def test_names_are_strings_of_unicode(map_with, key):
    with pytest.raises(InvalidEventPayload) as caught:
        map_with(ios(properties={"a": {key: 1, "b": 2}}))
    (problem,) = caught.value.problems
    assert problem.path.startswith("properties.a")
    assert "valid Unicode" in problem.detail


def test_half_a_surrogate_pair_is_replaced(map_with):
    request = map_with(ios(properties={"a": "cut \ud83d", "b": "whole \ud83c\udfbf"}))
    assert request.payload["data"]["event_data"] == {"a": "cut \ufffd", "b": "whole 🎿"}
    assert [(warning.code, warning.field) for warning in request.warnings] == [
        ("bad-text", "properties.a"),
        ("bad-text", "properties.b"),
    ]


def nested(depth, kind):
    value = "leaf"
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


@pytest.mark.parametrize("kind", [list, dict])
def test_nesting_has_a_limit(map_with, kind):
    map_with(ios(properties={"a": nested(63, kind)}))
    for depth in (65, 100_000):
        with pytest.raises(InvalidEventPayload) as caught:
            map_with(ios(properties={"a": nested(depth, kind)}))
        (problem,) = caught.value.problems
        assert "deeper than 64" in problem.detail


def test_a_cycle_is_nested_too_deeply(map_with):
    properties = {"a": []}
    properties["a"].append(properties)
    with pytest.raises(InvalidEventPayload, match="deeper than 64"):
        map_with(ios(properties=properties))


def test_objects_are_written_in_one_order(map_with):
    one = map_with(ios(properties={"b": {"d": 1, "c": 2}, "a": 3})).body
    other = map_with(ios(properties={"a": 3, "b": {"c": 2, "d": 1}})).body
    assert one == other
    assert b'{"a":3,"b":{"c":2,"d":1}}' in one


def test_endless_text_that_is_nearly_an_e_mail_address_takes_no_time(map_with):
    almost = "a@" + "." * 300_000 + "@"  # a pattern alone would look at it for an hour
    assert map_with(ios(properties={"a": almost})).warnings == ()


def test_what_is_left_out_of_an_sdk_s_own_classes_names_its_path(map_with):
    properties = {"a": Ratio("nan"), "b": Name("ann@mail.example"), "c": Count(2**1024)}
    request = map_with(ios(properties=properties))
    assert request.payload["data"]["event_data"] == {}
    assert [(warning.code, warning.field) for warning in request.warnings] == [
        ("not-finite", "properties.a"),
        ("pii-property", "properties.b"),
        ("not-finite", "properties.c"),
    ]


def test_thousands_of_problems_are_told_once_each(map_with):
    with pytest.raises(InvalidEventPayload) as caught:
        map_with(ios(properties={"a": [b""] * 20_000}))
    assert len(caught.value.problems) == 20_000
