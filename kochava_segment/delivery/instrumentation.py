"""Hooks: who is told of attempts, retries and outcomes. Their data is free of content and secrets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from attrs import field, frozen

from kochava_segment.delivery.attempt import Attempt
from kochava_segment.log_events import (
    ATTEMPT,
    DELIVERED,
    HOOK_FAILED,
    NOT_DELIVERED,
    RETRY,
    Throttle,
    app_in_brief,
)
from kochava_segment.request import KochavaRequest

logging.getLogger("kochava_segment").addHandler(logging.NullHandler())
_logger = logging.getLogger("kochava_segment.delivery")
ACCEPTED = "accepted"


@frozen(kw_only=True)
class AttemptEvent:
    """An attempt has ended.

    Attributes:
        message_id: The Segment message's `messageId`, if it has one.
        action: `event`, `install`, `update` or `identity_link`.
        attempt: Its number, from 1.
        status: The answer's HTTP status; None where none came.
        detail: What became of it, as a few words without content.
        elapsed: Seconds that it took.
        maybe_sent: No answer came, but the request may have been counted.
        app_guid: The App GUID that the request is for.
        url: Where it was posted to.
    """

    message_id: str | None
    action: str
    attempt: int
    status: int | None
    detail: str
    elapsed: float
    maybe_sent: bool = False
    app_guid: str | None = None
    url: str = ""


@frozen(kw_only=True)
class RetryScheduledEvent:
    """An attempt failed and another will follow.

    Attributes:
        message_id: The Segment message's `messageId`, if it has one.
        action: `event`, `install`, `update` or `identity_link`.
        attempt: The number of the attempt that failed, from 1.
        status: Its answer's HTTP status; None where none came.
        wait: Seconds until the next attempt.
        app_guid: The App GUID that the request is for.
    """

    message_id: str | None
    action: str
    attempt: int
    status: int | None
    wait: float
    app_guid: str | None = None


@frozen(kw_only=True)
class OutcomeEvent:
    """A delivery has ended.

    Attributes:
        message_id: The Segment message's `messageId`, if it has one.
        action: `event`, `install`, `update` or `identity_link`.
        outcome: `accepted`, or the name of the delivery error.
        attempts: How many attempts it took.
        status: The last answer's HTTP status; None where none came.
        elapsed: Seconds that it took, waits included.
        app_guid: The App GUID that the request is for.
    """

    message_id: str | None
    action: str
    outcome: str
    attempts: int
    status: int | None
    elapsed: float
    app_guid: str | None = None


class DeliveryHook(Protocol):
    """Whom a destination tells of its deliveries.

    Called in the thread that delivers, of which pycurl has one for all requests of a `send_many` or a
    relay: be quick, or nothing else moves.
    """

    def attempt(self, event: AttemptEvent, /) -> None:
        """An attempt has ended."""

    def retry_scheduled(self, event: RetryScheduledEvent, /) -> None:
        """An attempt failed and another will follow."""

    def outcome(self, event: OutcomeEvent, /) -> None:
        """A delivery has ended."""


@frozen
class LoggingHook:
    """Logs deliveries: attempts and acceptance at DEBUG, retries at WARNING, failures at ERROR.

    While Kochava is away, thousands of attempts fail each second: of retries after one status, one in
    10 s is logged, with how many there were.
    """

    logger: logging.Logger = _logger
    _retries: Throttle = field(factory=Throttle, init=False, eq=False, repr=False)

    def attempt(self, event: AttemptEvent) -> None:
        """Log an attempt."""
        ATTEMPT.log(
            self.logger,
            action=event.action,
            message_id=event.message_id,
            attempt=event.attempt,
            reason=event.detail,
            status=event.status,
            elapsed=event.elapsed,
            app=app_in_brief(event.app_guid),
        )

    def retry_scheduled(self, event: RetryScheduledEvent) -> None:
        """Log a retry, or count it."""
        count = self._retries.take(event.status)
        if not count:
            return
        RETRY.log(
            self.logger,
            action=event.action,
            message_id=event.message_id,
            attempt=event.attempt,
            status=event.status,
            wait=event.wait,
            app=app_in_brief(event.app_guid),
            count=count,
        )

    def outcome(self, event: OutcomeEvent) -> None:
        """Log an outcome."""
        ended = DELIVERED if event.outcome == ACCEPTED else NOT_DELIVERED
        ended.log(
            self.logger,
            action=event.action,
            message_id=event.message_id,
            outcome=event.outcome,
            attempt=event.attempts,
            status=event.status,
            elapsed=event.elapsed,
            app=app_in_brief(event.app_guid),
        )


class Hooks:
    """Several hooks as one, none of which can harm a delivery."""

    def __init__(self, hooks: Sequence[DeliveryHook]) -> None:
        self._hooks = hooks
        self._failed: set[int] = set()

    @property
    def hear_details(self) -> bool:
        """Whether attempts and acceptance matter to anybody; if not, nobody need be told."""
        for hook in self._hooks:
            # Most often it is the only one, and DEBUG is off.
            if type(hook) is not LoggingHook or hook.logger.isEnabledFor(logging.DEBUG):
                return True
        return False

    def attempt(
        self, request: KochavaRequest, app_guid: str, number: int, attempt: Attempt
    ) -> None:
        """Tell all of a request's attempt, if that matters to anybody."""
        if self.hear_details:
            event = AttemptEvent(
                message_id=request.message_id,
                action=request.action,
                attempt=number,
                status=attempt.status,
                detail=attempt.detail if attempt.status is None else str(attempt.verdict),
                elapsed=attempt.elapsed,
                maybe_sent=attempt.maybe_sent,
                app_guid=app_guid,
                url=request.url,
            )
            for hook in self._hooks:
                self._call(hook, hook.attempt, event)

    def retry_scheduled(
        self, request: KochavaRequest, app_guid: str, number: int, status: int | None, wait: float
    ) -> None:
        """Tell all that the attempt of this number has failed, and when another follows."""
        event = RetryScheduledEvent(
            message_id=request.message_id,
            action=request.action,
            attempt=number,
            status=status,
            wait=wait,
            app_guid=app_guid,
        )
        for hook in self._hooks:
            self._call(hook, hook.retry_scheduled, event)

    def outcome(
        self,
        request: KochavaRequest,
        app_guid: str,
        outcome: str,
        *,
        attempts: int,
        status: int | None,
        elapsed: float,
    ) -> None:
        """Tell all of a request's outcome; of `accepted`, if that matters to anybody."""
        if outcome != ACCEPTED or self.hear_details:
            event = OutcomeEvent(
                message_id=request.message_id,
                action=request.action,
                outcome=outcome,
                attempts=attempts,
                status=status,
                elapsed=elapsed,
                app_guid=app_guid,
            )
            for hook in self._hooks:
                self._call(hook, hook.outcome, event)

    def _call(self, hook: DeliveryHook, method: Callable[[Any], None], event: object) -> None:
        try:
            method(event)
        except Exception as error:  # noqa: BLE001  # a hook may raise what it likes
            if id(hook) not in self._failed:  # once: a broken hook breaks at every event
                self._failed.add(id(hook))
                HOOK_FAILED.log(hook=type(hook).__name__, reason=type(error).__name__)
