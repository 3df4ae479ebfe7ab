"""Values that callers put into properties and traits, to JSON values that Kochava may have."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from kochava_segment.mapping.message import Message, is_unicode
from kochava_segment.mapping.paths import join
from kochava_segment.names import is_personal_property, looks_like_email

MAX_DEPTH = 64
"""How deep objects and lists may be nested in properties; a cycle is deeper than anything."""

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_LARGEST_EXACT = 2**53
_LARGEST_BITS = 1024  # of an integer that is not infinite as a double


class _LeftOut(Enum):
    LEFT_OUT = "left out"


LEFT_OUT = _LeftOut.LEFT_OUT
"""Stands for a value that must not be sent; never leaves the mapping."""


class JsonValues:
    """Copies the values of one message as JSON values.

    What must not be sent is left out with a warning; what JSON does not have is a problem. Objects
    come out with their keys sorted, so that equal objects give equal bytes whatever the order in
    which they were written.

    Args:
        message: Takes the warnings and problems.
        personal: Let personal data pass. Otherwise it passes only where `allow_properties` names it.
        also_personal: Names that are personal data at the top level of this message's properties.
    """

    __slots__ = ("_allowed", "_also_personal", "_message", "_personal")

    def __init__(
        self,
        message: Message,
        *,
        personal: bool = False,
        also_personal: frozenset[str] = frozenset(),
    ) -> None:
        self._message = message
        self._personal = personal
        self._allowed = message.options.allowed
        self._also_personal = also_personal

    def object(self, values: Mapping[Any, Any], path: str, depth: int = 0) -> dict[str, Any]:
        """A copy of an object; `path` is where it stands in the message."""
        result: dict[str, Any] = {}
        for key in sorted(values, key=str):
            if not isinstance(key, str) or not (key.isascii() or is_unicode(key)):
                detail = "has a name that is not a string of valid Unicode"
                self._message.problem(join(path, key), detail)
            elif not (self._personal or key in self._allowed) and (
                is_personal_property(key) or (depth == 0 and key in self._also_personal)
            ):
                self._withhold(path, key)
            else:
                converted = self.value(values[key], path, key, depth + 1)
                if converted is not LEFT_OUT:
                    result[str(key)] = converted
        return result

    def value(self, value: Any, path: str, key: str | int, depth: int = 0) -> Any:  # noqa: C901, PLR0912
        """A copy of the value that stands at `key` inside `path`, or LEFT_OUT."""
        # Exact types first, since nearly all values have one of them.
        kind = type(value)
        if kind is str:
            return self._text(value, path, key)
        if value is None or kind is bool:
            return value
        if kind is int or kind is float:
            return self._number(value, path, key)
        if depth > MAX_DEPTH:
            return self._problem(path, key, f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, Mapping):
            return self.object(value, join(path, key), depth)
        if isinstance(value, (list, tuple)):
            return self._list(value, join(path, key), key, depth)
        if isinstance(value, Enum):
            return self.value(value.value, path, key, depth + 1)
        if isinstance(value, date):  # a datetime is one too
            return value.isoformat()
        if isinstance(value, UUID):
            return str(value)
        if isinstance(value, str):
            return self._text(str(value), path, key)
        if isinstance(value, Decimal):
            return self._number(_from_decimal(value), path, key)
        if isinstance(value, int):
            return self._number(int(value), path, key)
        if isinstance(value, float):
            return self._number(float(value), path, key)
        return self._problem(path, key, f"is a {kind.__name__}, which JSON does not have")

    def _list(
        self, values: list[Any] | tuple[Any, ...], path: str, key: str | int, depth: int
    ) -> list[Any]:
        # The entries of `emails: [...]` are allowed by that name, so it goes down with them.
        allowed = key in self._allowed
        result = []
        for index, value in enumerate(values):
            if allowed and isinstance(value, str) and value.isascii():
                converted: Any = value
            else:
                converted = self.value(value, path, index, depth + 1)
            if converted is not LEFT_OUT:
                result.append(converted)
        return result

    def _text(self, value: str, path: str, key: str | int) -> str | _LeftOut:
        if "@" in value and not self._personal and looks_like_email(value):
            if key not in self._allowed:
                return self._withhold(path, key)
        if value.isascii() or is_unicode(value):
            return value
        # Cutting a text inside an emoji makes half a pair: no reason to lose a purchase.
        detail = "has half of a surrogate pair, which was replaced by U+FFFD"
        self._message.warn("bad-text", join(path, key), detail)
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _number(self, value: float, path: str, key: str | int) -> int | float | _LeftOut:
        if isinstance(value, float):
            finite = math.isfinite(value)
        else:
            finite = value.bit_length() < _LARGEST_BITS
        if finite:
            return whole(value)
        detail = "was left out: it is not a number, or larger than any double"
        self._message.warn("not-finite", join(path, key), detail)
        return LEFT_OUT

    def _withhold(self, path: str, key: str | int) -> _LeftOut:
        detail = "was left out: it is personal data; name it in allow_properties to send it"
        self._message.warn("pii-property", join(path, key), detail)
        return LEFT_OUT

    def _problem(self, path: str, key: str | int, detail: str) -> _LeftOut:
        self._message.problem(join(path, key), detail)
        return LEFT_OUT


def _from_decimal(value: Decimal) -> int | float:
    if not value.is_finite():
        return math.nan
    if abs(value) < _LARGEST_EXACT and value == value.to_integral_value():
        return int(value)
    return float(value)


def whole(value: float) -> int | float:
    """150.0 as 150: a server that encodes again to check the signature would write it so."""
    if type(value) is float and value.is_integer() and abs(value) < _LARGEST_EXACT:
        return int(value)
    return value


def as_number(value: object) -> int | float | None:
    """A number, or text that is one; None for anything else."""
    if isinstance(value, (int, float)):
        return None if isinstance(value, bool) else value
    if not isinstance(value, str) or len(value) > 64:
        return None
    text = value.strip()
    if not _NUMBER.fullmatch(text):
        return None
    number = int(text) if text.lstrip("+-").isdecimal() else float(text)
    return whole(number) if math.isfinite(number) else None
