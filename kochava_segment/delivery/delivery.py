"""Delivers requests: attempts, waits and retries until there is a receipt or an error."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from attrs import define

from kochava_segment.delivery.answer import (
    Answer,
    TransportFailure,
    Verdict,
    classify,
    retry_after,
)
from kochava_segment.delivery.instrumentation import (
    AttemptEvent,
    DeliveryHook,
    Hooks,
    OutcomeEvent,
    RetryScheduledEvent,
)
from kochava_segment.delivery.rate import RateLimiter
from kochava_segment.delivery.retry import Attempt, Attempts, RetryPolicy
from kochava_segment.delivery.transport import Transport
from kochava_segment.errors import (
    AmbiguousDelivery,
    CredentialsRejected,
    DeliveryError,
    Rejected,
    RetriesExhausted,
)
from kochava_segment.outcome import Receipt
from kochava_segment.request import KochavaRequest

_REFUSALS_IN_A_ROW = 5
_REFUSED_FOR = 30.0  # seconds in which an app's requests fail without being sent


@define
class _Refusals:
    """How often Kochava refused an app's credentials in a row, and until when to leave it alone."""

    count: int = 0
    until: float = 0.0


class Delivery:
    """Takes requests through a transport. Shared by all threads of a destination.

    Args:
        transport: Posts a request once.
        retry: When to try again.
        limiter: The pace.
        hooks: Whom to tell.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        retry: RetryPolicy,
        limiter: RateLimiter,
        hooks: Sequence[DeliveryHook] = (),
    ) -> None:
        self._transport = transport
        self._retry = retry
        self._limiter = limiter
        self._hooks = Hooks(hooks)
        self._stopped = threading.Event()
        self._refusals: dict[str, _Refusals] = {}

    def stop(self) -> None:
        """Wake everything that waits; each ends with the error of what is known of it so far."""
        self._stopped.set()

    def deliver(self, request: KochavaRequest) -> Receipt:
        """Deliver a request.

        Raises:
            DeliveryError: as `KochavaDestination.send` says.
        """
        run = _Run(request, self._retry)
        try:
            receipt = self._attempt_until_done(run)
        except DeliveryError as error:
            self._tell_outcome(run, type(error).__name__)
            raise
        self._tell_outcome(run, "accepted")
        return receipt

    def _attempt_until_done(self, run: _Run) -> Receipt:
        self._check_refusals(run)
        while True:
            if self._stopped.is_set() or self._stopped.wait(self._limiter.reserve()):
                raise run.gave_up("the destination was closed")
            result = self._attempt(run)
            if isinstance(result, Receipt):
                return result
            run.failed = run.failed.after(result)
            if result.maybe_sent and self._retry.after_maybe_sent(run.request.action) != "retry":
                raise run.gave_up("the answer was lost, and the policy is not to repeat it")
            wait = run.failed.wait(run.elapsed)
            if wait is None:
                raise run.gave_up(result.detail)
            self._hooks.retry_scheduled(
                RetryScheduledEvent(
                    message_id=run.request.message_id,
                    action=run.request.action,
                    attempt=run.attempts,
                    status=result.status,
                    wait=wait,
                )
            )
            if self._stopped.wait(wait):
                raise run.gave_up("the destination was closed")

    def _attempt(self, run: _Run) -> Receipt | Attempt:
        """Try once: a receipt, or what a later attempt may mend. Raises what none can."""
        run.attempts += 1
        began = time.monotonic()
        try:
            answer = self._transport.send(run.request)
        except TransportFailure as failure:
            run.status = None
            attempt = Attempt(maybe_sent=failure.maybe_sent, detail=failure.detail)
        except Exception as error:  # noqa: BLE001  # a transport of the user's own
            run.status = None
            attempt = Attempt(
                maybe_sent=True, detail=f"the transport raised {type(error).__name__}"
            )
        else:
            run.status = answer.status
            verdict = classify(answer)
            self._tell_attempt(run, began, str(verdict))
            return self._judge(run, answer, verdict)
        self._tell_attempt(run, began, attempt.detail, maybe_sent=attempt.maybe_sent)
        return attempt

    def _judge(self, run: _Run, answer: Answer, verdict: Verdict) -> Receipt | Attempt:
        if verdict is Verdict.CREDENTIALS:
            self._refuse(run.app)
            raise run.error(CredentialsRejected, "Kochava refused the API key or the signature")
        self._refusals.pop(run.app, None)
        if verdict is Verdict.ACCEPTED:
            self._limiter.speed_up()
            return run.receipt()
        if verdict is Verdict.REJECTED:
            raise run.error(Rejected, "Kochava refused the request")
        if answer.status == 429:
            self._limiter.slow_down()
        return Attempt(
            status=answer.status,
            retry_after=retry_after(answer),
            detail=f"Kochava answered {answer.status} until there was no time or attempt left",
        )

    def _check_refusals(self, run: _Run) -> None:
        refusals = self._refusals.get(run.app)
        if refusals is not None and refusals.until > time.monotonic():
            detail = (
                f"Kochava refused this app's credentials {_REFUSALS_IN_A_ROW} times in a row; "
                f"nothing was sent, and nothing will be for up to {_REFUSED_FOR:.0f} s"
            )
            raise run.error(CredentialsRejected, detail)

    def _refuse(self, app: str) -> None:
        refusals = self._refusals.setdefault(app, _Refusals())
        refusals.count += 1
        if refusals.count >= _REFUSALS_IN_A_ROW:
            refusals.until = time.monotonic() + _REFUSED_FOR

    def _tell_attempt(
        self, run: _Run, began: float, detail: str, *, maybe_sent: bool = False
    ) -> None:
        self._hooks.attempt(
            AttemptEvent(
                message_id=run.request.message_id,
                action=run.request.action,
                attempt=run.attempts,
                status=run.status,
                detail=detail,
                elapsed=time.monotonic() - began,
                maybe_sent=maybe_sent,
            )
        )

    def _tell_outcome(self, run: _Run, outcome: str) -> None:
        self._hooks.outcome(
            OutcomeEvent(
                message_id=run.request.message_id,
                action=run.request.action,
                outcome=outcome,
                attempts=run.attempts,
                status=run.status,
                elapsed=run.elapsed,
            )
        )


class _Run:
    """One request on its way."""

    __slots__ = ("attempts", "failed", "request", "started", "status")

    def __init__(self, request: KochavaRequest, policy: RetryPolicy) -> None:
        self.request = request
        self.started = time.monotonic()
        self.attempts = 0
        self.status: int | None = None
        self.failed = Attempts(policy)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    @property
    def app(self) -> str:
        return self.request.ordering_key.partition("/")[0]

    def receipt(self) -> Receipt:
        return Receipt(
            message_id=self.request.message_id,
            action=self.request.action,
            status=self.status or 200,
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
