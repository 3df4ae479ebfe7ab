"""Messages from files and standard input: JSON lines, a JSON array, or gzip of either."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import IO, cast

import click

from kochava_segment.documents import Lines, documents
from kochava_segment.entries import Entry, entries_of

__all__ = ["STDIN", "Entry", "read_entries"]

STDIN = "-"
_GZIP_MAGIC = b"\x1f\x8b"
_BUFFER = (
    2**20
)  # bytes; whoever reads lets other threads go first, so it should not be at every line


def read_entries(files: Iterable[str]) -> Iterator[Entry]:
    """Read all messages of some files; "-" and no files at all are standard input."""
    for name in files or (STDIN,):
        file = None if name == STDIN else name
        with ExitStack() as stack:
            raw = _standard_input() if file is None else _opened(file, stack)
            for line, document in documents(_decompressed(raw, stack)):
                yield from entries_of(line, document, file)


def _standard_input() -> IO[bytes]:
    # Python has None there if the process was started without one.
    if sys.stdin is None:
        raise click.UsageError("there is no standard input: name a FILE")
    if sys.stdin.isatty():
        click.echo("reading messages from the terminal; end with Ctrl-D", err=True)
    return sys.stdin.buffer


def _opened(file: str, stack: ExitStack) -> IO[bytes]:
    try:
        return stack.enter_context(open(file, "rb", _BUFFER))  # noqa: PTH123  # as the user wrote it
    except OSError as error:
        raise click.FileError(file, error.strerror) from None


def _decompressed(raw: IO[bytes], stack: ExitStack) -> Lines:
    buffered = cast("io.BufferedReader", raw)  # as are files and sys.stdin.buffer
    if buffered.peek(2)[:2] != _GZIP_MAGIC:
        return buffered
    return stack.enter_context(gzip.GzipFile(fileobj=buffered))
