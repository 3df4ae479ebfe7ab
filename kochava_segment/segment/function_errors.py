"""What Segment's functions raise, and what each of the library's errors is for Segment.

What a handler raises is one of these, and nothing else on purpose:

    KochavaSegmentError
    ├── MappingError
    │   ├── InvalidEventPayload   discarded: the event is malformed
    │   └── EventNotSupported     discarded: Kochava has nothing like it
    └── FunctionError             Segment's other names; `__cause__` is the library's own error
        ├── ValidationError       discarded: wrong settings, or Kochava refused the event for good
        ├── RetryError            to be sent again, as Segment does for four hours
        └── DropEvent             discarded: the event is not meant for Kochava; nothing is wrong

They live here, for only functions speak of them so: elsewhere the library's own errors say more.
Sources: Segment, *Destination Functions: errors and error handling*, *Batch handlers*.
"""

from __future__ import annotations

from attrs import frozen

from kochava_segment.errors import (
    AmbiguousDelivery,
    CredentialsRejected,
    EventFiltered,
    EventNotSupported,
    InvalidEventPayload,
    KochavaSegmentError,
    OutboxError,
    Rejected,
    RetriesExhausted,
)


class FunctionError(KochavaSegmentError):
    """A handler did not deliver its event.

    Attributes:
        detail: Why, as a sentence without content.
        message_id: The event's `messageId`, if it has one.
        status: The HTTP status that says the same to Segment; unless given, 400 for a
            ValidationError, 503 for a RetryError, 200 for a DropEvent.
    """

    _usual_status: int = 400

    def __init__(
        self, detail: str, *, message_id: str | None = None, status: int | None = None
    ) -> None:
        self.detail = detail
        self.message_id = message_id
        self.status: int = self._usual_status if status is None else status
        super().__init__(detail)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.detail,), self.__dict__


class ValidationError(FunctionError):
    """The event cannot be delivered, and sending it again will not help."""


class RetryError(FunctionError):
    """The event was not delivered, or perhaps not: it is to be sent again later."""

    _usual_status: int = 503


class DropEvent(FunctionError):
    """The event is not meant for Kochava. Not a failure."""

    _usual_status: int = 200


_PERMANENT = frozenset(range(400, 500))
_RETRIED = frozenset({429, *range(500, 600)}) - {501, 505}


@frozen
class Meaning:
    """What an error of the library is for Segment.

    Attributes:
        error: The library's error.
        raised: What a handler raises for it; None for the error itself.
        status: What Segment is told.
        own: Statuses of Kochava's answer that are passed on in its place.
    """

    error: type[KochavaSegmentError]
    raised: type[FunctionError] | None
    status: int
    own: frozenset[int] = frozenset()

    def status_of(self, error: KochavaSegmentError) -> int:
        """The status for an error that means this."""
        status: int = getattr(error, "status", None) or self.status
        return status if status in self.own else self.status

    def translated(self, error: KochavaSegmentError) -> KochavaSegmentError:
        """What a handler raises for an error that means this."""
        if self.raised is None:
            return error
        message_id: str | None = getattr(error, "message_id", None)
        return self.raised(str(error), message_id=message_id, status=self.status_of(error))


_MEANINGS = (
    Meaning(EventFiltered, DropEvent, 200),
    Meaning(EventNotSupported, None, 501),
    Meaning(InvalidEventPayload, None, 400),
    Meaning(CredentialsRejected, ValidationError, 401, frozenset({401, 403})),
    Meaning(Rejected, ValidationError, 400, _PERMANENT),
    Meaning(RetriesExhausted, RetryError, 503, _RETRIED),
    Meaning(AmbiguousDelivery, RetryError, 503, _RETRIED),
    Meaning(OutboxError, RetryError, 503),
    Meaning(FunctionError, None, 400, frozenset(range(200, 600))),  # of a handler's own
    Meaning(KochavaSegmentError, ValidationError, 400),  # no App GUID for this event, above all
)

# Who would rather miss an event than count it twice does not want it from Segment again either.
_NOT_REPEATED = Meaning(AmbiguousDelivery, ValidationError, 400)


def meaning_of(error: KochavaSegmentError, *, repeat: bool = True) -> Meaning:
    """What an error is for Segment.

    Args:
        error: The library's error.
        repeat: Whether an event that may have been counted is to be sent again.
    """
    if isinstance(error, AmbiguousDelivery) and not repeat:
        return _NOT_REPEATED
    return next(meaning for meaning in _MEANINGS if isinstance(error, meaning.error))
