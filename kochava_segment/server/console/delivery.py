"""Delivery: what became of messages lately, how long it took, and what waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from attrs import frozen
from starlette.responses import Response

from kochava_segment.delivery.outbox_history import OutboxHistory, outbox_history
from kochava_segment.delivery.outbox_inspection import OutboxStatus
from kochava_segment.destination import KochavaDestination
from kochava_segment.outcome import OutcomeKind
from kochava_segment.server.console.chart import Chart, make_chart
from kochava_segment.server.console.guard import Visit
from kochava_segment.server.console.history import DeliveryHistory
from kochava_segment.server.status import CountedStatus

_FRESH_FOR = 4.0  # seconds
_SHARE = 20  # of the time that counting takes, it is not counted again
_SHARES = (0.5, 0.95, 0.99)
_MOST_REASONS = 12


@frozen
class Window:
    """A time to look back on.

    Attributes:
        name: What it is called.
        span: Seconds that a bar stands for.
        spans: How many bars there are.
        each: What a bar stands for, in words.
    """

    name: str
    span: float
    spans: int
    each: str

    def since(self) -> float:
        """Epoch seconds at which it begins: spans begin at whole minutes."""
        return (time.time() // self.span + 1 - self.spans) * self.span


_WINDOWS = {
    "hour": Window("hour", 60.0, 60, "minute"),
    "day": Window("day", 900.0, 96, "15 minutes"),
}


@frozen
class Reason:
    """Why messages did not get through, and how many."""

    outcome: str
    text: str
    count: int


class DeliveryPage:
    """Shows how it goes.

    Args:
        destination: Whose relay it is.
        status: Counts what the outbox holds.
        history: What the process remembers.
    """

    def __init__(
        self, destination: KochavaDestination, status: CountedStatus, history: DeliveryHistory
    ) -> None:
        self._destination = destination
        self._status = status
        self._history = history
        self._counted = {name: _Counted(destination, window) for name, window in _WINDOWS.items()}

    def show(self, visit: Visit) -> Response:
        """The page, or its part alone where htmx asks."""
        name = visit.query.get("window")
        window = _WINDOWS.get(name, _WINDOWS["hour"])
        since, counted = self._counted[window.name].get()
        status = self._status.get()
        answers, answered_within = self._history.durations(since, *_SHARES)
        template = "delivery_part.html" if visit.is_part else "delivery.html"
        return visit.page(
            template,
            here="delivery",
            window=window,
            windows=list(_WINDOWS.values()),
            chart=self._chart(window, since, counted),
            outbox=status,
            relay=self._relay(),
            slowed=counted.slowed,
            answers=answers,
            answered_within=answered_within,
            taken_within=_shares(counted.waits),
            taken=len(counted.waits),
            shares=[f"{share:.0%}" for share in _SHARES],
            reasons=self._reasons(status, since),
            began_at=self._history.began_at,
            now=time.time(),
        )

    def _chart(self, window: Window, since: float, counted: OutboxHistory) -> Chart:
        not_sent = self._history.not_sent(since=since, span=window.span, spans=window.spans)
        series = {
            "accepted": counted.accepted,
            "filtered": [one["filtered"] for one in not_sent],
            "waiting": counted.waiting,
            "failed": counted.failed,
            "refused": [one["refused"] for one in not_sent],
        }
        return make_chart(series, since=since, span=window.span)

    def _reasons(self, status: OutboxStatus, since: float) -> list[Reason]:
        reasons = [
            Reason(state, reason, count) for (state, reason), count in status.reasons.items()
        ]
        words = {
            OutcomeKind.FILTERED: "filtered",
            OutcomeKind.INVALID: "malformed: answered 400 with the paths",
            OutcomeKind.UNSUPPORTED: "Kochava has nothing like it: answered 501",
        }
        for (kind, reason), count in self._history.reasons(since).items():
            reasons.append(Reason(kind.value, reason or words[kind], count))
        return sorted(reasons, key=lambda one: (-one.count, one.outcome, one.text))[:_MOST_REASONS]

    def _relay(self) -> dict[str, Any]:
        destination = self._destination
        return {
            "here": destination.options.relay,
            "alive": destination.options.relay and destination.relay_alive,
            "rate": destination.relay_rate,
        }


class _Counted:
    """What the outbox tells of a window, no older than it is worth counting anew."""

    def __init__(self, destination: KochavaDestination, window: Window) -> None:
        self._destination = destination
        self._window = window
        self._lock = threading.Lock()
        self._found: tuple[float, OutboxHistory] | None = None
        self._fresh_until = 0.0

    def get(self) -> tuple[float, OutboxHistory]:
        """When the window begins, and what was counted."""
        with self._lock:
            began = time.monotonic()
            if self._found is None or began > self._fresh_until:
                since = self._window.since()
                found = outbox_history(
                    self._destination.outbox,
                    since=since,
                    span=self._window.span,
                    spans=self._window.spans,
                )
                self._found = since, found
                ended = time.monotonic()
                self._fresh_until = ended + max(_FRESH_FOR, _SHARE * (ended - began))
            return self._found


def _shares(ordered: Sequence[float]) -> list[float]:
    """The seconds within which each share of them was over."""
    if not ordered:
        return []
    return [ordered[min(int(share * len(ordered)), len(ordered) - 1)] for share in _SHARES]
