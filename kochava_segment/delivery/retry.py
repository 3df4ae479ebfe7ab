"""When to try again, and when to stop: an immutable policy and the history it judges."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Literal

import attrs
from attrs import evolve, frozen

from kochava_segment.delivery.attempt import Attempt
from kochava_segment.errors import ConfigurationError, Problem

MaybeSent = Literal["retry", "give_up"]
_MOST_SECONDS = 10.0**9
_LEAST_WAIT = 0.5  # seconds, for each answer before that asked to come back
ACTIONS = ("event", "install", "update", "identity_link")


@frozen(kw_only=True)
class RetryPolicy:
    """How often and how long to try, with full jitter: a wait is random, up to a growing bound.

    `Retry-After` is honoured up to its own cap, and an answer that carries it does not count as an
    attempt: the server said when to come back. The deadline bounds everything.

    Attributes:
        max_attempts: Attempts in all, the first included.
        base: Seconds up to which the first wait is drawn; the bound doubles with each attempt.
        cap: The largest such bound, in seconds.
        deadline: Seconds from the first attempt after which no other is started.
        retry_after_cap: The longest wait, in seconds, that `Retry-After` can ask for.
        maybe_sent: What to do after a failure in which the request may have been counted: "retry",
            as Segment itself does, or "give_up" as ambiguous. One word for all actions, or a
            mapping of actions (`event`, `install`, `update`, `identity_link`) to words; actions
            that it leaves out are retried.

    Raises:
        ConfigurationError: with everything that is wrong.
    """

    max_attempts: int = 5
    base: float = 0.5
    cap: float = 30.0
    deadline: float = 60.0
    retry_after_cap: float = 60.0
    maybe_sent: MaybeSent | Mapping[str, MaybeSent] = "retry"

    def __attrs_post_init__(self) -> None:
        problems = [
            Problem(f"retry.{name}", detail)
            for name, (test, detail) in _CHECKS.items()
            if not test(getattr(self, name))
        ]
        if problems:
            raise ConfigurationError(problems)

    @classmethod
    def from_mapping(
        cls, values: Mapping[str, Any], default: RetryPolicy | None = None
    ) -> RetryPolicy:
        """A policy from fields by name; numbers may be text, as in environment variables.

        Args:
            values: The fields.
            default: The policy that has the others; by default, that of the class.

        Raises:
            ConfigurationError: with everything that is wrong.
        """
        known = [field.name for field in attrs.fields(cls)]
        unknown = [name for name in values if name not in known]
        if unknown:
            detail = f"is not a field of a retry policy; there are {', '.join(known)}"
            raise ConfigurationError([Problem(f"retry.{name}", detail) for name in unknown])
        fields = {name: _number(name, value) for name, value in values.items()}
        return evolve(cls() if default is None else default, **fields)

    def after_maybe_sent(self, action: str) -> str:
        """What to do when a request of this action may have been counted: "retry" or "give_up"."""
        if isinstance(self.maybe_sent, str):
            return self.maybe_sent
        return self.maybe_sent.get(action, "retry")

    def wait(
        self,
        *,
        counted: int,
        failures: int,
        asked: float | None,
        elapsed: float,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> float | None:
        """Seconds to wait before the next attempt; None if there is to be none.

        Args:
            counted: How many failed attempts count against `max_attempts`.
            failures: How many have failed in all.
            asked: The seconds that the last answer asked to wait, None where it did not.
            elapsed: Seconds since the first attempt began.
            uniform: Draws the wait.
        """
        if counted >= self.max_attempts:
            return None
        if asked is not None:
            seconds = min(asked, self.retry_after_cap)
            # A server that says "at once" over and over would be hammered until the deadline.
            seconds = max(seconds, min(_LEAST_WAIT * failures, self.retry_after_cap))
        else:
            # The exponent is bounded so that a float can hold the result.
            seconds = uniform(0.0, min(self.cap, self.base * 2.0 ** min(counted - 1, 64)))
        return seconds if elapsed + seconds <= self.deadline else None


def _number(name: str, value: Any) -> Any:
    if not isinstance(value, str) or name == "maybe_sent":
        return value
    try:
        return int(value) if name == "max_attempts" else float(value)
    except ValueError:
        return value


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_seconds(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return 0 <= value <= _MOST_SECONDS  # which is also false of NaN


def _is_maybe_sent(value: object) -> bool:
    words = ("retry", "give_up")
    if isinstance(value, Mapping):
        return all(key in ACTIONS and word in words for key, word in value.items())
    return value in words


_SECONDS = (_is_seconds, "must be a number of seconds, not negative")
_CHECKS: dict[str, tuple[Callable[[object], bool], str]] = {
    "max_attempts": (_is_count, "must be a whole number from 1 on"),
    "base": _SECONDS,
    "cap": _SECONDS,
    "deadline": _SECONDS,
    "retry_after_cap": _SECONDS,
    "maybe_sent": (
        _is_maybe_sent,
        f"must be retry or give_up, or a mapping of {', '.join(ACTIONS)} to these",
    ),
}


@frozen
class Attempts:
    """The failed attempts of one request so far. Each failure gives a new value."""

    policy: RetryPolicy
    history: tuple[Attempt, ...] = ()
    maybe_sent: bool = False  # any of them

    def after(self, attempt: Attempt) -> Attempts:
        """These attempts and one more."""
        return evolve(
            self,
            history=(*self.history, attempt),
            maybe_sent=self.maybe_sent or attempt.maybe_sent,
        )

    @property
    def counted(self) -> int:
        """How many of them count against `max_attempts`."""
        return sum(attempt.retry_after is None for attempt in self.history)

    def wait(
        self, elapsed: float, uniform: Callable[[float, float], float] = random.uniform
    ) -> float | None:
        """Seconds to wait before the next attempt; None if there is to be none.

        Args:
            elapsed: Seconds since the first attempt began.
            uniform: Draws the wait.
        """
        return self.policy.wait(
            counted=self.counted,
            failures=len(self.history),
            asked=self.history[-1].retry_after,
            elapsed=elapsed,
            uniform=uniform,
        )
