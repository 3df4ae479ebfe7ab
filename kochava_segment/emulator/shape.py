"""Judges a body by the JSON Schema of Kochava's payloads: every breach, with its path and in words.

The emulator belongs to the base install, which has three dependencies, so that it brings no library for
this. Of draft 2020-12 it knows the keywords that the schema has, and refuses a schema with others;
the tests compare it with a library that knows all.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import field, frozen

_RESERVED = "must have another name: Kochava keeps this one for itself"

Path = tuple[str | int, ...]
_Test = Callable[[Any], bool]


@frozen
class Breach:
    """Where a value is not as the schema says.

    Attributes:
        path: The keys and indices that lead to it.
        keyword: The keyword of JSON Schema that it breaks.
        must: What must be otherwise, as the rest of a sentence.
    """

    path: Path
    keyword: str
    must: str


_MISPLACED = Breach((), "additionalProperties", "must not be there: Kochava has no such field")
_Judge = Callable[[Any], "tuple[Breach, ...]"]


@frozen
class Shape:
    """A part of the schema, ready to judge by.

    Attributes:
        must: What a value must be, as the rest of a sentence.
        breaches: What is wrong with a value, with paths from it on.
        members: The shapes of an object's fields.
    """

    must: str
    breaches: Callable[[Any], Iterable[Breach]]
    members: Mapping[str, Shape] = field(factory=dict)


def shape_of(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Shape:
    """Prepare a part of a schema.

    Args:
        schema: The part.
        definitions: The `$defs` that it may refer to.

    Raises:
        ValueError: if it has a keyword that is not known here.
    """
    if "$ref" in schema:
        return shape_of(definitions[schema["$ref"].removeprefix("#/$defs/")], definitions)
    unknown = schema.keys() - _KEYWORDS
    if unknown:
        raise ValueError(f"keywords that the emulator does not know: {', '.join(sorted(unknown))}")
    must = f"must be {schema.get('title') or _words(schema)}"
    judge = _judge(
        [
            (make(schema[keyword]), (Breach((), keyword, must),))
            for keyword, make in _TESTS.items()
            if keyword in schema
        ]
    )
    if schema.get("type") == "object":
        return _object_shape(schema, definitions, must, judge)
    if "items" not in schema:
        return Shape(must, judge)
    judge_item = shape_of(schema["items"], definitions).breaches

    def breaches(value: Any) -> Iterable[Breach]:
        wrong = judge(value)
        return wrong or [
            _below(index, breach) for index, item in enumerate(value) for breach in judge_item(item)
        ]

    return Shape(must, breaches)


def _judge(tests: list[tuple[_Test, tuple[Breach]]]) -> _Judge:
    """Tells the first test that a value does not pass: its words are about all of them."""
    if not tests:
        return lambda _: ()
    if len(tests) == 1:  # most fields
        ((only, wrong),) = tests
        return lambda value: () if only(value) else wrong

    def judge(value: Any) -> tuple[Breach, ...]:
        for fits, wrong in tests:
            if not fits(value):
                return wrong
        return ()

    return judge


def _object_shape(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], must: str, judge: _Judge
) -> Shape:
    members = {
        name: shape_of(member, definitions) for name, member in schema.get("properties", {}).items()
    }
    judges = {name: member.breaches for name, member in members.items()}
    missing = {
        name: Breach((name,), "required", members[name].must) for name in schema.get("required", ())
    }
    reserved = frozenset(schema.get("propertyNames", {}).get("not", {}).get("enum", ()))
    others = schema.get("additionalProperties", True)
    judge_other = (
        shape_of(others, definitions).breaches
        if isinstance(others, Mapping)
        else _judge([] if others else [(lambda _: False, (_MISPLACED,))])
    )

    def breaches(value: Any) -> Iterable[Breach]:
        wrong = judge(value)
        if wrong:
            return wrong
        found: list[Breach] = []
        for name, item in value.items():
            inner = judges.get(name, judge_other)(item)
            if inner:
                found += [_below(name, breach) for breach in inner]
        if not value.keys() >= missing.keys():
            found += [breach for name, breach in missing.items() if name not in value]
        if not reserved.isdisjoint(value):
            found += [
                Breach((name,), "propertyNames", _RESERVED) for name in value if name in reserved
            ]
        return found

    return Shape(must, breaches, members)


def _below(key: str | int, breach: Breach) -> Breach:
    return Breach((key, *breach.path), breach.keyword, breach.must)


_WORDS = {
    "string": "a string",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
}


def _words(schema: Mapping[str, Any]) -> str:
    return str(schema["const"]) if "const" in schema else _WORDS.get(schema.get("type", ""), "else")


def _is_whole(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) and not isinstance(value, bool)


_IS = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": _is_whole,
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
}


def _one_of(values: Iterable[Any]) -> _Test:
    # Python has True for 1, JSON has not.
    known = [(isinstance(value, bool), value) for value in values]
    return lambda value: (isinstance(value, bool), value) in known


def _pattern(pattern: str) -> _Test:
    search = re.compile(pattern).search
    return lambda value: search(value) is not None


def _is_address(value: str, kind: Callable[[str], Any]) -> bool:
    try:
        kind(value)
    except ValueError:
        return False
    return "%" not in value  # a zone, which means something on one machine alone


_FORMATS: dict[str, _Test] = {
    "ipv4": lambda value: _is_address(value, ipaddress.IPv4Address),
    "ipv6": lambda value: _is_address(value, ipaddress.IPv6Address),
}


def _any_format(schemas: Iterable[Mapping[str, str]]) -> _Test:
    formats = [_FORMATS[schema["format"]] for schema in schemas]
    return lambda value: any(fits(value) for fits in formats)


# In the order in which they are asked: those below the type may rely on it.
_TESTS: dict[str, Callable[[Any], _Test]] = {
    "type": _IS.__getitem__,
    "const": lambda wanted: _one_of([wanted]),
    "enum": _one_of,
    "minimum": lambda least: lambda value: value >= least,
    "exclusiveMaximum": lambda limit: lambda value: value < limit,
    "maxLength": lambda most: lambda value: len(value) <= most,
    "pattern": _pattern,
    "minItems": lambda least: lambda value: len(value) >= least,
    "minProperties": lambda least: lambda value: len(value) >= least,
    "anyOf": _any_format,
}
_KEYWORDS = {
    *_TESTS,
    *"title description properties required additionalProperties propertyNames items".split(),
}
