"""What an attempt of a relay means for a request of an outbox: its new state, and how long it waits."""

from __future__ import annotations

import time
from collections.abc import Callable

from kochava_segment.delivery.answer import Verdict
from kochava_segment.delivery.attempt import Attempt
from kochava_segment.delivery.leases import LeasedRequest, Settled
from kochava_segment.delivery.retry import RetryPolicy

TOKEN_EXPIRED = "sent, but its AdServices token was older than the 24 h that Apple grants"  # noqa: S105  # no secret


def judge(leased: LeasedRequest, attempt: Attempt, policy: RetryPolicy) -> tuple[Settled, float]:
    """What an attempt makes of a request, and for how many seconds its lane is left alone."""
    if attempt.verdict is Verdict.CREDENTIALS:  # the app is paused, and nothing is held against it
        counted, wait, state = leased.attempts, 0.0, "waiting"
    else:
        counted = leased.attempts + (attempt.retry_after is None)
        state, wait = _STATES[attempt.verdict](leased, attempt, counted, policy)
    maybe_sent = leased.maybe_sent + attempt.maybe_sent
    if maybe_sent and state in ("rejected", "exhausted"):
        state = "ambiguous"
    reason: str | None = attempt.detail
    if state == "delivered":
        expires_at = leased.token_expires_at
        reason = TOKEN_EXPIRED if expires_at is not None and expires_at < time.time() else None
    settled = Settled(
        id=leased.id,
        state=state,
        attempts=counted,
        waited=leased.waited + wait,
        maybe_sent=maybe_sent,
        status=attempt.status,
        reason=reason,
    )
    return settled, wait


def _again(
    leased: LeasedRequest, attempt: Attempt, counted: int, policy: RetryPolicy
) -> tuple[str, float]:
    if attempt.maybe_sent and policy.after_maybe_sent(leased.request.action) != "retry":
        return "ambiguous", 0.0
    # Only what was waited counts against the deadline: clocks are turned, and processes restart.
    wait = policy.wait(
        counted=counted,
        failures=counted + 1,
        asked=attempt.retry_after,
        elapsed=leased.waited,
    )
    return ("exhausted", 0.0) if wait is None else ("waiting", wait)


_STATES: dict[Verdict, Callable[[LeasedRequest, Attempt, int, RetryPolicy], tuple[str, float]]] = {
    Verdict.ACCEPTED: lambda *_: ("delivered", 0.0),
    Verdict.REJECTED: lambda *_: ("rejected", 0.0),
    Verdict.RETRY: _again,
}
