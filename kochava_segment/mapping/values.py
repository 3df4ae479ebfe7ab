"""Values that callers put into properties and traits, to JSON values that Kochava may have."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from kochava_segment.mapping.message import Message, is_unicode
from kochava_segment.mapping.numbers import from_decimal, is_finite
from kochava_segment.mapping.paths import Where, path_of
from kochava_segment.names import is_personal_property, looks_like_email

MAX_DEPTH = 64
"""How deep objects and lists may be nested in properties; a cycle is deeper than anything."""

_LONGEST_KEPT = 200
_MOST_KEPT = 4096


class _LeftOut(Enum):
    LEFT_OUT = "left out"


LEFT_OUT = _LeftOut.LEFT_OUT
"""Stands for a value that must not be sent; never leaves the mapping."""


class _PlainNames(dict[Any, bool]):
    """Whether a name of a property needs no closer look: it is text, and not of personal data.

    Each name is looked at once. Endless ones, and thousands of others, are not kept.
    """

    def __missing__(self, name: object) -> bool:
        if type(name) is not str or len(name) > _LONGEST_KEPT:
            return False
        if len(self) >= _MOST_KEPT:
            self.clear()
        plain = self[name] = is_unicode(name) and not is_personal_property(name)
        return plain


_PLAIN_NAMES = _PlainNames()


class JsonValues:
    """Copies the values of one message as JSON values.

    What must not be sent is left out with a warning; what JSON does not have is a problem. Objects
    come out with their keys sorted, so that equal objects give equal bytes whatever the order in
    which they were written.

    Args:
        message: Takes the warnings and problems.
        personal: Let personal data pass. Otherwise it passes only where `allow_properties` names it.
    """

    __slots__ = ("_allowed", "_message", "_personal")

    def __init__(self, message: Message, *, personal: bool = False) -> None:
        self._message = message
        self._personal = personal
        self._allowed = message.options.allowed

    # A path is a tuple, and most values never need one: `where` is that of the object or list that
    # has the value, at `key`.

    def object(
        self,
        values: Mapping[Any, Any],
        where: Where,
        also_personal: frozenset[str] = frozenset(),
    ) -> dict[str, Any]:
        """A copy of an object.

        Args:
            values: The object.
            where: Where it stands in the message.
            also_personal: Names of it, not of what it has inside, that are personal data.
        """
        result: dict[str, Any] = {}
        for key in _sorted_names(values):
            plain = _PLAIN_NAMES[key] and key not in also_personal
            if not plain and not self._may_have(key, where, also_personal):
                continue
            value = values[key]
            if type(value) is not str or "@" in value or not value.isascii():
                value = self.value(value, where, key)
                if value is LEFT_OUT:
                    continue
            result[str(key)] = value
        return result

    def _may_have(self, key: Any, where: Where, also_personal: frozenset[str]) -> bool:
        """Whether an object may have something of this name; noted if not."""
        if not isinstance(key, str) or not is_unicode(key):
            self._problem(where, key, "has a name that is not a string of valid Unicode")
            return False
        if (is_personal_property(key) or key in also_personal) and not self._may_pass(key):
            self._withhold(where, key)
            return False
        return True

    def _may_pass(self, key: Any) -> bool:
        return self._personal or key in self._allowed

    def value(self, value: Any, where: Where, key: Any) -> Any:  # noqa: C901, PLR0912
        """A copy of the value at `key` of what stands at `where` in the message, or LEFT_OUT."""
        # Exact types first, since nearly all values have one of them.
        kind = type(value)
        if kind is str:
            return self._text(value, where, key)
        if value is None or kind is bool:
            return value
        if kind is int or kind is float:
            return self._number(value, where, key)
        if len(where) >= MAX_DEPTH:
            return self._problem(where, key, f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, (dict, Mapping)):
            return self.object(value, (*where, key))
        if isinstance(value, (list, tuple)):
            return self._list(value, (*where, key))
        if isinstance(value, Enum):
            return self.value(value.value, where, key)
        if isinstance(value, date):  # a datetime is one too
            return value.isoformat()
        if isinstance(value, UUID):
            return str(value)
        if isinstance(value, str):
            return self._text(str(value), where, key)
        if isinstance(value, Decimal):
            return self._number(from_decimal(value), where, key)
        if isinstance(value, int):
            return self._number(int(value), where, key)
        if isinstance(value, float):
            return self._number(float(value), where, key)
        return self._problem(where, key, f"is a {kind.__name__}, which JSON does not have")

    def _list(self, values: list[Any] | tuple[Any, ...], where: Where) -> list[Any]:
        # The entries of `emails: [...]` are allowed by that name, so it goes down with them.
        allowed = where[-1] in self._allowed
        result = []
        for index, value in enumerate(values):
            if allowed and isinstance(value, str) and value.isascii():
                converted: Any = value
            else:
                converted = self.value(value, where, index)
            if converted is not LEFT_OUT:
                result.append(converted)
        return result

    def _text(self, value: str, where: Where, key: Any) -> str | _LeftOut:
        if looks_like_email(value) and not self._may_pass(key):
            return self._withhold(where, key)
        if value.isascii() or is_unicode(value):
            return value
        # Cutting a text inside an emoji makes half a pair: no reason to lose a purchase.
        detail = "has half of a surrogate pair, which was replaced by U+FFFD"
        self._message.warn("bad-text", path_of((*where, key)), detail)
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _number(self, value: float, where: Where, key: Any) -> int | float | _LeftOut:
        if is_finite(value):
            return value if type(value) is int else self._message.number(value)
        detail = "was left out: it is not a number, or larger than any double"
        self._message.warn("not-finite", path_of((*where, key)), detail)
        return LEFT_OUT

    def _withhold(self, where: Where, key: Any) -> _LeftOut:
        detail = "was left out: it is personal data; name it in allow_properties to send it"
        self._message.warn("pii-property", path_of((*where, key)), detail)
        return LEFT_OUT

    def _problem(self, where: Where, key: Any, detail: str) -> _LeftOut:
        self._message.problem(path_of((*where, key)), detail)
        return LEFT_OUT


def _sorted_names(values: Mapping[Any, Any]) -> list[Any]:
    try:
        return sorted(values)
    except TypeError:  # names that are not all strings
        return sorted(values, key=str)
