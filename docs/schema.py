"""Writes the JSON Schema of Kochava's payloads from their types: `python docs/schema.py`.

The types are in kochava_segment/types/payloads.py, the schema is beside kochava_segment/schema.py. The
tests fail when it is not what this script would write.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from typing_extensions import (
    NotRequired,
    Required,
    get_original_bases,
    get_type_hints,
    is_typeddict,
)

import kochava_segment
from kochava_segment.types import payloads

SCHEMA = Path(kochava_segment.__file__).with_name("kochava.schema.json")

_TYPES = {str: "string", int: "integer", bool: "boolean", float: "number"}
_SHAPES = {
    name: alias.__metadata__[0]
    for name, alias in vars(payloads).items()
    if get_origin(alias) is Annotated
}


def schema() -> dict[str, Any]:
    """The whole schema: one definition a type, and any of the payloads at the top."""
    definitions: dict[str, Any] = {}
    kinds = get_args(payloads.KochavaPayload)
    references = [_schema_of(kind, definitions) for kind in kinds]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:kochava-segment:kochava.schema.json",
        "title": "a payload of Kochava's",
        "description": "The documents that Kochava's server-to-server API takes, as its articles and "
        "other senders show them. Kochava publishes no schema of its own.",
        "anyOf": references,
        "$defs": dict(sorted(definitions.items())),
    }


def _schema_of(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _named(hint, definitions)
    if is_typeddict(hint):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = {}  # it may be asked for again while it is made
            definitions[hint.__name__] = _object(hint, definitions)
        return _reference(hint.__name__)
    if origin is Literal:
        return {"const": arguments[0]} if len(arguments) == 1 else {"enum": list(arguments)}
    if origin is dict:
        inner = _schema_of(arguments[1], definitions)
        return {"type": "object", **({"additionalProperties": inner} if inner else {})}
    if origin is list:
        return {"type": "array", "items": _schema_of(arguments[0], definitions)}
    return {} if hint is Any else {"type": _TYPES[hint]}


def _named(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    (shape,) = hint.__metadata__
    (name,) = (name for name, known in _SHAPES.items() if known is shape)
    base = _schema_of(hint.__origin__, definitions)
    definitions[name] = {"title": shape.words, **base, **shape.keywords}
    return _reference(name)


def _object(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    meanings = attributes(kind)
    hints = get_type_hints(kind, include_extras=True)
    text = inspect.getdoc(kind) if meanings else None
    return {
        **({"description": " ".join(text.split("\n\n")[0].split())} if text else {}),
        "type": "object",
        "properties": {
            name: {
                **({"description": meanings[name]} if meanings else {}),
                **_schema_of(_bare(hint), definitions),
            }
            for name, hint in hints.items()
        },
        "required": [name for name in hints if name in kind.__required_keys__],
        "additionalProperties": False,
    }


def _bare(hint: Any) -> Any:
    """A hint without Required and NotRequired: `__required_keys__` tells that."""
    return get_args(hint)[0] if get_origin(hint) in (NotRequired, Required) else hint


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


def attributes(documented: Any) -> dict[str, str]:
    """The `Attributes:` of a class's docstring, after those of the classes that it extends."""
    meanings: dict[str, str] = {}
    for base in get_original_bases(documented):
        if is_typeddict(base):
            meanings |= attributes(base)
    section = (inspect.getdoc(documented) or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    entries = re.split(r"^ {4}(?=\w)", section, flags=re.MULTILINE)[1:]
    pairs = (entry.split(":", 1) for entry in entries)
    return meanings | {name: " ".join(meaning.split()) for name, meaning in pairs}


def text() -> str:
    """The file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(text(), encoding="utf-8")
