"""What the process remembers for the console: the last day by minutes, and the latest failed attempts.

None of it has any content of messages, and all of it is bounded.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from attrs import define, field, frozen

from kochava_segment.delivery.instrumentation import (
    AttemptEvent,
    OutcomeEvent,
    RetryScheduledEvent,
)
from kochava_segment.outcome import Outcome, OutcomeKind

_MINUTES = 24 * 60
_STEP = 1.05  # between the limits of two classes of durations: what percentiles can be wrong by
_SHORTEST = 0.000_1  # seconds
_MOST_MESSAGES = 2_000
_MOST_ATTEMPTS = 20  # of a message
_NOT_SENT = (OutcomeKind.FILTERED, OutcomeKind.INVALID, OutcomeKind.UNSUPPORTED)


@frozen(kw_only=True)
class SeenAttempt:
    """An attempt that did not succeed.

    Attributes:
        at: Epoch seconds at which it ended.
        number: Its number, from 1.
        status: The answer's HTTP status; None where none came.
        detail: What became of it.
        elapsed: Seconds that it took.
        maybe_sent: It may have been counted all the same.
    """

    at: float
    number: int
    status: int | None
    detail: str
    elapsed: float
    maybe_sent: bool


@define
class _Minute:
    number: int  # since the epoch
    durations: Counter[int] = field(factory=Counter)
    received: Counter[tuple[OutcomeKind, str]] = field(factory=Counter)


class DeliveryHistory:
    """A hook that remembers how long Kochava took to answer, and what the receiver did not pass on.

    KochavaDestination("koexample", hooks=[LoggingHook(), DeliveryHistory()], outbox="outbox.db")

    Args:
        clock: Gives epoch seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._minutes: deque[_Minute] = deque(maxlen=_MINUTES)
        self._attempts: OrderedDict[tuple[str, str], deque[SeenAttempt]] = OrderedDict()
        self.began_at = clock()

    # As a hook.

    def attempt(self, event: AttemptEvent) -> None:
        """An attempt has ended."""
        with self._lock:
            if event.status is not None:
                self._minute().durations[_class_of(event.elapsed)] += 1
            if event.message_id is None or (event.status == 200 and event.attempt == 1):
                return
            key = (event.message_id, event.action)
            attempts = self._attempts.setdefault(key, deque(maxlen=_MOST_ATTEMPTS))
            attempts.append(
                SeenAttempt(
                    at=self._clock(),
                    number=event.attempt,
                    status=event.status,
                    detail=event.detail,
                    elapsed=event.elapsed,
                    maybe_sent=event.maybe_sent,
                )
            )
            self._attempts.move_to_end(key)
            if len(self._attempts) > _MOST_MESSAGES:
                self._attempts.popitem(last=False)

    def retry_scheduled(self, event: RetryScheduledEvent) -> None:
        """Nothing: the attempt was told."""

    def outcome(self, event: OutcomeEvent) -> None:
        """Nothing: the outbox knows."""

    # Of the receiver.

    def received(self, outcomes: Iterable[Outcome]) -> None:
        """Count the messages that are not passed on to Kochava."""
        reasons = Counter(
            (one.kind, one.reason or "" if one.kind is OutcomeKind.FILTERED else "")
            for one in outcomes
            if one.kind in _NOT_SENT
        )
        if reasons:
            with self._lock:
                self._minute().received.update(reasons)

    # For pages.

    def attempts_of(self, message_id: str | None, action: str) -> Sequence[SeenAttempt]:
        """The attempts of a message that this process has seen, unless the first one succeeded."""
        with self._lock:
            return tuple(self._attempts.get((message_id or "", action), ()))

    def not_sent(self, *, since: float, span: float, spans: int) -> list[Counter[str]]:
        """How many messages were `filtered`, and `refused` for what is wrong with them, by spans."""
        found: list[Counter[str]] = [Counter() for _ in range(spans)]
        for minute in self._since(since):
            place = min(int((minute.number * 60 - since) // span), spans - 1)
            for (kind, _), count in minute.received.items():
                found[place]["filtered" if kind is OutcomeKind.FILTERED else "refused"] += count
        return found

    def reasons(self, since: float) -> Counter[tuple[OutcomeKind, str]]:
        """How many messages were not passed on, by kind and, where filtered, by reason."""
        found: Counter[tuple[OutcomeKind, str]] = Counter()
        for minute in self._since(since):
            found.update(minute.received)
        return found

    def durations(self, since: float, *shares: float) -> tuple[int, list[float]]:
        """How many answers came, and the seconds within which each share of them did."""
        classes: Counter[int] = Counter()
        for minute in self._since(since):
            classes.update(minute.durations)
        total = classes.total()
        return total, [_share_of(classes, share * total) for share in shares] if total else []

    def _minute(self) -> _Minute:
        number = int(self._clock() // 60)
        # A clock that was set back goes on in the latest minute.
        if not self._minutes or self._minutes[-1].number < number:
            self._minutes.append(_Minute(number))
        return self._minutes[-1]

    def _since(self, since: float) -> Iterator[_Minute]:
        with self._lock:
            minutes = [
                _Minute(one.number, Counter(one.durations), Counter(one.received))
                for one in self._minutes
                if one.number * 60 >= since
            ]
        yield from minutes


def _class_of(seconds: float) -> int:
    return math.ceil(math.log(max(seconds, _SHORTEST) / _SHORTEST, _STEP))


def _share_of(classes: Counter[int], wanted: float) -> float:
    seen, one = 0, 0
    for one in sorted(classes):
        seen += classes[one]
        if seen >= wanted:
            break
    return float(_SHORTEST * _STEP**one)
