"""What to do for a request, step by step, without doing it: no thread, no sleep, no socket.

The steps of a request are a generator. A driver takes the next step, does it, and tells what came of
it with `send()`, until the generator returns the Receipt or raises the DeliveryError. Pace, retries,
refused credentials and hooks are all decided here, the same for every driver.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from attrs import define, frozen

from kochava_segment.delivery.answer import Verdict
from kochava_segment.delivery.attempt import Attempt
from kochava_segment.delivery.instrumentation import ACCEPTED, DeliveryHook, Hooks
from kochava_segment.delivery.rate import RateLimiter
from kochava_segment.delivery.retry import Attempts, RetryPolicy
from kochava_segment.errors import (
    AmbiguousDelivery,
    CredentialsRejected,
    DeliveryError,
    Rejected,
    RetriesExhausted,
)
from kochava_segment.log_events import APP_LEFT_ALONE, app_in_brief
from kochava_segment.outcome import Receipt
from kochava_segment.request import KochavaRequest


@frozen
class Wait:
    """Wait so many seconds, which may be none. Tell whether the destination was closed meanwhile."""

    seconds: float


@frozen
class Post:
    """Post a request once, within so many seconds if any are given. Tell the Attempt that it was."""

    request: KochavaRequest
    seconds: float | None = None


_Result = TypeVar("_Result")
# They are told a bool after Wait, an Attempt after Post.
Steps = Generator[Wait | Post, Any, _Result]

_AT_ONCE = Wait(0.0)
_FINAL: dict[Verdict, type[DeliveryError]] = {
    Verdict.REJECTED: Rejected,
    Verdict.CREDENTIALS: CredentialsRejected,
}
_TOO_MANY_REQUESTS = 429
# Seconds. An attempt that has less would more likely lose its answer than get one, and a lost answer
# is worse than an attempt that was not made.
_LEAST_ATTEMPT = 0.5


class DeliverySteps:
    """Gives the steps of requests, and keeps what they share: the pace and the refusals.

    Args:
        retry: When to try again.
        limiter: The pace.
        hooks: Whom to tell.
        clock: Gives seconds that only grow.
    """

    def __init__(
        self,
        *,
        retry: RetryPolicy,
        limiter: RateLimiter,
        hooks: Sequence[DeliveryHook] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._retry = retry
        self._limiter = limiter
        self._hooks = Hooks(hooks)
        self._clock = clock
        self._refusals = _Refusals(clock)
        self._none_failed = Attempts(retry)

    def of(self, request: KochavaRequest, deadline: float = math.inf) -> Steps[Receipt]:
        """The steps of a request.

        Args:
            request: What is delivered.
            deadline: When all must be over, as the clock counts; no attempt is begun that has no
                time to end before.

        Raises:
            DeliveryError: as `KochavaDestination.send` says.
        """
        run = _Run(request, self._none_failed, self._clock, deadline)
        try:
            receipt = yield from self._until_settled(run)
        except DeliveryError as error:
            self._tell_outcome(run, type(error).__name__)
            raise
        self._tell_outcome(run, ACCEPTED)
        return receipt

    def _until_settled(self, run: _Run) -> Steps[Receipt]:
        while True:
            turn = self._limiter.reserve(run.left - _LEAST_ATTEMPT)
            run.check_open(closed=(yield self._pause(run, turn)))
            self._refusals.check(run)
            run.begin_attempt()
            attempt: Attempt = yield Post(run.request, run.limit)
            run.status = attempt.status
            self._hooks.attempt(run.request, run.app, run.attempts, attempt)
            self._learn_from(run, attempt)
            if attempt.verdict is Verdict.ACCEPTED:
                return run.receipt(attempt)
            if attempt.verdict is not Verdict.RETRY:
                raise run.error(_FINAL[attempt.verdict], attempt.detail)
            seconds = self._wait_after(run, attempt)
            self._hooks.retry_scheduled(run.request, run.app, run.attempts, run.status, seconds)
            run.check_open(closed=(yield self._pause(run, seconds)))

    def _pause(self, run: _Run, seconds: float) -> Wait:
        """A wait. Raises if there is no time for it."""
        if run.attempts and run.elapsed + seconds > self._retry.deadline:
            raise run.gave_up("the pace left no time for another attempt")
        if seconds + _LEAST_ATTEMPT > run.left:
            raise run.gave_up("the time that the caller gave left none for an attempt")
        return Wait(seconds) if seconds else _AT_ONCE

    def _learn_from(self, run: _Run, attempt: Attempt) -> None:
        """What an attempt teaches for other requests."""
        if attempt.verdict is Verdict.CREDENTIALS:
            self._refusals.add(run.app)
        elif attempt.status is not None:
            self._refusals.clear(run.app)
        if attempt.verdict is Verdict.ACCEPTED:
            self._limiter.speed_up()
        elif attempt.status == _TOO_MANY_REQUESTS:
            self._limiter.slow_down()

    def _wait_after(self, run: _Run, attempt: Attempt) -> float:
        """Seconds until the next attempt. Raises if there is to be none."""
        run.failed = run.failed.after(attempt)
        if attempt.maybe_sent and self._retry.after_maybe_sent(run.request.action) != "retry":
            raise run.gave_up("the answer was lost, and the policy is not to repeat it")
        seconds = run.failed.wait(run.elapsed)
        if seconds is None:
            raise run.gave_up(f"{attempt.detail}, and no time or attempt was left")
        if seconds + _LEAST_ATTEMPT > run.left:
            raise run.gave_up(f"{attempt.detail}, and the caller's time is up")
        return seconds

    def _tell_outcome(self, run: _Run, outcome: str) -> None:
        self._hooks.outcome(
            run.request,
            run.app,
            outcome,
            attempts=run.attempts,
            status=run.status,
            elapsed=run.elapsed,
        )


class _Run:
    """One request on its way."""

    __slots__ = (
        *("_clock", "_deadline", "_started"),
        *("app", "attempts", "failed", "request", "status"),
    )

    def __init__(
        self,
        request: KochavaRequest,
        failed: Attempts,
        clock: Callable[[], float],
        deadline: float,
    ) -> None:
        self.request = request
        self.app = request.ordering_key.partition("/")[0]
        self.attempts = 0
        self.status: int | None = None
        self.failed = failed
        self._clock = clock
        self._deadline = deadline
        self._started = 0.0

    def check_open(self, *, closed: bool) -> None:
        """Raise if the destination was closed meanwhile."""
        if closed:
            raise self.gave_up("the destination was closed")

    def begin_attempt(self) -> None:
        if not self.attempts:  # what it waited for its turn before is not its own fault
            self._started = self._clock()
        self.attempts += 1

    @property
    def elapsed(self) -> float:
        """Seconds since the first attempt began."""
        return self._clock() - self._started if self.attempts else 0.0

    @property
    def left(self) -> float:
        """Seconds until the caller wants an answer; infinite if it can wait."""
        return self._deadline - self._clock()

    @property
    def limit(self) -> float | None:
        """The same; None if it can wait."""
        return None if self._deadline == math.inf else self.left

    def receipt(self, attempt: Attempt) -> Receipt:
        return Receipt(
            message_id=self.request.message_id,
            action=self.request.action,
            status=attempt.status or 200,
            attempts=self.attempts,
            elapsed=self.elapsed,
            maybe_repeated=self.failed.maybe_sent,
            warnings=self.request.warnings,
        )

    def gave_up(self, detail: str) -> DeliveryError:
        """The error of a request that no attempt has settled."""
        return self.error(RetriesExhausted, detail)

    def error(self, kind: type[DeliveryError], detail: str) -> DeliveryError:
        """An error of this kind; ambiguous if an earlier attempt may have been counted."""
        if self.failed.maybe_sent:
            kind, detail = AmbiguousDelivery, f"it may have been counted, but {detail}"
        return kind(
            detail,
            message_id=self.request.message_id,
            attempts=self.attempts,
            status=self.status,
        )


@define
class _Refused:
    """How often an app's credentials were refused in a row, and until when to leave Kochava alone."""

    count: int = 0
    until: float = float("-inf")


class _Refusals:
    """Apps whose credentials Kochava refuses: to go on would be hammering.

    Threads share it without a lock: a refusal that is lost to a race is made up for by the next.
    """

    IN_A_ROW = 5
    SECONDS = 30.0  # in which an app's requests fail without being sent

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._apps: dict[str, _Refused] = {}

    def add(self, app: str) -> None:
        refused = self._apps.setdefault(app, _Refused())
        refused.count += 1
        if refused.count >= self.IN_A_ROW:
            now = self._clock()
            if refused.until <= now:  # others that were under way are refused as well
                APP_LEFT_ALONE.log(app=app_in_brief(app), count=refused.count, wait=self.SECONDS)
            refused.until = now + self.SECONDS

    def clear(self, app: str) -> None:
        self._apps.pop(app, None)

    def check(self, run: _Run) -> None:
        """Raise if the request's app is to be left alone."""
        refused = self._apps.get(run.app)
        if refused is not None and refused.until > self._clock():
            detail = (
                f"Kochava refused this app's credentials {self.IN_A_ROW} times in a row, "
                f"so nothing is sent for up to {self.SECONDS:.0f} s"
            )
            raise run.error(CredentialsRejected, detail)
