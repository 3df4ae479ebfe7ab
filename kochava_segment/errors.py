"""The error tree: everything that this library raises on purpose.

    KochavaSegmentError
    ├── ConfigurationError        an option is wrong (also a ValueError)
    ├── MappingError              this message gives no Kochava request
    │   ├── InvalidEventPayload   it is malformed; `problems` says where
    │   ├── EventNotSupported     Kochava has nothing like it (group, alias, …)
    │   └── EventFiltered         it is not meant for Kochava; `reason` says why
    ├── DeliveryError             the request did not get through
    │   ├── Rejected              Kochava refused it; sending it again will not help
    │   ├── CredentialsRejected   Kochava refused the API key or the signature
    │   ├── RetriesExhausted      it certainly was not counted; sending it again is safe
    │   └── AmbiguousDelivery     it may have been counted; sending it again may count twice
    └── OutboxError               the outbox did not take a request: it is the caller's still
        ├── OutboxFull            it has reached its size
        ├── OutboxUnavailable     disk full, read-only, or locked for too long
        └── OutboxUnusable        the file is damaged, of a newer version, or no outbox

No message contains values from an event, only the paths where they stand; none contains a secret.
All of them survive pickling, so that they cross process boundaries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

from attrs import frozen

__all__ = [
    "AmbiguousDelivery",
    "ConfigurationError",
    "CredentialsRejected",
    "DeliveryError",
    "EventFiltered",
    "EventNotSupported",
    "FilterReason",
    "InvalidEventPayload",
    "KochavaSegmentError",
    "MappingError",
    "OutboxError",
    "OutboxFull",
    "OutboxUnavailable",
    "OutboxUnusable",
    "Problem",
    "Rejected",
    "RetriesExhausted",
]


@frozen
class Problem:
    """One thing that is wrong, and where.

    Attributes:
        path: Where it stands: `context.device.id` in a message, the option's name in a configuration.
        detail: What is wrong there and what to do, as the rest of a sentence.
    """

    path: str
    detail: str

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}"


class FilterReason(str, Enum):
    """Why a message was not meant for Kochava. The first two are Segment's own words."""

    INTEGRATIONS = "FILTERED_BY_INTEGRATIONS_OBJECT"
    CONSENT = "FILTERED_BY_END_USER_CONSENT"
    LOOP = "LOOP"
    SCREENS_OFF = "SCREENS_OFF"
    NOTHING_TO_LINK = "NOTHING_TO_LINK"

    def __str__(self) -> str:
        return self.value


def _listed(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    # A string is a sequence too, of letters, and would only be found out where it is told.
    listed = tuple(problems)
    if not all(isinstance(problem, Problem) for problem in listed):
        raise TypeError("problems must be a list of Problem(path, detail)")
    return listed


class KochavaSegmentError(Exception):
    """The root: `except KochavaSegmentError` catches all that this library raises on purpose."""


class ConfigurationError(KochavaSegmentError, ValueError):
    """One or more options are wrong.

    Attributes:
        problems: All of them, each with the option's name as its path.

    Raises:
        TypeError: if they are no Problems.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = _listed(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "; ".join(map(str, self.problems))


class MappingError(KochavaSegmentError):
    """A message gives no Kochava request.

    Attributes:
        message_id: The message's `messageId`, if it has one.
    """

    message_id: str | None = None


class InvalidEventPayload(MappingError):
    """A message is malformed.

    Attributes:
        problems: Everything that is wrong with it, in the order in which it was found.
        message_id: The message's `messageId`, if it has one.

    Raises:
        TypeError: if they are no Problems.
    """

    def __init__(self, problems: Sequence[Problem], message_id: str | None = None) -> None:
        self.problems: tuple[Problem, ...] = _listed(problems)
        self.message_id = message_id
        super().__init__(self.problems, message_id)

    def __str__(self) -> str:
        return "; ".join(map(str, self.problems))


class EventNotSupported(MappingError):
    """Kochava has nothing that this type of message could become.

    Attributes:
        detail: The sentence that says so.
        message_id: The message's `messageId`, if it has one.
    """

    def __init__(self, detail: str, message_id: str | None = None) -> None:
        self.detail = detail
        self.message_id = message_id
        super().__init__(detail, message_id)

    def __str__(self) -> str:
        return self.detail


class EventFiltered(MappingError):
    """A message is not meant for Kochava. Not a failure: count it, do not retry it.

    Attributes:
        reason: Why, as a string enum.
        detail: The same as a sentence.
        message_id: The message's `messageId`, if it has one.

    Raises:
        ValueError: if the reason is none of FilterReason.
    """

    def __init__(self, reason: FilterReason, detail: str, message_id: str | None = None) -> None:
        try:
            self.reason: FilterReason = FilterReason(reason)
        except ValueError:
            words = ", ".join(FilterReason)
            raise ValueError(f"reason must be a FilterReason: {words}") from None
        self.detail = detail
        self.message_id = message_id
        super().__init__(reason, detail, message_id)

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class DeliveryError(KochavaSegmentError):
    """A request did not get through.

    Attributes:
        detail: What happened, as a sentence without content.
        message_id: The message's `messageId`, if it has one.
        attempts: How many times the request was tried.
        status: The HTTP status of the last answer; None where none came.
    """

    def __init__(
        self,
        detail: str,
        *,
        message_id: str | None = None,
        attempts: int = 0,
        status: int | None = None,
    ) -> None:
        self.detail = detail
        self.message_id = message_id
        self.attempts = attempts
        self.status = status
        super().__init__(detail)

    def __str__(self) -> str:
        tries = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        status = "no answer" if self.status is None else f"last status {self.status}"
        return f"{self.detail} ({tries}, {status})"

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.detail,), self.__dict__


class Rejected(DeliveryError):
    """Kochava refused the request for good: it is not counted, and repeating it will not help."""


class CredentialsRejected(DeliveryError):
    """Kochava refused the API key or the signature. Check `api_key` and `api_secret`."""


class RetriesExhausted(DeliveryError):
    """Every attempt failed, and none can have been counted: the request can be sent again."""


class AmbiguousDelivery(DeliveryError):
    """An attempt may have been counted: its answer was lost. Sending it again may count it twice."""


class OutboxError(KochavaSegmentError):
    """The outbox did not take a request, which is still the caller's: nothing of it was stored."""


class OutboxFull(OutboxError):
    """The outbox has reached its size, and `when_full` says not to make room."""


class OutboxUnavailable(OutboxError):
    """The outbox cannot be written at present: the disk is full, say, or the file read-only."""


class OutboxUnusable(OutboxError):
    """The file is damaged, was written by a newer version, or is no outbox. It was not changed."""
