"""Types for type checkers: Segment's messages, which go in, and Kochava's payloads, which come out.

They are plain dicts at run time, and nothing of the library needs them there: import them where you
want your messages checked. Whatever takes a message takes a mapping of any kind as well.

    from kochava_segment.types import TrackMessage

    message: TrackMessage = {"type": "track", "event": "Order Completed", "properties": {"revenue": 9}}
"""

from __future__ import annotations

from kochava_segment.types.messages import (
    Context,
    ContextApp,
    ContextCampaign,
    ContextConsent,
    ContextDevice,
    ContextOS,
    ContextPersonas,
    IdentifyMessage,
    KochavaOptions,
    PageMessage,
    ScreenMessage,
    SegmentMessage,
    TrackMessage,
)
from kochava_segment.types.payloads import (
    AppTrackingTransparency,
    DataSubjectDevice,
    DeviceData,
    EventData,
    GdprPrivacyConsent,
    IadAttributionDetails,
    IdfaData,
    KochavaDataSubjectRequest,
    KochavaEvent,
    KochavaIdentityLink,
    KochavaIdfaUpdate,
    KochavaInstall,
    KochavaPayload,
    KochavaTrackPayload,
)

__all__ = [
    "AppTrackingTransparency",
    "Context",
    "ContextApp",
    "ContextCampaign",
    "ContextConsent",
    "ContextDevice",
    "ContextOS",
    "ContextPersonas",
    "DataSubjectDevice",
    "DeviceData",
    "EventData",
    "GdprPrivacyConsent",
    "IadAttributionDetails",
    "IdentifyMessage",
    "IdfaData",
    "KochavaDataSubjectRequest",
    "KochavaEvent",
    "KochavaIdentityLink",
    "KochavaIdfaUpdate",
    "KochavaInstall",
    "KochavaOptions",
    "KochavaPayload",
    "KochavaTrackPayload",
    "PageMessage",
    "ScreenMessage",
    "SegmentMessage",
    "TrackMessage",
]
