"""Reads archives of Segment messages from wherever Beam's filesystems reach."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any, cast

import apache_beam as beam
from apache_beam.io import fileio
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.typehints import Tuple

from kochava_segment.documents import Lines, documents
from kochava_segment.entries import Entry, entries_of
from kochava_segment.errors import InvalidEventPayload, Problem

_GZIP_MAGIC = b"\x1f\x8b"
_DEEPEST = 200  # objects in objects


class ReadFromSegmentArchive(beam.PTransform):
    """Reads Segment messages from files: JSON lines, a JSON array, or gzip of either.

    A file is read as a whole by one worker, which knows the line of each message by that; what is
    read is then spread over all workers. Whether a file is compressed is seen from its content.

    Args:
        *patterns: Paths or globs: local, or with a scheme that an installed filesystem of Beam knows
            (`gs://` with the extra `gcp` of apache-beam, `s3://` with its extra `aws`, …).
        allow_empty: Accept patterns that no file matches.

    Returns:
        A PCollection of `kochava_segment.entries.Entry`: the message with its file and line. What
        could not be read is an entry with an error; `WriteToKochava` puts it out as invalid. What a
        failed output holds is unwrapped, so that it can be sent again.
    """

    def __init__(self, *patterns: str, allow_empty: bool = False) -> None:
        super().__init__()
        if not patterns or not all(map(str.strip, patterns)):
            raise ValueError("ReadFromSegmentArchive needs at least one path or glob")
        self._patterns: tuple[str, ...] = patterns
        self._if_empty = "ALLOW" if allow_empty else "DISALLOW"

    def expand(self, pipeline: Any) -> Any:  # noqa: D102  # Beam's
        return (
            pipeline
            | "Patterns" >> beam.Create(self._patterns, reshuffle=False)
            | "Match" >> fileio.MatchAll(self._if_empty)
            | "Paths"
            >> beam.Map(lambda found: (found.path, None)).with_output_types(Tuple[str, None])
            # A pattern may match the files of another. This also spreads them over all workers.
            | "Once" >> beam.GroupByKey()
            | "Read" >> beam.FlatMapTuple(lambda path, _: read_file(path)).with_output_types(Entry)
        )


class ArchiveUnreadable(RuntimeError):
    """A file could not be read to its end for a reason that may pass. The engine tries again."""


def read_file(path: str) -> Iterator[Entry]:
    """The messages of one file, in their order.

    Args:
        path: A path that one of Beam's filesystems knows.

    Raises:
        ArchiveUnreadable: if the storage fails; a gzip file that breaks off is an entry instead.
    """
    with ExitStack() as stack:
        try:
            raw = FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
        except OSError as error:
            raise ArchiveUnreadable(f"{path} cannot be opened") from error
        stack.enter_context(raw)
        for line, document in documents(_Insistent(path, _decompressed(raw, stack))):
            for entry in entries_of(line, document, path):
                yield _readable(entry, document)


def _readable(entry: Entry, document: bytes | str) -> Entry:
    """The entry, or an error where it is nested too deeply to be pickled, as it is on its way."""
    if isinstance(document, str) or document.count(b"{") + document.count(b"[") <= _DEEPEST:
        return entry
    level = [entry.message]
    for _ in range(_DEEPEST):
        level = [child for value in level for child in _children(value)]
    if not level:
        return entry
    return Entry(
        line=entry.line,
        file=entry.file,
        text=document.decode("utf-8", "backslashreplace").rstrip("\r\n"),
        error=InvalidEventPayload([Problem("message", "is nested too deeply to be read")]),
    )


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _decompressed(raw: Any, stack: ExitStack) -> Lines:
    buffered = raw if hasattr(raw, "peek") else io.BufferedReader(raw)
    if buffered.peek(2)[:2] != _GZIP_MAGIC:
        return cast("Lines", buffered)
    return stack.enter_context(gzip.GzipFile(fileobj=buffered))


class _Insistent:
    """Lines whose storage may fail: then nothing is reported as if the file ended there."""

    def __init__(self, path: str, lines: Lines) -> None:
        self._path = path
        self._lines = lines

    def readline(self, size: int | None = -1, /) -> bytes:
        """See `Lines`."""
        try:
            return self._lines.readline(size)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise  # of the file itself: it would break off again
        except OSError as error:
            raise ArchiveUnreadable(f"{self._path} cannot be read") from error


def entries_from(elements: Iterable[Any]) -> Iterator[Entry]:
    """Whatever stands in a pipeline as entries: entries, messages, or what a failed output holds."""
    for element in elements:
        if isinstance(element, Entry):
            yield element
        elif isinstance(element, dict) and element.keys() >= {"outcome", "message"}:
            yield Entry(
                line=element.get("line") or 0,
                file=element.get("file"),
                message=element["message"],
            )
        else:
            yield Entry(line=0, file=None, message=element)
