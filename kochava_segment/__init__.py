"""Send Segment events to Kochava: mapped, signed, retried, accounted for.

from kochava_segment import KochavaDestination

with KochavaDestination("koexample-app-guid") as kochava:
    receipt = kochava.send(message)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kochava_segment.async_destination import AsyncKochavaDestination
    from kochava_segment.delivery.answer import Answer, TransportFailure
    from kochava_segment.delivery.async_transport import AsyncTransport
    from kochava_segment.delivery.instrumentation import (
        AttemptEvent,
        DeliveryHook,
        LoggingHook,
        OutcomeEvent,
        RetryScheduledEvent,
    )
    from kochava_segment.delivery.outbox import Outbox
    from kochava_segment.delivery.outbox_inspection import OutboxStatus
    from kochava_segment.delivery.requests_transport import RequestsTransport
    from kochava_segment.delivery.retry import RetryPolicy
    from kochava_segment.delivery.transport import (
        DryRunTransport,
        RecordingTransport,
        Transport,
    )
    from kochava_segment.destination import KochavaDestination
    from kochava_segment.durable import Forgotten
    from kochava_segment.errors import (
        AmbiguousDelivery,
        ConfigurationError,
        CredentialsRejected,
        DeliveryError,
        EventFiltered,
        EventNotSupported,
        FilterReason,
        InvalidEventPayload,
        KochavaSegmentError,
        MappingError,
        OutboxError,
        OutboxFull,
        OutboxUnavailable,
        OutboxUnusable,
        Problem,
        Rejected,
        RetriesExhausted,
    )
    from kochava_segment.mapping.explain import ExplainedField, Explanation, LeftOut
    from kochava_segment.options import Options, PostbackFields
    from kochava_segment.outcome import Outcome, OutcomeKind, Receipt
    from kochava_segment.request import KochavaRequest, MappingWarning

    __version__: str

__all__ = [
    "AmbiguousDelivery",
    "Answer",
    "AsyncKochavaDestination",
    "AsyncTransport",
    "AttemptEvent",
    "ConfigurationError",
    "CredentialsRejected",
    "DeliveryError",
    "DeliveryHook",
    "DryRunTransport",
    "EventFiltered",
    "EventNotSupported",
    "ExplainedField",
    "Explanation",
    "FilterReason",
    "Forgotten",
    "InvalidEventPayload",
    "KochavaDestination",
    "KochavaRequest",
    "KochavaSegmentError",
    "LeftOut",
    "LoggingHook",
    "MappingError",
    "MappingWarning",
    "Options",
    "Outbox",
    "OutboxError",
    "OutboxFull",
    "OutboxStatus",
    "OutboxUnavailable",
    "OutboxUnusable",
    "Outcome",
    "OutcomeEvent",
    "OutcomeKind",
    "PostbackFields",
    "Problem",
    "Receipt",
    "RecordingTransport",
    "Rejected",
    "RequestsTransport",
    "RetriesExhausted",
    "RetryPolicy",
    "RetryScheduledEvent",
    "Transport",
    "TransportFailure",
    "__version__",
]

# Loaded at first use: the command line's --help and the pytest plugin need not wait for requests.
_MODULES = {
    "async_destination": ("AsyncKochavaDestination",),
    "delivery.answer": ("Answer", "TransportFailure"),
    "delivery.async_transport": ("AsyncTransport",),
    "delivery.instrumentation": (
        "AttemptEvent",
        "DeliveryHook",
        "LoggingHook",
        "OutcomeEvent",
        "RetryScheduledEvent",
    ),
    "delivery.outbox": ("Outbox",),
    "delivery.outbox_inspection": ("OutboxStatus",),
    "delivery.requests_transport": ("RequestsTransport",),
    "delivery.retry": ("RetryPolicy",),
    "delivery.transport": ("DryRunTransport", "RecordingTransport", "Transport"),
    "destination": ("KochavaDestination",),
    "durable": ("Forgotten",),
    "errors": (
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
    ),
    "mapping.explain": ("ExplainedField", "Explanation", "LeftOut"),
    "options": ("Options", "PostbackFields"),
    "outcome": ("Outcome", "OutcomeKind", "Receipt"),
    "request": ("KochavaRequest", "MappingWarning"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415

        value: Any = version("kochava-segment")
    elif name in _HOME:
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
