"""The second half of the sink: one destination a worker process, which all of its threads share."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from operator import itemgetter
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows, TimestampedValue
from apache_beam.utils.shared import Shared
from apache_beam.utils.timestamp import Timestamp

from kochava_segment.beam.records import Record, in_order, told_apart
from kochava_segment.beam.results import Settled, pack_settled
from kochava_segment.beam.settings import Settings
from kochava_segment.destination import KochavaDestination
from kochava_segment.log_events import BEAM_PROGRESS
from kochava_segment.outcome import OutcomeKind

_SAY_EVERY = 10.0  # seconds
_TOGETHER = 250  # results in one element
_REMEMBERED = 200_000  # sends, at some 250 bytes each

# What sending again could count twice, or cannot mend. The others are tried again with their bundle.
_FINISHED = {
    kind.value for kind in (OutcomeKind.ACCEPTED, OutcomeKind.REJECTED, OutcomeKind.AMBIGUOUS)
}

_SHARE = itemgetter(0)
_NEVER: tuple[float, tuple[Any, ...]] = (0.0, ())
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
        # Of simple values alone, in which the garbage collector has nothing to look for.
        self._finished: OrderedDict[_Known, tuple[float, tuple[Any, ...]]] = OrderedDict()
        self._counts: Counter[str] = Counter()
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

    def send(self, batch: list[tuple[_Known, Record]]) -> Iterator[Settled]:
        """Send records side by side, those of one device one after the other."""
        if self._destination is None:
            raise RuntimeError("the sender is not open")
        fresh = []
        oldest = time.monotonic() - self._destination.options.dedup_window
        for known, record in batch:
            finished_at, before = self._finished.get(known, _NEVER)
            if not before or finished_at < oldest:
                fresh.append((known, record))
            else:
                yield record.settled_before(before)
        messages = (record.message for _, record in fresh)
        for outcome in self._destination.send_many(messages, self._settings.concurrency):
            known, record = fresh[outcome.index]
            settled = record.settled(outcome)
            self._remember(known, settled)
            yield settled

    def _remember(self, known: _Known, settled: Settled) -> None:
        # Without the lock: each line is one step, and of counts that are only shown one may be lost.
        self._counts[settled.outcome] += 1
        now = time.monotonic()
        if known[1] and settled.outcome in _FINISHED:
            self._finished[known] = now, settled.without_message
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
        listed = ", ".join(f"{outcome} {count}" for outcome, count in self._counts.items())
        BEAM_PROGRESS.log(worker=os.getpid(), reason=listed, rate=pace)
        self._said_at, self._said_count = time.monotonic(), total


class Send(beam.DoFn):
    """Sends the messages of devices, and gives lists of what became of them.

    Args:
        settings: How to send.
        batch_size: Messages that are sent at a time; a device's are not divided.
    """

    def __init__(self, settings: Settings, batch_size: int) -> None:
        self._settings = settings
        self._batch_size = batch_size
        self._shared = Shared()

    def setup(self) -> None:  # noqa: D102  # Beam's
        self._sender: Sender = self._shared.acquire(lambda: Sender(self._settings))
        self._sender.open()

    def teardown(self) -> None:  # noqa: D102  # Beam's
        self._sender.close()

    def start_bundle(self) -> None:  # noqa: D102  # Beam's
        # Bare values of records: of them as well, the garbage collector has nothing to look for.
        self._waiting: dict[str, list[tuple[Any, ...]]] = {}
        self._count = 0

    def process(self, group: tuple[str, Iterable[Any]]) -> Iterator[Any]:  # noqa: D102  # Beam's
        key, gathered = group
        waiting = self._waiting.setdefault(key, [])
        self._count -= len(waiting)
        for records in gathered:
            waiting.extend(records)
        self._count += len(waiting)
        if self._count >= self._batch_size:
            for results, first in self._send():
                yield TimestampedValue(results, first)

    def finish_bundle(self) -> Iterator[Any]:  # noqa: D102  # Beam's
        for results, first in self._send():
            yield GlobalWindows.windowed_value(results, first)

    def _send(self) -> Iterator[tuple[bytes, Timestamp]]:
        """Send all that waits. Each list of results has the first time of its messages.

        That time holds the watermark, so that none is late behind this.
        """
        devices = self._waiting
        self.start_bundle()
        settled = self._settled(devices)
        while some := list(islice(settled, _TOGETHER)):
            first = min(one.time for one in some)
            yield pack_settled(some), Timestamp(micros=first)

    def _settled(self, devices: dict[str, list[tuple[Any, ...]]]) -> Iterator[Settled]:
        fresh: dict[str, list[Record]] = {}
        for key, values in devices.items():
            of_device = fresh[key] = []
            for record, is_repeated in told_apart(in_order(map(Record._make, values))):
                if is_repeated:
                    yield record.duplicate
                else:
                    of_device.append(record)
        yield from self._sender.send(_spread_out(fresh))


def _spread_out(devices: Mapping[str, list[Record]]) -> list[tuple[_Known, Record]]:
    """All messages, those of each device spread over the whole in their order.

    So few have to wait for an earlier one of their device, and no device is left for the end.
    """
    places = [
        ((number + 0.5) / len(records), (key, record.identity), record)
        for key, records in devices.items()
        for number, record in enumerate(records)
    ]
    places.sort(key=_SHARE)
    return [(known, record) for _, known, record in places]
