"""What comes out at the end of a pipeline: one dictionary a message, of JSON values alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from kochava_segment.entries import Entry
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
TIME = "_time"  # the key of the element's own, in microseconds, on the way to `PutOut`


def result_of(entry: Entry, outcome: Outcome) -> dict[str, Any]:
    """What is put out for a message.

    Accepted ones are known by their messageId and have the receipt; all others come with the whole
    message, so that they can be fed in again.
    """
    result = placed(entry.file, entry.line, outcome)
    if result["messageId"] is None:
        result["messageId"] = entry.message_id
    # What was no JSON is kept as text: fed in again, it is reported again.
    result["message"] = entry.message if entry.text is None else entry.text
    return result


def duplicate_of(entry: Entry) -> dict[str, Any]:
    """What is put out for a message whose messageId was there before."""
    outcome = Outcome(index=0, message_id=entry.message_id, kind=OutcomeKind.DUPLICATE)
    reason = "its messageId was there before, on the same device"
    return {**result_of(entry, outcome), "reason": reason}


def placed(file: str | None, line: int, outcome: Outcome) -> dict[str, Any]:
    """What is put out for a message, without the message."""
    result: dict[str, Any] = {
        "outcome": outcome.kind.value,
        "reason": outcome.reason,
        "messageId": outcome.message_id,
        "file": file or None,
        "line": line or None,
    }
    if outcome.warnings:
        result["warnings"] = [
            {"code": one.code, "field": one.field, "detail": one.detail} for one in outcome.warnings
        ]
    if outcome.receipt is not None:
        receipt = outcome.receipt
        result["receipt"] = {
            "action": receipt.action,
            "status": receipt.status,
            "attempts": receipt.attempts,
            "elapsed": round(receipt.elapsed, 4),
            "maybe_repeated": receipt.maybe_repeated,
        }
    return result


class PutOut(beam.DoFn):
    """Counts results, and gives each to the output of its outcome, with its own time.

    Results come in lists: most of what an engine does, it does once for each element.
    """

    def __init__(self) -> None:
        self._counters: dict[str, Any] = {}
        self._latency = Metrics.distribution(METRICS, "latency_ms")
        self._attempts = Metrics.distribution(METRICS, "attempts")

    def process(self, results: list[dict[str, Any]]) -> Iterator[Any]:  # noqa: D102  # Beam's
        counts: Counter[str] = Counter()
        for result in results:
            outcome = result["outcome"]
            counts[outcome] += 1
            receipt = result.get("receipt")
            if receipt is not None:
                self._latency.update(round(1000 * receipt["elapsed"]))
                self._attempts.update(receipt["attempts"])
                counts["maybe_repeated"] += receipt["maybe_repeated"]
            for warning in result.get("warnings", ()):
                counts[f"warning_{warning['code']}"] += 1
            time = result.pop(TIME, None)
            if time is None:
                yield beam.pvalue.TaggedOutput(outcome, result)
            else:
                stamped = TimestampedValue(result, Timestamp(micros=time))
                yield beam.pvalue.TaggedOutput(outcome, stamped)
        for name, count in counts.items():
            if count:
                self._counter(name).inc(count)

    def _counter(self, name: str) -> Any:
        if name not in self._counters:
            self._counters[name] = Metrics.counter(METRICS, name)
        return self._counters[name]
