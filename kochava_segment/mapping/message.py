"""Reads a Segment message: its parts, its filters, and every odd thing that is found on the way.

A Message collects problems instead of stopping at the first, so that whoever sent it sees all of
them at once; `check()` raises them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from kochava_segment.errors import (
    EventFiltered,
    FilterReason,
    InvalidEventPayload,
    Problem,
)
from kochava_segment.json_codec import is_odd
from kochava_segment.mapping.numbers import decimal_text, is_finite, whole
from kochava_segment.mapping.paths import join
from kochava_segment.mapping.timestamps import epoch_seconds
from kochava_segment.options import Options
from kochava_segment.request import MappingWarning

_NUMBERS = (int, float)
_BOOLEANS = {"true": True, "false": False}


class Notes:
    """What is found while one message is mapped."""

    __slots__ = ("odd_numbers", "problems", "warnings")

    def __init__(self) -> None:
        self.odd_numbers = False  # the encoder has to know
        # As keys, since several fields may read the same path.
        self.problems: dict[Problem, None] = {}
        self.warnings: list[MappingWarning] = []

    def problem(self, path: str, detail: str) -> None:
        """Note something that makes the message invalid."""
        self.problems[Problem(path, detail)] = None

    def warn(self, code: str, field: str, detail: str) -> None:
        """Note something odd that does not stop the message."""
        self.warnings.append(MappingWarning(code, field, detail))


class Section:
    """One object inside a message, with the path at which it stands.

    Its readers give None where a value is missing, null or blank, and note a problem where it is of
    the wrong type.
    """

    __slots__ = ("_key", "_parent", "notes", "values")

    def __init__(
        self, values: Mapping[str, Any], notes: Notes, parent: Section | None = None, key: str = ""
    ) -> None:
        self.values = values
        self.notes = notes
        self._parent = parent
        self._key = key

    @property
    def path(self) -> str:
        """Where it stands in the message. Made when asked for: few messages have anything odd."""
        return "" if self._parent is None else join(self._parent.path, self._key)

    def get(self, key: str) -> Any:
        """The raw value, None where there is none."""
        return self.values.get(key)

    def section(self, key: str) -> Section:
        """The object at `key`, an empty one where there is none."""
        value = self.values.get(key)
        if value is None:
            return _NOTHING
        if type(value) is dict or isinstance(value, Mapping):
            return Section(value, self.notes, self, key)
        self._wrong(key, "must be an object")
        return _NOTHING

    def text(self, key: str, numbers: tuple[type[float], ...] = ()) -> str | None:
        """The string at `key`, or a number of these types as a string."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, str):
            if value.isascii() or is_unicode(value):
                return value if value.strip() else None
            self._wrong(key, "is not valid Unicode: it has half of a surrogate pair")
            return None
        if isinstance(value, numbers) and not isinstance(value, bool) and is_finite(value):
            return decimal_text(value)
        self._wrong(key, "must be a string")
        return None

    def word(self, key: str) -> str | None:
        """The string at `key`, or the number at `key` as a string: versions and user ids."""
        return self.text(key, _NUMBERS)

    def flag(self, key: str) -> bool | None:
        """The boolean at `key`; the strings "true" and "false" are taken for it."""
        value = self.values.get(key)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str) and value.strip().casefold() in _BOOLEANS:
            return _BOOLEANS[value.strip().casefold()]
        self._wrong(key, "must be true or false")
        return None

    def whole_number(self, key: str, largest: int) -> int | None:
        """The number at `key`, from 0 to `largest`, its fraction cut off."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self._wrong(key, "must be a number")
            return None
        if not 0 <= value <= largest:  # NaN is not either
            self._wrong(key, f"must be a number from 0 to {largest}")
            return None
        return int(value)

    def _wrong(self, key: str, detail: str) -> None:
        self.notes.problem(join(self.path, key), detail)


# For all that a message does not have: where nothing stands, nothing can be wrong.
_NOTHING = Section({}, Notes())


class _BothSpellings(Mapping[str, Any]):
    """Kochava's options in a message, each of which may be spelled in snake_case or camelCase."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getitem__(self, key: str) -> Any:
        value = self._values.get(key)
        return self._values[_camel_case(key)] if value is None else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@lru_cache(maxsize=64)
