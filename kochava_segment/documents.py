"""Splits bytes into JSON documents, each with its line: JSON lines, arrays, indented objects.

Nothing here decides whether a document is valid. What is broken is passed on as it is, so that it can
be reported with its line, and so that what follows it goes on. No more than MAX_DOCUMENT_BYTES are
held at a time, however long the input is.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from gzip import BadGzipFile
from typing import Protocol

MAX_DOCUMENT_BYTES = 64 * 2**20
_PIECE_BYTES = 2**20  # what is looked at together of an array's line

_BOM = b"\xef\xbb\xbf"
_TOO_LONG = f"is longer than {MAX_DOCUMENT_BYTES} bytes"
# Strings as one token, so that brackets and commas inside of them do not count. None goes over a line.
_TOKEN = re.compile(rb'"[^"\\\n]*(?:\\.[^"\\\n]*)*"?|[\[\]{},]')
_REST_OF_STRING = re.compile(rb'[^"\\\n]*(?:\\.[^"\\\n]*)*"?')


class Lines(Protocol):
    """What is read by lines."""

    def readline(self, size: int | None = -1, /) -> bytes:
        """The next line, or as much of it as `size` allows; empty at the end."""


class _Unreadable(Exception):  # it never leaves this module
    """The stream ends here, and not because it is at its end. Its text says why."""


def documents(stream: Lines) -> Iterator[tuple[int, bytes | str]]:
    """The JSON documents of a stream, each with the line at which it starts, from 1.

    A str stands for what cannot be passed on: the rest of a sentence that says why.
    """
    source = _Source(stream)
    try:
        first = source.piece()
        while first and not first.strip():
            first = source.piece()
        if first.lstrip().startswith(b"["):
            yield from _array(source, first)
            first = source.piece()
        yield from _json_lines(source, first)
    except _Unreadable as error:
        yield source.line + 1, str(error)


class _Source:
    """The lines of a stream in pieces, and the number of the line that the last piece is of."""

    def __init__(self, stream: Lines) -> None:
        self._stream = stream
        self.line = 0
        self.at_line_end = True

    def piece(self) -> bytes:
        """The next line, or the part of it that is not too long; empty at the end."""
        try:
            piece = self._stream.readline(_PIECE_BYTES)
        except (EOFError, zlib.error, BadGzipFile):
            raise _Unreadable("is where the gzip data breaks off; no more can be read") from None
        except OSError as error:
            raise _Unreadable(f"cannot be read: {error.strerror}") from None
        begins, self.at_line_end = (
            self.at_line_end,
            len(piece) < _PIECE_BYTES or piece[-1:] == b"\n",
        )
        if begins and piece:
            self.line += 1
            if self.line == 1:
                return piece.removeprefix(_BOM)
        return piece

    def whole(self, piece: bytes) -> bytes | None:
        """The whole line that begins with a piece; None if it is too long, and skipped then."""
        parts, size = [piece], len(piece)
        while not self.at_line_end:
            following = self.piece()
            size += len(following)
            if size <= MAX_DOCUMENT_BYTES:
                parts.append(following)
        return b"".join(parts) if size <= MAX_DOCUMENT_BYTES else None


def _json_lines(source: _Source, first: bytes) -> Iterator[tuple[int, bytes | str]]:
    piece = first
    while piece:
        line, following = source.whole(piece), b""
        if line is None:
            yield source.line, _TOO_LONG
        elif line.rstrip().endswith((b"{", b",", b"[")) and not _is_json(line, dict):
            number = source.line
            lines, following = _lines_of_object(source, line)
            whole = b"".join(lines)
            if _is_json(whole, dict):
                yield number, whole
            else:  # JSON lines after all
                yield from ((number + n, item) for n, item in enumerate(lines) if item.strip())
        elif line.strip():
            yield source.line, line
        piece = following or source.piece()


def _lines_of_object(source: _Source, first: bytes) -> tuple[list[bytes], bytes]:
    """The lines until all brackets are closed, and what was read too much."""
    lines, size, depth = [first], len(first), _depth(first)
    while depth > 0 and size <= MAX_DOCUMENT_BYTES:
        piece = source.piece()
        # An object that begins at the margin is no part of an indented one.
        if not source.at_line_end or piece.startswith(b"{"):
            return lines, piece
        if not piece:
            break
        lines.append(piece)
        size += len(piece)
        depth += _depth(piece)
    return lines, b""


def _depth(line: bytes) -> int:
    marks = [token[0] for token in _TOKEN.findall(line)]
    return sum(mark in b"[{" for mark in marks) - sum(mark in b"]}" for mark in marks)


def _is_json(text: bytes, kind: type) -> bool:
    try:
        return isinstance(json.loads(text), kind)
    except (ValueError, RecursionError):
        return False


def _array(source: _Source, piece: bytes) -> Iterator[tuple[int, bytes | str]]:
    """The elements of an array, also of one in which some are broken; then the rest of its line."""
    elements = _Elements()
    position = piece.index(b"[") + 1
    while piece:
        yield from elements.feed(piece, position, source.line)
        if elements.closed_at is not None:
            rest = source.whole(piece[elements.closed_at :])
            if rest is None or rest.strip():
                yield source.line, _TOO_LONG if rest is None else rest
            return
        piece, position = source.piece(), 0
    yield from elements.take()


class _Elements:
    """Finds the elements of an array that comes in pieces of lines."""

    def __init__(self) -> None:
        self.closed_at: int | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._line = 0  # where the element begins
        self._depth = 0
        self._in_string = self._escaped = False

    def feed(self, piece: bytes, position: int, line: int) -> Iterator[tuple[int, bytes | str]]:
        """Give the elements that end in a piece, which is of one line."""
        start = position
        if self._in_string:
            position = self._end_of_string(piece, position + self._escaped)
        while token := _TOKEN.search(piece, position):
            position, mark = token.end(), token.group()[:1]
            if mark == b'"':
                self._note_string(token.group(), piece, position)
            elif mark in b"[{":
                self._depth += 1
            elif self._depth and mark in b"]}":
                self._depth -= 1
            elif not self._depth and mark in b",]":
                self._add(piece[start : token.start()], line)
                yield from self.take()
                start = position
                if mark == b"]":
                    self.closed_at = position
                    return
        self._add(piece[start:], line)
        if self._size > MAX_DOCUMENT_BYTES:
            yield from self.take()

    def _end_of_string(self, piece: bytes, position: int) -> int:
        token = _REST_OF_STRING.match(piece, position)
        assert token is not None  # noqa: S101  # it matches nothing as well
        self._note_string(b'"' + token.group(), piece, token.end())
        return token.end()

    def _note_string(self, text: bytes, piece: bytes, end: int) -> None:
        # A string ends with its quote or, broken, with its line; else it goes on in the next piece.
        closed = len(text) > 1 and text.endswith(b'"') and not _ends_escaped(text[:-1])
        self._in_string = not closed and not piece.endswith(b"\n")
        self._escaped = self._in_string and piece[end:] == b"\\"

    def _add(self, part: bytes, line: int) -> None:
        if not self._parts or not self._line:
            self._line = line if part.strip() else 0
        self._parts.append(part)
        self._size += len(part)

    def take(self) -> Iterator[tuple[int, bytes | str]]:
        """Give what there is of the current element, and begin anew."""
        element, line = b"".join(self._parts), self._line
        too_long = self._size > MAX_DOCUMENT_BYTES
        self._parts, self._size, self._line, self._depth = [], 0, 0, 0
        self._in_string = self._escaped = False
        if element.strip():
            found = list(_told_apart(line, element))
            yield from [(line, _TOO_LONG)] if too_long and len(found) == 1 else found


def _ends_escaped(text: bytes) -> bool:
    return (len(text) - len(text.rstrip(b"\\"))) % 2 == 1


def _told_apart(line: int, element: bytes) -> Iterator[tuple[int, bytes]]:
    """An element; or, where a bracket is missing, those that seem to be one because of that.

    Only what is no JSON is split, where a line begins with a brace as far in as the element does.
    """
    text = element.lstrip()
    margin = element[: len(element) - len(text)].rpartition(b"\n")
    begins: list[int] = []
    if margin[1]:
        begin = re.compile(rb"^" + re.escape(margin[2]) + rb"\{", re.MULTILINE)
        begins = [match.start() for match in begin.finditer(text) if match.start()]
    if not begins or _is_json(text, object):
        yield line, text.rstrip()
        return
    for start, end in zip([0, *begins], [*begins, len(text)], strict=True):
        part = text[start:end].strip().removesuffix(b",")
        # The bracket that closes the array, taken for one of the broken element.
        whole = part if _is_json(part, dict) else part.removesuffix(b"]").rstrip()
        yield line + text.count(b"\n", 0, start), whole
