"""Requests that the emulator has nothing to say against, to start from."""

import json

from tests.messages import IDFA, IDFV, MISSING, changed

TRACK, LINK = "/track/json", "/v1/cpi/identityLink.php"
DELETION = "/accounts/7/apps/9/privacy/scrub"
HEADERS = {"Content-Type": "application/json"}

_DATA = {
    "device_ids": {"idfa": IDFA, "idfv": IDFV},
    "usertime": 1774029981,
    "origination_ip": "203.0.113.7",
    "device_ua": "Mozilla",
    "device_ver": "iPhone16,2-iOS-17.5",
    "app_version": "3.2.1",
    "app_tracking_transparency": {"att": True},
}
_ROOT = {"kochava_app_id": "koapp", "kochava_device_id": IDFV}
_BASES = {
    "event": {
        **_ROOT,
        "action": "event",
        "data": {**_DATA, "event_name": "Purchase", "event_data": {"price": 1}, "currency": "EUR"},
    },
    "install": {**_ROOT, "action": "install", "app_ver": "3.2.1", "data": _DATA},
    "update": {**_ROOT, "action": "update", "data": {"idfa": IDFA}},
    "deletion": {"device_ids": [{"id_type": "idfa", "id_value": IDFA}]},
    "link": {"kochava_app_id": "koapp", "device_id": {"idfa": IDFA}, "data": {"user_id": "u-42"}},
}


def payload(kind, **changes):
    """An event, install, update, link or deletion, changed as in `tests.messages`."""
    return changed(_BASES[kind], **changes)


def body(kind, **changes):
    return json.dumps(payload(kind, **changes), separators=(",", ":")).encode()


def path_of(kind):
    return {"link": LINK, "deletion": DELETION}.get(kind, TRACK)


__all__ = ["DELETION", "HEADERS", "LINK", "MISSING", "TRACK", "body", "path_of", "payload"]
