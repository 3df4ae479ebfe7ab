"""The second half of the sink: one destination a worker process, which all of its threads share."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.shared import Shared
from apache_beam.utils.timestamp import Timestamp

from kochava_segment.beam.records import Record, in_order
from kochava_segment.beam.results import TIME, placed, result_of
from kochava_segment.beam.settings import Settings
from kochava_segment.destination import KochavaDestination
from kochava_segment.log_events import BEAM_PROGRESS
from kochava_segment.outcome import Outcome, OutcomeKind

_SAY_EVERY = 10.0  # seconds
_TOGETHER = 250  # results in one element
_REMEMBERED = 200_000  # sends, at some 250 bytes each

# What sending again could count twice, or cannot mend. The others are tried again with their bundle.
_FINISHED = {OutcomeKind.ACCEPTED, OutcomeKind.REJECTED, OutcomeKind.AMBIGUOUS}

_NEVER: tuple[float, Outcome | None] = (0.0, None)
_Known = tuple[str, str]  # the device's key and the message's identity


class Sender:
    """What the threads of a worker process share: a destination, and what it has sent lately.

    An engine repeats a bundle as a whole when anything in it fails. What this process has sent of it
    is remembered, so that a bundle that comes again to the same process is not sent again.

    Args:
        settings: How to send.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._users = 0
        self._destination: KochavaDestination | None = None
        self._finished: OrderedDict[_Known, tuple[float, Outcome]] = OrderedDict()
        self._counts: Counter[OutcomeKind] = Counter()
        self._said_at, self._said_count = time.monotonic(), 0

    def open(self) -> None:
        """One more thread sends."""
        with self._lock:
            if self._destination is None:
                self._destination = self._settings.destination()
            self._users += 1

    def close(self) -> None:
        """One thread less; the last one closes the connections."""
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._destination is not None:
                self._destination.close()
                self._destination = None

    def send(self, batch: list[tuple[_Known, Record]]) -> Iterator[tuple[Record, Outcome]]:
        """Send records side by side, those of one device one after the other."""
        if self._destination is None:
            raise RuntimeError("the sender is not open")
        fresh = []
        oldest = time.monotonic() - self._destination.options.dedup_window
        for known, record in batch:
            finished_at, outcome = self._finished.get(known, _NEVER)
            if outcome is None or finished_at < oldest:
                fresh.append((known, record))
            else:
                yield record, outcome
        messages = (record.message for _, record in fresh)
        for outcome in self._destination.send_many(messages, self._settings.concurrency):
            known, record = fresh[outcome.index]
            self._remember(known, outcome)
            yield record, outcome

    def _remember(self, known: _Known, outcome: Outcome) -> None:
        # Without the lock: each line is one step, and of counts that are only shown one may be lost.
        self._counts[outcome.kind] += 1
        now = time.monotonic()
        if known[1] and outcome.kind in _FINISHED:
            self._finished[known] = now, outcome
        if len(self._finished) > _REMEMBERED or now - self._said_at >= _SAY_EVERY:
            with self._lock:
                if len(self._finished) > _REMEMBERED:
                    self._finished.popitem(last=False)
                if now - self._said_at >= _SAY_EVERY:
                    self._say(now - self._said_at)

    def _say(self, elapsed: float) -> None:
        """Progress, where engines show it: in the worker's log."""
        total = self._counts.total()
        pace = (total - self._said_count) / elapsed
        listed = ", ".join(f"{kind.value} {count}" for kind, count in self._counts.items())
        BEAM_PROGRESS.log(worker=os.getpid(), reason=listed, rate=pace)
        self._said_at, self._said_count = time.monotonic(), total


class Send(beam.DoFn):
    """Sends batches of (device, records), and gives lists of results.

    Args:
        settings: How to send.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shared = Shared()

    def setup(self) -> None:  # noqa: D102  # Beam's
        self._sender: Sender = self._shared.acquire(lambda: Sender(self._settings))
        self._sender.open()

    def teardown(self) -> None:  # noqa: D102  # Beam's
        self._sender.close()

    def process(self, batch: list[tuple[str, list[Record]]]) -> Iterator[Any]:  # noqa: D102  # Beam's
        sent = self._sender.send(_flat(batch))
        while some := list(islice(sent, _TOGETHER)):
            # Batches have lost the times that messages came with. The first of them holds the
            # watermark, so that none is late behind this.
            first = min(record.timestamp for record, _ in some)
            results = [_result(record, outcome) for record, outcome in some]
            yield TimestampedValue(results, Timestamp(micros=first))


def _result(record: Record, outcome: Outcome) -> dict[str, Any]:
    if outcome.kind is OutcomeKind.ACCEPTED:
        result = placed(record.file, record.line, outcome)
    else:
        result = result_of(record.entry, outcome)
    result[TIME] = record.timestamp
    return result


def _flat(batch: Iterable[tuple[str, list[Record]]]) -> list[tuple[_Known, Record]]:
    """All records of a batch. In a stream those of one device come apart, and are sorted here."""
    of_device: dict[str, list[Record]] = {}
    for key, records in batch:
        before = of_device.get(key)
        of_device[key] = records if before is None else in_order([*before, *records])
    return [
        ((key, record.identity), record) for key, records in of_device.items() for record in records
    ]


def size_of(group: tuple[str, list[Any]]) -> int:
    """How many records a device's group has."""
    return len(group[1])
