"""A message on its way through a pipeline: keyed by its device, with what its order hangs on."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from kochava_segment.beam.packing import pack, pack_read, text_for_engines, unpack
from kochava_segment.beam.results import Settled
from kochava_segment.beam.selection import message_time
from kochava_segment.entries import Entry
from kochava_segment.errors import KochavaSegmentError
from kochava_segment.mapping.identifiers import find_kochava_device_id, identify_device
from kochava_segment.mapping.message import Message
from kochava_segment.mapping.timestamps import epoch_seconds
from kochava_segment.names import fold_name
from kochava_segment.options import Options
from kochava_segment.outcome import Outcome

# As nearly all libraries of Segment write it: whole minutes of it are the same for many messages.
_USUAL_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d):([0-5]\d\.\d{3})Z", re.ASCII)
_FRACTION = re.compile(r":\d\d[.,](\d{1,9})")
# Of a device: no blanks, half surrogate pairs, or UNKNOWN_ID, of which the mapping takes care.
_PLAIN_ID = re.compile(r"[0-9A-Za-z-]+", re.ASCII)
_INSTALL = fold_name("Application Installed")
_PLACE_IN_ORDER = itemgetter(0, 1, 2, 3)


class Record(NamedTuple):
    """A message that is to be sent. A tuple of simple values is what engines move fastest.

    Attributes:
        rank: 0 for an install, else 1: Kochava tracks events of a device once it knows its install.
        moment: When it happened, in epoch seconds; infinite where nothing tells.
        file: Where it was read, "" where nobody knows.
        line: The line there, 0 where nobody knows.
        timestamp: The element's own in the pipeline, in microseconds.
        identity: What tells it from others of its device: its messageId, else its place; "" without.
        packed: The Segment message, as `packing` has it.
    """

    rank: int
    moment: float
    file: str
    line: int
    timestamp: int
    identity: str
    packed: bytes

    @classmethod
    def of(cls, entry: Entry, timestamp: int) -> Record:
        """The record of a message, which is a dictionary."""
        message = entry.message
        event = message.get("event")
        is_install = isinstance(event, str) and fold_name(event) == _INSTALL
        file, found = entry.file or "", message.get("messageId")
        if isinstance(found, (str, int)) and found != "":
            identity = text_for_engines(f"id:{found}")
        else:
            identity = f"at:{file}:{entry.line}" if file else ""
        packed = pack_read(message) if entry.line else pack(message)
        rank, moment = 0 if is_install else 1, _moment(message)
        return cls(rank, moment, file, entry.line, timestamp, identity, packed)

    @property
    def message(self) -> Any:
        """The Segment message, a new one at each call."""
        return unpack(self.packed)

    @property
    def duplicate(self) -> Settled:
        """What became of it where its messageId was there before."""
        return Settled.duplicate(self.file, self.line, self.timestamp, self.packed)

    def settled_before(self, values: tuple[Any, ...]) -> Settled:
        """What became of it when it was sent, from `Settled.without_message`."""
        before = Settled(*values)
        packed = b"" if before.receipt is not None else self.packed
        return before._replace(file=self.file, line=self.line, time=self.timestamp, packed=packed)

    def settled(self, outcome: Outcome) -> Settled:
        """What became of it."""
        return Settled.of(outcome, self.file, self.line, self.timestamp, self.packed)


def device_key(record: Record, message: Any, options: Options) -> str:
    """What messages have in common that must keep their order: the device, as requests name it.

    A message that names none is on its own: it will be refused, or filtered.
    """
    known = _plain_device_id(message)
    if not known:
        try:
            read = Message(message, options)
            known = find_kochava_device_id(read) or next(
                iter(identify_device(read).known_ids.values()), ""
            )
        except KochavaSegmentError:
            known = ""
    if known:
        return known
    alone = record.identity.encode() or record.packed
    return f"message {hashlib.sha256(alone).hexdigest()}"


def _plain_device_id(message: dict[str, Any]) -> str:
    """The device's id where `find_kochava_device_id` could find nothing else; of most, in no time."""
    integrations = message.get("integrations")
    if integrations and (not isinstance(integrations, dict) or "Kochava" in integrations):
        return ""
    try:
        found = message["context"]["device"]["id"]
    except (KeyError, TypeError):
        return ""
    return found if isinstance(found, str) and _PLAIN_ID.fullmatch(found) else ""


def _moment(message: Any) -> float:
    """The time to the microsecond: requests have whole seconds, in which several may happen."""
    written = message.get("timestamp")
    if isinstance(written, str) and (usual := _USUAL_TIME.fullmatch(written)):
        minute = _minute(usual[1])
        if minute is not None:
            return minute + float(usual[2])
    seconds = message_time(message)
    if seconds is None:
        return math.inf
    if isinstance(written, (int, float)) and not isinstance(written, bool):
        return seconds + (written / 1000) % 1 if written > 10**11 else float(written)
    fraction = _FRACTION.search(written) if isinstance(written, str) else None
    return seconds + float(f"0.{fraction[1]}") if fraction else float(seconds)


@lru_cache(maxsize=4096)
def _minute(text: str) -> int | None:
    return epoch_seconds(f"{text}Z")


def in_order(records: Iterable[Record]) -> list[Record]:
    """The install first, then by time, then as they were read."""
    return sorted(records, key=_PLACE_IN_ORDER)


def told_apart(records: Iterable[Record]) -> Iterator[tuple[Record, bool]]:
    """Each record of one device, and whether it is one that was there before."""
    seen: set[str] = set()
    for record in records:
        identity = record.identity
        yield record, bool(identity) and identity in seen
        seen.add(identity)
