"""Messages that the tests start from: whole ones, changed where a test needs it."""

from __future__ import annotations

import copy
from typing import Any

IDFA = "EA7583CD-A667-48BC-B806-42ECB2B48606"
IDFV = "7F2A1C5E-0B1D-4E0B-9E6F-3C2A9D1B4F10"
ADID = "38400000-8cf0-11bd-b23e-10b96e40000d"
ANDROID_ID = "9774d56d682e549c"

_IOS: dict[str, Any] = {
    "type": "track",
    "messageId": "m-1",
    "userId": "u-42",
    "anonymousId": "a-42",
    "event": "Level Up",
    "properties": {"level": "3"},
    "timestamp": "2026-03-20T18:06:56.900Z",
    "context": {
        "app": {"version": "3.2.1", "namespace": "com.example.skis"},
        "device": {
            "id": IDFV,
            "advertisingId": IDFA,
            "adTrackingEnabled": True,
            "trackingStatus": "authorized",
            "type": "ios",
            "model": "iPhone16,2",
        },
        "os": {"name": "iOS", "version": "17.5"},
        "ip": "203.0.113.7",
        "userAgent": "Mozilla/5.0 (iPhone)",
    },
}
_ANDROID_CONTEXT: dict[str, Any] = {
    "app": {"version": "3.2.1", "namespace": "com.example.skis"},
    "device": {
        "id": ANDROID_ID,
        "advertisingId": ADID,
        "adTrackingEnabled": True,
        "type": "android",
        "model": "Pixel 8",
    },
    "os": {"name": "Android", "version": "14"},
    "ip": "203.0.113.8",
    "userAgent": "Dalvik/2.1.0",
}

MISSING = object()


def ios(**changes: Any) -> dict[str, Any]:
    """An iOS track message; a change's name is a path with `__` for dots."""
    return changed(_IOS, **changes)


def android(**changes: Any) -> dict[str, Any]:
    """An Android track message."""
    return changed({**_IOS, "context": _ANDROID_CONTEXT}, **changes)


def changed(message: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A deep copy of a message with values set at paths, or removed with MISSING."""
    message = copy.deepcopy(message)
    for path, value in changes.items():
        *parents, last = path.split("__")
        inner = message
        for parent in parents:
            inner = inner.setdefault(parent, {})
        if value is MISSING:
            inner.pop(last, None)
        else:
            inner[last] = value
    return message
