"""The first half of the sink: which device a message is of, its place in order, and repetitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.coders import FastPrimitivesCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp

from kochava_segment.beam.archive import entries_from
from kochava_segment.beam.records import Record, device_key, in_order, told_apart
from kochava_segment.beam.results import duplicate_of, result_of
from kochava_segment.beam.settings import Settings
from kochava_segment.errors import InvalidEventPayload, Problem
from kochava_segment.outcome import Outcome

_SEEN = beam.DoFn.StateParam(ReadModifyWriteStateSpec("seen", FastPrimitivesCoder()))
_SILENCE = TimerSpec("silent", TimeDomain.REAL_TIME)
_SILENT = beam.DoFn.TimerParam(_SILENCE)

SETTLED = "settled"  # the tag of results that need no sending

_NO_MESSAGE = InvalidEventPayload([Problem("message", "must be an object")])


class Prepare(beam.DoFn):
    """Gives (device, Record) of each message, and the results of what is none."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def setup(self) -> None:  # noqa: D102  # Beam's
        self._options = self._settings.for_mapping()

    def process(  # noqa: D102  # Beam's
        self, element: Any, timestamp: Any = beam.DoFn.TimestampParam
    ) -> Iterator[Any]:
        for entry in entries_from([element]):
            if entry.error is None and isinstance(entry.message, dict):
                record = Record.of(entry, timestamp.micros)
                yield device_key(record, entry.message, self._options), tuple(record)
            else:
                outcome = Outcome.of_error(0, entry.error or _NO_MESSAGE)
                yield beam.pvalue.TaggedOutput(SETTLED, [result_of(entry, outcome)])


def sort_group(group: tuple[str, Iterable[Any]]) -> Iterator[Any]:
    """All records of one device in their order, without those that are there twice."""
    key, records = group
    fresh = []
    for record, is_repeated in told_apart(in_order(Record(*values) for values in records)):
        if is_repeated:
            yield beam.pvalue.TaggedOutput(SETTLED, [duplicate_of(record.entry)])
        else:
            fresh.append(record)
    yield key, fresh


class DropRepeated(beam.DoFn):
    """In a stream: drops what came before, for as long as the option `dedup_window` says.

    State is kept for each device, and forgotten when it was silent for so long.
    """

    def __init__(self, window: float) -> None:
        self._window = window

    def process(  # noqa: D102  # Beam's
        self,
        element: tuple[str, Any],
        seen: Any = _SEEN,
        silent: Any = _SILENT,
    ) -> Iterator[Any]:
        key, values = element
        record = Record(*values)
        now = float(Timestamp.now())
        known: dict[str, float] = seen.read() or {}
        if known.get(record.identity, 0.0) > now:
            yield beam.pvalue.TaggedOutput(SETTLED, [duplicate_of(record.entry)])
            return
        if record.identity:
            known = {identity: until for identity, until in known.items() if until > now}
            seen.write({**known, record.identity: now + self._window})
            silent.set(now + self._window)
        yield key, [record]

    @on_timer(_SILENCE)
    def forget(self, seen: Any = _SEEN) -> None:
        """The device was silent for the whole window."""
        seen.clear()
