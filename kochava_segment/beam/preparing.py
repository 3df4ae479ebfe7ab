"""The first half of the sink: which device a message is of, its place in order, and repetitions."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import apache_beam as beam
from apache_beam.coders import FastPrimitivesCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from kochava_segment.beam.archive import entries_from
from kochava_segment.beam.packing import pack
from kochava_segment.beam.records import Record, device_key
from kochava_segment.beam.results import Settled, pack_settled
from kochava_segment.beam.settings import Settings
from kochava_segment.entries import Entry
from kochava_segment.errors import InvalidEventPayload, Problem
from kochava_segment.outcome import Outcome

_SEEN = beam.DoFn.StateParam(ReadModifyWriteStateSpec("seen", FastPrimitivesCoder()))
_SILENCE = TimerSpec("silent", TimeDomain.REAL_TIME)
_SILENT = beam.DoFn.TimerParam(_SILENCE)

SETTLED = "settled"  # the tag of results that need no sending

# How much of the input is gathered: some ten thousand messages of usual size.
_MOST_BYTES = 16 * 2**20
_OVERHEAD = 400  # of a message's record in memory
_TIMESTAMP = itemgetter(Record._fields.index("timestamp"))

_NO_MESSAGE = InvalidEventPayload([Problem("message", "must be an object")])


class Prepare(beam.DoFn):
    """Gives (device, records) of messages that come together, and what became of those that are none.

    What an engine does for each element is then done for several messages of a device at once.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def setup(self) -> None:  # noqa: D102  # Beam's
        self._options = self._settings.for_mapping()

    def start_bundle(self) -> None:  # noqa: D102  # Beam's
        self._gathered: dict[str, list[tuple[Any, ...]]] = {}
        self._size = 0

    def process(  # noqa: D102  # Beam's
        self, element: Any, timestamp: Any = beam.DoFn.TimestampParam
    ) -> Iterator[Any]:
        for entry in entries_from([element]):
            message = entry.message
            if entry.error is None and isinstance(message, dict):
                record = Record.of(entry, timestamp.micros)
                key = device_key(record, message, self._options)
                self._gathered.setdefault(key, []).append(tuple(record))
                self._size += _OVERHEAD + len(record.packed)
            else:
                yield beam.pvalue.TaggedOutput(
                    SETTLED, pack_settled([_no_message(entry, timestamp.micros)])
                )
        if self._size > _MOST_BYTES:
            for keyed, time in self._take():
                yield TimestampedValue(keyed, time)

    def finish_bundle(self) -> Iterator[Any]:  # noqa: D102  # Beam's
        for keyed, time in self._take():
            yield GlobalWindows.windowed_value(keyed, time)

    def _take(self) -> Iterator[tuple[Any, Timestamp]]:
        """All that was gathered, each device with the first time of its messages."""
        gathered = self._gathered
        self.start_bundle()
        for key, records in gathered.items():
            first = min(map(_TIMESTAMP, records))
            yield (key, records), Timestamp(micros=first)


def _no_message(entry: Entry, time: int) -> Settled:
    outcome = Outcome.of_error(0, entry.error or _NO_MESSAGE)
    # What was no JSON is kept as text: fed in again, it is reported again.
    packed = pack(entry.message if entry.text is None else entry.text)
    return Settled.of(outcome, entry.file or "", entry.line, time, packed)


class DropRepeated(beam.DoFn):
    """In a stream: drops what came before, for as long as the option `dedup_window` says.

    State is kept for each device, and forgotten when it was silent for so long.
    """

    def __init__(self, window: float) -> None:
        self._window = window

    def process(  # noqa: D102  # Beam's
        self,
        element: tuple[str, list[Any]],
        seen: Any = _SEEN,
        silent: Any = _SILENT,
    ) -> Iterator[Any]:
        key, records = element
        now = float(Timestamp.now())
        known: dict[str, float] = seen.read() or {}
        known = {identity: until for identity, until in known.items() if until > now}
        fresh, repeated = [], []
        for record in map(Record._make, records):
            if record.identity in known:
                repeated.append(record.duplicate)
            else:
                fresh.append(tuple(record))
                if record.identity:
                    known[record.identity] = now + self._window
        if repeated:
            yield beam.pvalue.TaggedOutput(SETTLED, pack_settled(repeated))
        if fresh:
            seen.write(known)
            silent.set(now + self._window)
            yield key, [fresh]

    @on_timer(_SILENCE)
    def forget(self, seen: Any = _SEEN) -> None:
        """The device was silent for the whole window."""
        seen.clear()
