"""Messages from files and standard input: JSON lines, a JSON array, or gzip of either.

What cannot be read is an entry of its own, with its line, so that the rest goes on.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from typing import IO, Any, Protocol, cast

from attrs import frozen

from kochava_segment.errors import InvalidEventPayload, Problem
from kochava_segment.mapping.paths import join

STDIN = "-"
MAX_LINE_BYTES = 64 * 2**20
_GZIP_MAGIC = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"


class _Lines(Protocol):
    """What is read by lines."""

    def readline(self, size: int | None = -1, /) -> bytes: ...


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


def read_entries(files: Iterable[str]) -> Iterator[Entry]:
    """Read all messages of some files; "-" and no files at all are standard input."""
    for name in files or (STDIN,):
        file = None if name == STDIN else name
        with ExitStack() as stack:
            raw = sys.stdin.buffer if file is None else stack.enter_context(open(file, "rb"))  # noqa: PTH123
            for line, text in _documents(_decompressed(raw, stack)):
                yield _entry(line, text, file)


def _decompressed(raw: IO[bytes], stack: ExitStack) -> _Lines:
    buffered = cast("io.BufferedReader", raw)  # as are files and sys.stdin.buffer
    if buffered.peek(2)[:2] != _GZIP_MAGIC:
        return buffered
    file = gzip.GzipFile(fileobj=buffered)
    stack.callback(file.close)
    return file


def _documents(stream: _Lines) -> Iterator[tuple[int, bytes | InvalidEventPayload]]:
    """The JSON documents of a stream, each with the line at which it starts."""
    lines = _lines(stream)
    for number, line in lines:
        if not isinstance(line, bytes):
            yield number, line
            continue
        line = line.removeprefix(_BOM) if number == 1 else line  # noqa: PLW2901
        if not line.strip():
            continue
        if line.lstrip().startswith(b"[") and not _is_json(line, dict):
            yield from _array(number, [line, *_remaining(lines)])
        elif line.rstrip().endswith((b"{", b",", b"[")) and not _is_json(line, dict):
            yield from _indented(number, [line, *_remaining(lines)])
        else:
            yield number, line
            yield from (
                (n, rest) for n, rest in lines if not isinstance(rest, bytes) or rest.strip()
            )
        return


def _remaining(lines: Iterator[tuple[int, bytes | InvalidEventPayload]]) -> Iterator[bytes]:
    # What cannot be read inside of an array ends it; a line of its own cannot stand for it there.
    for _, line in lines:
        if isinstance(line, bytes):
            yield line


def _lines(stream: _Lines) -> Iterator[tuple[int, bytes | InvalidEventPayload]]:
    number = 0
    while True:
        number += 1
        try:
            line = stream.readline(MAX_LINE_BYTES)
            if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                while line and not line.endswith(b"\n"):
                    line = stream.readline(MAX_LINE_BYTES)
                yield number, _unreadable(f"is longer than {MAX_LINE_BYTES} bytes")
                continue
        except (EOFError, zlib.error, gzip.BadGzipFile):
            yield number, _unreadable("is where the gzip data breaks off; the rest cannot be read")
            return
        if not line:
            return
        yield number, line


def _indented(first: int, lines: list[bytes]) -> Iterator[tuple[int, bytes]]:
    """One document over several lines, if that is what it is; else JSON lines after all."""
    whole = b"".join(lines)
    if _is_json(whole, dict):
        yield first, whole
    else:
        yield from ((first + n, line) for n, line in enumerate(lines) if line.strip())


# Strings as one token, so that brackets and commas inside of them do not count.
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)


def _array(first: int, lines: list[bytes]) -> Iterator[tuple[int, bytes]]:
    """The elements of an array, also of one in which some are broken."""
    text = b"".join(lines).decode("utf-8", "surrogateescape")
    start = text.index("[") + 1
    line, counted, depth = first, 0, 0
    for token in chain(_TOKENS.finditer(text, start), (None,)):
        mark = "]" if token is None else token.group()
        if mark in "[{":
            depth += 1
        elif depth and mark in "]}":
            depth -= 1
        elif mark in ",]":
            end = len(text) if token is None else token.start()
            element = text[start:end]
            begin = start + len(element) - len(element.lstrip())
            line, counted = line + text.count("\n", counted, begin), begin
            if element.strip():
                yield line, element.strip().encode("utf-8", "surrogateescape")
            start = end + 1
            if mark == "]":
                break
    for rest in text[start:].splitlines():
        if rest.strip():
            yield first + len(lines) - 1, rest.encode("utf-8", "surrogateescape")


def _is_json(text: bytes, kind: type) -> bool:
    try:
        return isinstance(json.loads(text), kind)
    except (ValueError, RecursionError):
        return False


def _entry(line: int, document: bytes | InvalidEventPayload, file: str | None) -> Entry:
    if isinstance(document, InvalidEventPayload):
        return Entry(line=line, file=file, text="", error=document)
    try:
        message = json.loads(document, object_pairs_hook=_without_duplicates)
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
        return Entry(line=line, file=file, message=_unwrapped(message))
    text = document.decode("utf-8", "backslashreplace").rstrip("\r\n")
    return Entry(line=line, file=file, text=text, error=problem)


def _unwrapped(message: Any) -> Any:
    """What `send --failed` wrote can be read again: the message is inside."""
    if isinstance(message, dict) and message.keys() >= {"outcome", "message"}:
        return message["message"]
    return message


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        problem = Problem(join("", twice), "occurs twice in one object: which one is meant?")
        raise InvalidEventPayload([problem])
    return found


def _unreadable(detail: str) -> InvalidEventPayload:
    return InvalidEventPayload([Problem("message", detail)])
