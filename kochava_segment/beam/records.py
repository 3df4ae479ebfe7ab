"""A message on its way through a pipeline: keyed by its device, with what its order hangs on."""

from __future__ import annotations

import hashlib
import math
import pickle
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from kochava_segment.beam.selection import message_time
from kochava_segment.entries import Entry
from kochava_segment.errors import KochavaSegmentError
from kochava_segment.mapping.identifiers import find_kochava_device_id, identify_device
from kochava_segment.mapping.message import Message
from kochava_segment.names import fold_name
from kochava_segment.options import Options

_FRACTION = re.compile(r":\d\d[.,](\d{1,9})")
_INSTALL = fold_name("Application Installed")


class Record(NamedTuple):
    """A message that is to be sent. A tuple of simple values is what engines move fastest.

    Attributes:
        rank: 0 for an install, else 1: Kochava tracks events of a device once it knows its install.
        moment: When it happened, in epoch seconds; infinite where nothing tells.
        file: Where it was read, "" where nobody knows.
        line: The line there, 0 where nobody knows.
        timestamp: The element's own in the pipeline, in microseconds.
        identity: What tells it from others of its device: its messageId, else its place; "" without.
        pickled: The Segment message, with whatever types a pipeline put into it.
    """

    rank: int
    moment: float
    file: str
    line: int
    timestamp: int
    identity: str
    pickled: bytes

    @classmethod
    def of(cls, entry: Entry, timestamp: int) -> Record:
        """The record of a message, which is a dictionary."""
        message = entry.message
        event = message.get("event")
        is_install = isinstance(event, str) and fold_name(event) == _INSTALL
        file, found = entry.file or "", message.get("messageId")
        if isinstance(found, (str, int)) and found != "":
            identity = f"id:{found}"
        else:
            identity = f"at:{file}:{entry.line}" if file else ""
        return cls(
            rank=0 if is_install else 1,
            moment=_moment(message),
            file=file,
            line=entry.line,
            timestamp=timestamp,
            identity=identity,
            pickled=pickle.dumps(message, pickle.HIGHEST_PROTOCOL),
        )

    @property
    def message(self) -> Any:
        """The Segment message, unpickled at each call."""
        return pickle.loads(self.pickled)  # noqa: S301  # written by this pipeline, as all elements

    @property
    def entry(self) -> Entry:
        """The message with its place."""
        return Entry(line=self.line, file=self.file or None, message=self.message)


def device_key(record: Record, message: Any, options: Options) -> str:
    """What messages have in common that must keep their order: the device, as requests name it.

    A message that names none is on its own: it will be refused, or filtered.
    """
    try:
        read = Message(message, options)
        # Most have it, and it is found more quickly than all that identifies a device.
        known = find_kochava_device_id(read) or next(
            iter(identify_device(read).known_ids.values()), ""
        )
    except KochavaSegmentError:
        known = ""
    if known:
        return known
    alone = record.identity.encode() or record.pickled
    return f"message {hashlib.sha256(alone).hexdigest()}"


def _moment(message: Any) -> float:
    """The time to the microsecond: requests have whole seconds, in which several may happen."""
    seconds = message_time(message)
    if seconds is None:
        return math.inf
    written = message.get("timestamp")
    if isinstance(written, (int, float)) and not isinstance(written, bool):
        return seconds + (written / 1000) % 1 if written > 10**11 else float(written)
    fraction = _FRACTION.search(written) if isinstance(written, str) else None
    return seconds + float(f"0.{fraction[1]}") if fraction else float(seconds)


def in_order(records: Iterable[Record]) -> list[Record]:
    """The install first, then by time, then as they were read."""
    return sorted(records, key=lambda record: record[:4])


def told_apart(records: Iterable[Record]) -> Iterator[tuple[Record, bool]]:
    """Each record of one device, and whether it is one that was there before."""
    seen: set[str] = set()
    for record in records:
        identity = record.identity
        yield record, bool(identity) and identity in seen
        seen.add(identity)
