"""What became of a message: a Receipt when Kochava took it, an Outcome in any case."""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from kochava_segment.errors import (
    AmbiguousDelivery,
    ConfigurationError,
    CredentialsRejected,
    EventFiltered,
    EventNotSupported,
    InvalidEventPayload,
    KochavaSegmentError,
    Rejected,
    RetriesExhausted,
)
from kochava_segment.request import KochavaRequest, MappingWarning


@frozen(kw_only=True)
class Receipt:
    """Kochava answered that it took a request.

    That proves acceptance, not ingestion: accounts without the S2S feature get the same answer.

    Attributes:
        message_id: The Segment message's `messageId`, if it has one.
        action: `event`, `install`, `update` or `identity_link`.
        status: The HTTP status of the answer.
        attempts: How many times the request was tried, the accepted attempt included.
        elapsed: Seconds from the first attempt to the answer, waits included.
        maybe_repeated: An earlier attempt of this request may have been counted as well.
        warnings: What the mapping found odd about the message.
    """

    message_id: str | None
    action: str
    status: int
    attempts: int
    elapsed: float
    maybe_repeated: bool = False
    warnings: tuple[MappingWarning, ...] = ()


class OutcomeKind(str, Enum):
    """What can become of a message: the first seven when it is sent, the last two when it is queued."""

    ACCEPTED = "accepted"
    FILTERED = "filtered"
    INVALID = "invalid"
    UNSUPPORTED = "unsupported"
    REJECTED = "rejected"
    EXHAUSTED = "exhausted"
    AMBIGUOUS = "ambiguous"
    QUEUED = "queued"
    DUPLICATE = "duplicate"

    def __str__(self) -> str:
        return self.value


@frozen(kw_only=True)
class Outcome:
    """What became of one message of `send_many`, `enqueue` or `enqueue_many`.

    Attributes:
        index: The message's place in the input, from 0.
        message_id: Its `messageId`, if it has one.
        kind: What became of it.
        receipt: Kochava's receipt where it was accepted, else None.
        error: What stopped it where it was not accepted, else None.
        warnings: What the mapping found odd about it.
    """

    index: int
    message_id: str | None
    kind: OutcomeKind
    receipt: Receipt | None = None
    error: KochavaSegmentError | None = None
    warnings: tuple[MappingWarning, ...] = ()

    @property
    def reason(self) -> str | None:
        """Why it was not accepted, without content: a FilterReason's value, or a sentence."""
        if isinstance(self.error, EventFiltered):
            return self.error.reason.value
        return None if self.error is None else str(self.error)

    @classmethod
    def of_receipt(cls, index: int, receipt: Receipt) -> Outcome:
        """The outcome of a message that Kochava took."""
        return cls(
            index=index,
            message_id=receipt.message_id,
            kind=OutcomeKind.ACCEPTED,
            receipt=receipt,
            warnings=receipt.warnings,
        )

    @classmethod
    def of_error(
        cls, index: int, error: KochavaSegmentError, request: KochavaRequest | None = None
    ) -> Outcome:
        """The outcome of a message that was stopped by an error, if need be as a request."""
        return cls(
            index=index,
            message_id=getattr(error, "message_id", None),
            kind=next(kind for known, kind in _KINDS if isinstance(error, known)),
            error=error,
            warnings=() if request is None else request.warnings,
        )


_KINDS: tuple[tuple[type[KochavaSegmentError], OutcomeKind], ...] = (
    (EventFiltered, OutcomeKind.FILTERED),
    (EventNotSupported, OutcomeKind.UNSUPPORTED),
    (InvalidEventPayload, OutcomeKind.INVALID),
    (ConfigurationError, OutcomeKind.INVALID),  # no App GUID for this message
    (Rejected, OutcomeKind.REJECTED),
    (CredentialsRejected, OutcomeKind.REJECTED),
    (RetriesExhausted, OutcomeKind.EXHAUSTED),
    (AmbiguousDelivery, OutcomeKind.AMBIGUOUS),
    (KochavaSegmentError, OutcomeKind.INVALID),  # of a reader's own, for what it could not read
)