def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def is_unicode(value: str) -> bool:
    """Whether a string can be written as UTF-8: half of a surrogate pair cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class Message:
    """One Segment message, being mapped.

    Attributes:
        options: The options that it is mapped with.
        action: What it becomes, once that is known: `event`, `install`, `update`, `identity_link`.
        root, context, device, os, app, properties, traits: Its parts.
        kochava: Its `integrations.Kochava` options, in either spelling.
        id: Its `messageId`.
    """

    __slots__ = (
        "_integrations",
        "action",
        "app",
        "context",
        "device",
        "id",
        "kochava",
        "notes",
        "options",
        "os",
        "properties",
        "root",
        "traits",
    )

    def __init__(self, raw: Mapping[str, Any], options: Options) -> None:
        if not isinstance(raw, (dict, Mapping)):
            problem = Problem("message", "must be an object, as Segment's common fields define it")
            raise InvalidEventPayload([problem])
        self.notes = Notes()
        self.options = options
        self.action = "event"
        self.root = Section(raw, self.notes)
        self.id = self.root.word("messageId")
        self.context = self.root.section("context")
        self.device = self.context.section("device")
        self.os = self.context.section("os")
        self.app = self.context.section("app")
        self.properties = self.root.section("properties")
        self.traits = self.root.section("traits")
        self._integrations = self.root.section("integrations")
        has_options = self._integrations.values
        self.kochava = self._kochava_options() if has_options else _NOTHING

    def _kochava_options(self) -> Section:
        value = self._integrations.get("Kochava")
        if not value or not isinstance(value, (dict, Mapping)):
            return _NOTHING
        return Section(_BothSpellings(value), self.notes, self._integrations, "Kochava")

    @property
    def user_id(self) -> str | None:
        """`userId`, numbers as text."""
        return self.root.word("userId")

    def warn(self, code: str, field: str, detail: str) -> None:
        """Note something odd that does not stop the message."""
        self.notes.warn(code, field, detail)

    def problem(self, path: str, detail: str) -> None:
        """Note something that makes the message invalid."""
        self.notes.problem(path, detail)

    def number(self, value: float) -> int | float:
        """A finite number as it is sent: 150.0 as 150."""
        number = whole(value)
        if type(number) is float and is_odd(number):
            self.notes.odd_numbers = True
        return number

    def check(self) -> None:
        """Raise InvalidEventPayload with all problems that were found, if any were."""
        if self.notes.problems:
            raise self.invalid()

    def invalid(self) -> InvalidEventPayload:
        """The error with all problems that were found."""
        return InvalidEventPayload(tuple(self.notes.problems), self.id)

    def filtered(self, reason: FilterReason, detail: str) -> EventFiltered:
        """The error that says why this message is not meant for Kochava."""
        return EventFiltered(reason, detail, self.id)

    def check_filters(self) -> None:
        """Apply Segment's own filters, consent first.

        Raises:
            EventFiltered: if the end user or the sender does not want Kochava to have the message.
        """
        if self.options.required_consent:
            self._check_consent()
        self._check_integrations()

    def consent(self) -> Mapping[str, Any] | None:
        """The consent category preferences; None where the message has none."""
        consent = self.context.section("consent")
        if consent.get("categoryPreferences") is None:
            return None
        return consent.section("categoryPreferences").values

    def _check_consent(self) -> None:
        preferences = self.consent()
        if preferences is None:
            return
        for category in self.options.required_consent:
            if preferences.get(category) is not True:
                detail = f"context.consent.categoryPreferences does not allow {category}"
                raise self.filtered(FilterReason.CONSENT, detail)

    def _check_integrations(self) -> None:
        if not self._integrations.values:
            return
        value = self._integrations.get("Kochava")
        if isinstance(value, (dict, Mapping)) or value is True:
            return
        if value is False:
            raise self.filtered(FilterReason.INTEGRATIONS, "integrations.Kochava is false")
        if value is not None:
            self.problem("integrations.Kochava", "must be true, false or an object of options")
            return
        for key in ("All", "all"):
            enabled = self._integrations.flag(key)
            if enabled is False:
                raise self.filtered(FilterReason.INTEGRATIONS, f"integrations.{key} is false")
            if enabled:
                return

    def time(self) -> int | None:
        """When it happened, in whole epoch seconds; None where no source tells."""
        for key in ("timestamp", "originalTimestamp", "sentAt", "receivedAt"):
            value = self.root.values.get(key)
            if value is None or value == "":
                continue
            seconds = epoch_seconds(value)
            if seconds is not None:
                return seconds
            self.warn("bad-timestamp", key, "is not a time; the next source was tried")
        self.warn("no-timestamp", "timestamp", "gives no time; Kochava will take the arrival time")
        return None
