"""Segment's settings of a function: they become options, and a destination that is kept for them."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs
from attrs import define

from kochava_segment.delivery.after_fork import renew_after_fork
from kochava_segment.destination import KochavaDestination
from kochava_segment.errors import ConfigurationError, Problem
from kochava_segment.option_kinds import Kind
from kochava_segment.options import Options

_BETWEEN_WORDS = re.compile(r"[\s_-]+")


def _folded(name: str) -> str:
    """`appGuid`, `app_guid` and `App GUID` are one name."""
    return _BETWEEN_WORDS.sub("", name).casefold()


_OPTIONS: dict[str, tuple[str, Kind]] = {
    _folded(field.name): (field.name, field.metadata["kind"]) for field in attrs.fields(Options)
}

_IN_CAMEL_CASE: dict[str, str] = {
    name: re.sub(r"_(\w)", lambda letter: letter[1].upper(), name) for name, _ in _OPTIONS.values()
}


def spelt_as_settings(text: str) -> str:
    """A complaint about options, with their names in camelCase, as Segment's settings are named."""
    return re.sub(r"\w+", lambda word: _IN_CAMEL_CASE.get(word[0], word[0]), text)


def _identity_of(settings: Mapping[str, Any]) -> str:
    """A text that is the same for equal settings, and for no others.

    Raises:
        ConfigurationError: if they are no JSON object.
    """
    identity = None
    if isinstance(settings, Mapping):
        with contextlib.suppress(TypeError, ValueError, RecursionError):
            identity = json.dumps(dict(settings), sort_keys=True)
    if identity is None:
        detail = "must be a JSON object of names and values"
        raise ConfigurationError([Problem("settings", detail)])
    return identity


def options_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a function's settings stand for.

    Every option can be set, in camelCase or in snake_case; text is read as the option's kind needs
    it. Empty values count as not set: Segment sends what was left empty in its form. Without
    `appGuid`, `apiKey` is the App GUID, as in Segment's own Kochava destination; beside `appGuid`,
    `apiKey` and `apiSecret` are the pair that requests are signed with.

    Args:
        settings: Segment's `settings`; a JSON object.

    Raises:
        ConfigurationError: with everything that is wrong.
    """
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    for name, value in settings.items():
        if _is_empty(value):
            continue
        # What is unknown goes on under its own name, for the options to complain of.
        option, kind = _OPTIONS.get(_folded(name), (name, None))
        if option in values:
            problems.append(
                Problem(name, "is set in another spelling as well: leave one of them out")
            )
        elif kind is None:
            values[option] = value
        elif kind.parse is None:
            detail = "is a Python object: make the destination yourself, and Functions with it"
            problems.append(Problem(name, detail))
        else:
            try:
                values[option] = kind.parse(value) if isinstance(value, str) else value
            except ValueError as error:
                problems.append(Problem(name, str(error)))
    problems += _guid_from_key(values)
    try:
        Options.load(values)
    except ConfigurationError as error:
        problems += error.problems
    if problems:
        raise ConfigurationError(problems)
    return values


def _is_empty(value: object) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, (list, dict)) and not value)


def _guid_from_key(values: dict[str, Any]) -> Iterator[Problem]:
    if "api_key" not in values or "app_guid" in values or "app_guids" in values:
        return
    if "api_secret" in values:
        # Which of the two the key is cannot be told, and a guess would send to an app of that name.
        yield Problem(
            "appGuid", "is missing: beside apiSecret, apiKey is what requests are signed with"
        )
    else:
        values["app_guid"] = values.pop("api_key")


@define
class _Entry:
    destination: KochavaDestination
    users: int = 0
    surplus: bool = False


class KeptDestinations:
    """Destinations by settings. The one that was not used for longest makes room for others.

    Args:
        limit: How many are kept open; those in use come on top.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: dict[str, _Entry] = {}  # the last was used last
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """A thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    @contextmanager
    def of(self, settings: Mapping[str, Any]) -> Iterator[KochavaDestination]:
        """The destination of these settings, which stays open meanwhile.

        Raises:
            ConfigurationError: with everything that is wrong with the settings.
        """
        entry = self._use(settings)
        try:
            yield entry.destination
        finally:
            with self._lock:
                entry.users -= 1
                unused = entry.surplus and not entry.users
            if unused:
                entry.destination.close()

    def _use(self, settings: Mapping[str, Any]) -> _Entry:
        key = _identity_of(settings)
        unused: list[_Entry] = []
        with self._lock:
            # Made under the lock, which takes well under a millisecond, so that it is made once.
            entry = self._entries.pop(key, None) or _Entry(
                KochavaDestination(**options_of(settings))
            )
            entry.users += 1
            self._entries[key] = entry
            while len(self._entries) > self._limit:
                oldest = self._entries.pop(next(iter(self._entries)))
                oldest.surplus = True
                if not oldest.users:
                    unused.append(oldest)
        for one in unused:
            one.destination.close()
        return entry

    def close(self) -> None:
        """Close all of them. Further calls make new ones."""
        with self._lock:
            entries, self._entries = list(self._entries.values()), {}
        for entry in entries:
            entry.destination.close()
