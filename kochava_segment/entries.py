"""The messages of a file, one by one: what JSON made of each, or why it could not be read.

What cannot be read is an entry of its own, with its line, so that the rest goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from attrs import frozen

from kochava_segment.errors import InvalidEventPayload, Problem
from kochava_segment.json_codec import decode_with
from kochava_segment.mapping.paths import join


@frozen(kw_only=True)
class Entry:
    """One message of the input, or what stands in the place of one.

    Attributes:
        line: The line at which it starts, from 1.
        file: The file's name, None for standard input.
        message: What JSON made of it.
        text: The text that could not be read, None where it could.
        error: Why it could not be read.
    """

    line: int
    file: str | None
    message: Any = None
    text: str | None = None
    error: InvalidEventPayload | None = None

    @property
    def message_id(self) -> str | None:
        """The message's `messageId`, where it has one that is text."""
        found = self.message.get("messageId") if isinstance(self.message, dict) else None
        return found if isinstance(found, str) else None


def entries_of(line: int, document: bytes | str, file: str | None) -> Iterator[Entry]:
    """The messages of a document; there are several where objects stand one behind the other.

    Args:
        line: The line at which it starts, from 1.
        document: The document; a str says why it cannot be read, as `documents` does.
        file: The file's name.
    """
    if isinstance(document, str):
        yield Entry(line=line, file=file, text="", error=_unreadable(document))
        return
    try:
        messages = _parsed(document)
    except InvalidEventPayload as error:
        problem = error
    except UnicodeDecodeError as error:
        problem = _unreadable(f"is not UTF-8: byte {error.start + 1} cannot be read")
    except json.JSONDecodeError as error:
        problem = _unreadable(f"is not valid JSON: {error.msg} at character {error.pos + 1}")
    except ValueError:
        problem = _unreadable("has a number with too many digits")
    except RecursionError:
        problem = _unreadable("is nested too deeply to be read")
    else:
        for message in messages:
            yield Entry(line=line, file=file, message=_unwrapped(message))
        return
    text = document.decode("utf-8", "backslashreplace").rstrip("\r\n")
    yield Entry(line=line, file=file, text=text, error=problem)


def _parsed(document: bytes) -> list[Any]:
    """What stands on a line: one document, or several objects without anything between them."""
    try:
        return [decode_with(_DECODER, document)]
    except json.JSONDecodeError as error:
        text = error.doc
        # Some pipelines write objects so. Anything else after a document is a broken one.
        if error.msg != "Extra data" or text[error.pos] != "{":
            raise
        found, position = [], _after_space(text, 0)
        while position < len(text):
            try:
                message, end = _DECODER.raw_decode(text, position)
            except json.JSONDecodeError:
                raise error from None
            if not isinstance(message, dict):
                raise
            found.append(message)
            position = _after_space(text, end)
        return found


def _unwrapped(message: Any) -> Any:
    """What `send --failed` wrote can be read again: the message is inside."""
    if isinstance(message, dict) and message.keys() >= {"outcome", "message"}:
        return message["message"]
    return message


def _after_space(text: str, position: int) -> int:
    return position + len(text[position:]) - len(text[position:].lstrip())


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, for `json.JSONDecoder(object_pairs_hook=...)`.

    Raises:
        InvalidEventPayload: if a name occurs twice in it.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        problem = Problem(join("", twice), "occurs twice in one object: which one is meant?")
        raise InvalidEventPayload([problem])
    return found


def _unreadable(detail: str) -> InvalidEventPayload:
    return InvalidEventPayload([Problem("message", detail)])


_DECODER = json.JSONDecoder(object_pairs_hook=without_duplicates)
