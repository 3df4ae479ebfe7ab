"""Segment destination functions in Python: the same handlers, error names and batch answers.

What they raise is drawn in `function_errors`; the names are here as well.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from typing_extensions import NotRequired, TypedDict

from kochava_segment.destination import KochavaDestination
from kochava_segment.errors import (
    AmbiguousDelivery,
    ConfigurationError,
    EventNotSupported,
    InvalidEventPayload,
    KochavaSegmentError,
    OutboxError,
    Problem,
)
from kochava_segment.log_events import FILTERED
from kochava_segment.outcome import Outcome, OutcomeKind
from kochava_segment.segment.function_errors import (
    DropEvent,
    FunctionError,
    Meaning,
    RetryError,
    ValidationError,
    meaning_of,
)
from kochava_segment.segment.function_settings import KeptDestinations, spelt_as_settings

__all__ = [
    "BUDGET",
    "BatchEntry",
    "DropEvent",
    "EventNotSupported",
    "FunctionError",
    "Functions",
    "InvalidEventPayload",
    "RetryError",
    "ValidationError",
    "close_kept",
    "on_alias",
    "on_batch",
    "on_delete",
    "on_group",
    "on_identify",
    "on_page",
    "on_screen",
    "on_track",
]

BUDGET = 4.5
"""Seconds: what is left of the 5 that Segment waits, once the way there and back is taken off."""

_LEAST_BUDGET = 1.0
_CONCURRENCY = 32
_STORED_TOGETHER = 100  # events, in one transaction of the outbox
_KEPT = 16  # destinations


class BatchEntry(TypedDict):
    """What became of one event of a batch, as Segment reads it."""

    status: int
    errormessage: NotRequired[str]


_NO_DELETION = (
    "deletion needs the option outbox: with it a user is forgotten, and with account_id and "
    "account_key at Kochava as well"
)
_TOO_LATE = BatchEntry(status=503, errormessage="the time was up before this event was stored")


class Functions:
    """The handlers of a Segment destination function, over a destination.

    Each handler delivers one event within the budget, or raises as the module says. With an outbox
    it stores the event instead, which is quick, and delivers it in the background. Thread-safe; the
    destination is yours to close.

    Args:
        destination: Where events go.
        budget: Seconds in which a handler answers. No attempt is begun that cannot end in them, and
            timeouts are cut to what is left.
        concurrency: How many events of a batch are sent at once.

    Raises:
        ConfigurationError: with everything that is wrong.
    """

    def __init__(
        self,
        destination: KochavaDestination,
        *,
        budget: float = BUDGET,
        concurrency: int = _CONCURRENCY,
    ) -> None:
        problems = []
        # A bool is a number to Python, and no time.
        if type(budget) not in (int, float) or not _LEAST_BUDGET <= budget < math.inf:
            problems.append(Problem("budget", "must be a number of seconds, from 1 on"))
        if type(concurrency) is not int or concurrency < 1:
            problems.append(Problem("concurrency", "must be a whole number from 1 on"))
        options = destination.options
        if options.outbox is not None and options.when_full == "block":
            detail = "must not be block: that waits up to a minute, and Segment 5 seconds"
            problems.append(Problem("when_full", detail))
        if problems:
            raise ConfigurationError(problems)
        self._destination = destination
        self._budget = float(budget)
        self._concurrency = concurrency
        self._stores = options.outbox is not None
        self._retry = options.retry

    def on_track(self, event: Mapping[str, Any]) -> Outcome:
        """Deliver a track event.

        Args:
            event: A Segment message of type `track`.

        Returns:
            What became of it: ACCEPTED by Kochava; with an outbox QUEUED, or DUPLICATE.

        Raises:
            InvalidEventPayload: it is malformed, or of another type; `problems` has every path.
            DropEvent: it is not meant for Kochava.
            ValidationError: Kochava refused it for good.
            RetryError: it is to be sent again.
        """
        return self._handle(event, "track")

    def on_identify(self, event: Mapping[str, Any]) -> Outcome:
        """Deliver an identify event, as an IdentityLink. Returns and raises as `on_track`."""
        return self._handle(event, "identify")

    def on_screen(self, event: Mapping[str, Any]) -> Outcome:
        """Deliver a screen event, if the option `screens` is set. Returns and raises as `on_track`."""
        return self._handle(event, "screen")

    def on_page(self, event: Mapping[str, Any]) -> Outcome:
        """Deliver a page event, if the option `screens` is set. Returns and raises as `on_track`."""
        return self._handle(event, "page")

    def on_group(self, event: Mapping[str, Any]) -> Outcome:
        """Kochava has nothing like groups: raises EventNotSupported."""
        return self._handle(event, "group")

    def on_alias(self, event: Mapping[str, Any]) -> Outcome:
        """Kochava has nothing like aliases: raises EventNotSupported."""
        return self._handle(event, "alias")

    def on_delete(self, event: Mapping[str, Any]) -> Outcome:
        """Forget a user, as `KochavaDestination.forget` does.

        Args:
            event: A Segment message of type `delete`.

        Raises:
            EventNotSupported: without an outbox, where nothing is known of users.
            InvalidEventPayload: it names no user.
            RetryError: the outbox could not be written; nothing was done.
        """
        return self._handle(event, "delete")

    def on_batch(self, events: Iterable[Mapping[str, Any]]) -> list[BatchEntry]:
        """Deliver events of any types, side by side, those of one device in their order.

        No event harms another. What could not be tried within the budget is answered with a status
        that makes Segment send it again.

        Args:
            events: Segment messages. 400 of a function or 1,000 of an action are well within the
                budget where Kochava answers as usual; those of one device come one after the other.

        Returns:
            One entry per event, in order: 200 for what was accepted, stored or filtered; 4xx or 501
            for what is discarded, and 429 or 5xx for what is to be sent again, with the reason.

        Raises:
            InvalidEventPayload: if it is no list of events.
        """
        ends = time.monotonic() + self._budget
        if isinstance(events, (Mapping, str, bytes)) or not isinstance(events, Iterable):
            raise InvalidEventPayload([Problem("$", "must be a list of events")])
        listed = list(events)
        outcomes = self._store_all(listed, ends) if self._stores else self._send_all(listed)
        _tell_filtered(outcomes)
        return [
            _TOO_LATE.copy() if outcome is None else self._entry(outcome, event)
            for event, outcome in zip(listed, outcomes, strict=True)
        ]

    def _handle(self, event: Mapping[str, Any], kind: str) -> Outcome:
        try:
            _check_type(event, kind)
            if self._stores:
                return self._destination.enqueue(event)
            if kind == "delete":
                raise EventNotSupported(_NO_DELETION, _message_id(event))
            receipt = self._destination.send(event, within=self._budget)
        except KochavaSegmentError as error:
            translated = self._meaning(error, event).translated(error)
            if translated is error:
                raise
            raise translated from error
        return Outcome(
            index=0,
            message_id=receipt.message_id,
            kind=OutcomeKind.ACCEPTED,
            receipt=receipt,
            warnings=receipt.warnings,
        )

    def _send_all(self, events: Sequence[Any]) -> list[Outcome | None]:
        outcomes: list[Outcome | None] = [None] * len(events)
        items = map(_or_not_supported, events)
        for outcome in self._destination.send_many(items, self._concurrency, within=self._budget):
            outcomes[outcome.index] = outcome
        return outcomes

    def _store_all(self, events: Sequence[Any], ends: float) -> list[Outcome | None]:
        """Store events in groups; None for what came too late.

        Of a group that failed some may be stored: sent again, the outbox knows them by messageId.
        """
        outcomes: list[Outcome | None] = []
        for start in range(0, len(events), _STORED_TOGETHER):
            if time.monotonic() >= ends:
                break
            try:
                outcomes += self._destination.enqueue_many(events[start : start + _STORED_TOGETHER])
            except OutboxError as error:
                # The rest as well: the next group would fail too, or overtake this one.
                outcomes += [
                    Outcome(index=index, message_id=None, kind=OutcomeKind.EXHAUSTED, error=error)
                    for index in range(start, len(events))
                ]
                break
        return outcomes + [None] * (len(events) - len(outcomes))

    def _entry(self, outcome: Outcome, event: Any) -> BatchEntry:
        if outcome.error is None:
            return BatchEntry(status=200)
        status = self._meaning(outcome.error, event).status_of(outcome.error)
        if status == 200:
            return BatchEntry(status=status)
        return BatchEntry(status=status, errormessage=str(outcome.error))

    def _meaning(self, error: KochavaSegmentError, event: Any) -> Meaning:
        repeat = True
        if isinstance(error, AmbiguousDelivery):
            action = self._destination.map(event).action
            repeat = self._retry.after_maybe_sent(action) == "retry"
        return meaning_of(error, repeat=repeat)


def _check_type(event: object, kind: str) -> None:
    if not isinstance(event, Mapping):
        raise InvalidEventPayload([Problem("$", "must be an object: a Segment message")])
    if event.get("type") != kind:
        problem = Problem("type", f"must be {kind}: on_batch takes events of every type")
        raise InvalidEventPayload([problem], _message_id(event))


def _or_not_supported(event: Any) -> Any:
    if isinstance(event, Mapping) and event.get("type") == "delete":
        return EventNotSupported(_NO_DELETION, _message_id(event))
    return event


def _message_id(event: Mapping[str, Any]) -> str | None:
    value = event.get("messageId")
    return value if isinstance(value, str) else None


def _tell_filtered(outcomes: Iterable[Outcome | None]) -> None:
    """Segment is only told that all is well with them: its answers have no room for a reason."""
    reasons = Counter(
        outcome.reason
        for outcome in outcomes
        if outcome is not None and outcome.kind is OutcomeKind.FILTERED
    )
    for reason, count in sorted(reasons.items()):
        FILTERED.log(count=count, reason=reason)


# With Segment's settings in place of a destination.


_kept = KeptDestinations(_KEPT)


def close_kept() -> None:
    """Close the destinations that were made for settings. Further calls make new ones."""
    _kept.close()


@contextmanager
def _functions(settings: Mapping[str, Any]) -> Iterator[Functions]:
    with ExitStack() as stack:
        try:
            functions = Functions(stack.enter_context(_kept.of(settings)))
        except ConfigurationError as error:
            detail = f"the settings are wrong: {spelt_as_settings(str(error))}"
            raise ValidationError(detail) from error
        yield functions


def on_track(event: Mapping[str, Any], settings: Mapping[str, Any]) -> Outcome:
    """As `Functions.on_track`, with Segment's `settings` in place of a destination.

    The destination is made once for equal settings, and kept; the 16 that were used last are.

    Args:
        event: A Segment message of type `track`.
        settings: Every option of `KochavaDestination`, in camelCase or snake_case, and `apiKey` for
            the App GUID where there is no `appGuid`; see docs/functions.md.

    Raises:
        ValidationError: also if the settings are wrong, with everything that is.
        FunctionError: as `Functions.on_track`.
    """
    with _functions(settings) as functions:
        return functions.on_track(event)


def on_identify(event: Mapping[str, Any], settings: Mapping[str, Any]) -> Outcome:
    """As `Functions.on_identify`, with settings; see `on_track`."""
    with _functions(settings) as functions:
        return functions.on_identify(event)


def on_screen(event: Mapping[str, Any], settings: Mapping[str, Any]) -> Outcome:
    """As `Functions.on_screen`, with settings; see `on_track`."""
    with _functions(settings) as functions:
        return functions.on_screen(event)


def on_page(event: Mapping[str, Any], settings: Mapping[str, Any]) -> Outcome:
    """As `Functions.on_page`, with settings; see `on_track`."""
    with _functions(settings) as functions:
        return functions.on_page(event)


def on_group(event: Mapping[str, Any], settings: Mapping[str, Any]) -> Outcome:
    """As `Functions.on_group`, with settings; see `on_track`."""
    with _functions(settings) as functions:
        return functions.on_group(event)


def on_alias(event: Mapping[str, Any], settings: Mapping[str, Any]) -> Outcome:
    """As `Functions.on_alias`, with settings; see `on_track`."""
    with _functions(settings) as functions:
        return functions.on_alias(event)


def on_delete(event: Mapping[str, Any], settings: Mapping[str, Any]) -> Outcome:
    """As `Functions.on_delete`, with settings; see `on_track`."""
    with _functions(settings) as functions:
        return functions.on_delete(event)


def on_batch(events: Iterable[Mapping[str, Any]], settings: Mapping[str, Any]) -> list[BatchEntry]:
    """As `Functions.on_batch`, with settings; see `on_track`."""
    with _functions(settings) as functions:
        return functions.on_batch(events)
