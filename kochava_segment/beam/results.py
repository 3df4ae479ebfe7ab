"""What comes out at the end of a pipeline: one dictionary a message, of JSON values alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from kochava_segment.beam.packing import pack, unpack, unpack_for_engines
from kochava_segment.outcome import Outcome, OutcomeKind

OUTPUTS: tuple[str, ...] = tuple(
    kind.value for kind in OutcomeKind if kind is not OutcomeKind.QUEUED
)
"""The tags of `WriteToKochava`'s outputs. Every message is in exactly one of them."""

FAILED_OUTPUTS: tuple[str, ...] = tuple(
    tag for tag in OUTPUTS if tag not in {"accepted", "filtered", "duplicate"}
)
"""Those whose messages somebody has to look at, or to send again."""


METRICS = "kochava"

_RECEIPT = ("action", "status", "attempts", "elapsed", "maybe_repeated")
_WARNING = ("code", "field", "detail")


class Settled(NamedTuple):
    """What became of a message, on its way to `PutOut`: simple values, as engines move them fastest.

    Attributes:
        outcome: The kind of outcome.
        reason: Why it was not accepted.
        message_id: Its `messageId`, None where the packed message has to tell it.
        file: Where it was read, "" where nobody knows.
        line: The line there, 0 where nobody knows.
        time: The element's own in the pipeline, in microseconds.
        receipt: The values of the receipt.
        warnings: The values of each warning.
        packed: The message as `packing` has it; b"" for accepted ones.
    """

    outcome: str
    reason: str | None
    message_id: str | None
    file: str
    line: int
    time: int
    receipt: tuple[Any, ...] | None = None
    warnings: tuple[tuple[str, str, str], ...] = ()
    packed: bytes = b""

    @classmethod
    def of(cls, outcome: Outcome, file: str, line: int, time: int, packed: bytes) -> Settled:
        """What became of the message that stood there."""
        receipt = outcome.receipt
        kind, message_id = outcome.kind.value, outcome.message_id
        warnings = tuple([(one.code, one.field, one.detail) for one in outcome.warnings])
        if receipt is None:
            reason = outcome.reason
            return cls(kind, reason, message_id, file, line, time, None, warnings, packed)
        values = (
            receipt.action,
            receipt.status,
            receipt.attempts,
            round(receipt.elapsed, 4),
            receipt.maybe_repeated,
        )
        return cls(kind, None, message_id, file, line, time, values, warnings)

    @classmethod
    def duplicate(cls, file: str, line: int, time: int, packed: bytes) -> Settled:
        """The same for a message whose messageId was there before."""
        reason = "its messageId was there before, on the same device"
        return cls(OutcomeKind.DUPLICATE.value, reason, None, file, line, time, packed=packed)

    @property
    def without_message(self) -> tuple[Any, ...]:
        """All values but the last."""
        return self[:-1]

    @property
    def result(self) -> dict[str, Any]:
        """What is put out.

        Accepted messages are known by their messageId and have the receipt; all others come as a
        whole, so that they can be fed in again.
        """
        result: dict[str, Any] = {
            "outcome": self.outcome,
            "reason": self.reason,
            "messageId": self.message_id,
            "file": self.file or None,
            "line": self.line or None,
        }
        if self.warnings:
            result["warnings"] = [dict(zip(_WARNING, one, strict=True)) for one in self.warnings]
        if self.receipt is not None:
            result["receipt"] = dict(zip(_RECEIPT, self.receipt, strict=True))
        else:
            message = unpack_for_engines(self.packed)
            result["message"] = message
            if self.message_id is None and isinstance(message, dict):
                found = message.get("messageId")
                result["messageId"] = found if isinstance(found, str) else None
        return result


def pack_settled(settled: Iterable[Settled]) -> bytes:
    """One element of several: most of what an engine does, it does once for each element."""
    return pack([tuple(one) for one in settled])


class PutOut(beam.DoFn):
    """Counts results, and gives each to the output of its outcome, with its own time."""

    def __init__(self) -> None:
        self._counters: dict[str, Any] = {}
        self._latency = Metrics.distribution(METRICS, "latency_ms")
        self._attempts = Metrics.distribution(METRICS, "attempts")

    def process(  # noqa: D102  # Beam's
        self, packed: bytes, timestamp: Any = beam.DoFn.TimestampParam
    ) -> Iterator[Any]:
        time_of_list = timestamp.micros
        counts: Counter[str] = Counter()
        for settled in map(Settled._make, unpack(packed)):
            self._count(settled, counts)
            result: Any = settled.result
            if settled.time != time_of_list:
                result = TimestampedValue(result, Timestamp(micros=settled.time))
            yield beam.pvalue.TaggedOutput(settled.outcome, result)
        for name, count in counts.items():
            if count:
                self._counter(name).inc(count)

    def _count(self, settled: Settled, counts: Counter[str]) -> None:
        counts[settled.outcome] += 1
        for code, _, _ in settled.warnings:
            counts[f"warning_{code}"] += 1
        if settled.receipt is not None:
            _, _, attempts, elapsed, maybe_repeated = settled.receipt
            self._latency.update(round(1000 * elapsed))
            self._attempts.update(attempts)
            counts["maybe_repeated"] += maybe_repeated

    def _counter(self, name: str) -> Any:
        if name not in self._counters:
            self._counters[name] = Metrics.counter(METRICS, name)
        return self._counters[name]
