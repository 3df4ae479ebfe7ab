"""The rules of `/track/json`: required fields and the types of all others. Broken, they are errors.

The tables of names stand here once more, beside those of the mapping, on purpose: a slip in the
mapping's table would go unseen if both looked things up in the same one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any

from attrs import frozen

from kochava_segment.emulator.rule import (
    DEVICE,
    EVENT,
    EVENT_EXAMPLES,
    EVENT_SETUP,
    INSTALL_SETUP,
    SENDERS,
    TRACK,
    UPDATE,
    Finding,
    Rule,
    Sent,
)

# Seconds reach it in the year 5138, milliseconds reached it in 1973.
_FIRST_MILLISECONDS = 10**11

_CURRENCY = re.compile(r"[A-Z]{3}")

RESERVED_KEYS = frozenset(
    "network source fb_campaign campaign site creative attribution_type integration_type "
    "integration_version cracked jailbroken".split()
)


@frozen
class Kind:
    """A kind of JSON value.

    Attributes:
        fits: Whether a value is of it.
        must: The rest of the sentence that asks for it.
    """

    fits: Callable[[Any], bool]
    must: str


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_seconds(value: Any) -> bool:
    return _is_whole(value) and 0 <= value < _FIRST_MILLISECONDS


def _is_address(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(ipaddress.ip_address(value))
    except ValueError:
        return False


def is_text(value: Any) -> bool:
    """Whether a value is a string with more than white space in it."""
    return isinstance(value, str) and bool(value.strip())


_STRING = Kind(lambda value: isinstance(value, str), "must be a string")
_TEXT = Kind(is_text, "must be a string that is not blank")
_FLAG = Kind(lambda value: isinstance(value, bool), "must be true or false")
_BIT = Kind(lambda value: _is_whole(value) and value in (0, 1), "must be 0 or 1")
_OBJECT = Kind(lambda value: isinstance(value, dict), "must be an object")
_WHOLE = Kind(_is_whole, "must be a whole number of epoch seconds")
_SECONDS = Kind(_is_seconds, "must be a whole number of epoch seconds, not milliseconds")
_DURATION = Kind(
    lambda value: _is_whole(value) and value >= 0, "must be a whole number of seconds, 0 or more"
)
_CURRENCY_CODE = Kind(
    lambda value: isinstance(value, str) and _CURRENCY.fullmatch(value) is not None,
    "must be an ISO 4217 code: three upper-case letters",
)
_ADDRESS = Kind(_is_address, "must be an IPv4 or IPv6 address")
_ACTION = Kind(
    lambda value: value in ("event", "install", "update"), "must be event, install or update"
)


def _required(code: str, key: str, kind: Kind, source: str = EVENT_SETUP) -> Rule:
    """A field of the root that has to be there."""

    def find(sent: Sent) -> Iterator[Finding]:
        if not kind.fits(sent.payload.get(key)):
            yield key, kind.must

    return Rule(code, "error", TRACK, f"`{key}` {kind.must}", source, find)


def _typed(code: str, key: str, kind: Kind, source: str = EVENT_SETUP) -> Rule:
    """A field of `data` that may be missing."""

    def find(sent: Sent) -> Iterator[Finding]:
        if key in sent.data and not kind.fits(sent.data[key]):
            yield f"data.{key}", kind.must

    return Rule(code, "error", DEVICE, f"`data.{key}` {kind.must}", source, find)


def _object(
    code: str, key: str, members: dict[str, Kind], source: str, *, required: str | None = None
) -> Rule:
    """An object in `data` whose members have types."""

    def find(sent: Sent) -> Iterator[Finding]:
        value = sent.data.get(key, sent)
        if value is sent:
            return
        if not isinstance(value, dict):
            yield f"data.{key}", _OBJECT.must
            return
        for name, kind in members.items():
            if name in value or name == required:
                if not kind.fits(value.get(name)):
                    yield f"data.{key}.{name}", kind.must

    asked = "; ".join(f"`{name}` {kind.must}" for name, kind in members.items())
    return Rule(code, "error", DEVICE, f"In `data.{key}`, an object, {asked}", source, find)


def _app_ver(sent: Sent) -> Iterator[Finding]:
    if "app_ver" in sent.payload and not _STRING.fits(sent.payload["app_ver"]):
        yield "app_ver", _STRING.must


def _usertime_milliseconds(sent: Sent) -> Iterator[Finding]:
    usertime: Any = sent.data.get("usertime")
    if _is_whole(usertime) and usertime >= _FIRST_MILLISECONDS:
        yield "data.usertime", "must be in seconds: this one is in milliseconds or finer"


def _device_ids(sent: Sent) -> Iterator[Finding]:
    if "device_ids" not in sent.data:
        return
    if not isinstance(sent.data["device_ids"], dict):
        yield "data.device_ids", _OBJECT.must
    for name, value in sent.device_ids.items():
        if not isinstance(value, str):
            yield f"data.device_ids.{name}", _STRING.must


def _no_device(sent: Sent) -> Iterator[Finding]:
    if sent.payload.get("kochava_device_id") == "" and not any(sent.device_ids.values()):
        yield "data.device_ids", "must name a device: there is no kochava_device_id either"


def _event_name(sent: Sent) -> Iterator[Finding]:
    if not is_text(sent.data.get("event_name")):
        yield "data.event_name", _TEXT.must


def _event_data(sent: Sent) -> Iterator[Finding]:
    if "event_data" in sent.data and not isinstance(sent.data["event_data"], dict):
        yield "data.event_data", _OBJECT.must


def _reserved_keys(sent: Sent) -> Iterator[Finding]:
    for key in sent.event_data:
        if key in RESERVED_KEYS:
            yield (
                f"data.event_data.{key}",
                "must have another name: Kochava keeps this one for itself",
            )


def _iad_attribution(sent: Sent) -> Iterator[Finding]:
    path = "data.iad_attribution_details"
    if "iad_attribution_details" not in sent.data:
        return
    details = sent.data["iad_attribution_details"]
    attribution = details.get("Version3.1") if isinstance(details, dict) else None
    if not isinstance(attribution, dict):
        yield path, "must be an object with an object Version3.1"
        return
    for name, value in attribution.items():
        if not isinstance(value, str):
            yield f"{path}.Version3.1.{name}", _STRING.must


def _update(sent: Sent) -> Iterator[Finding]:
    if not is_text(sent.payload.get("kochava_device_id")):
        yield "kochava_device_id", "must be the one of the install that is updated"
    if not is_text(sent.data.get("idfa")):
        yield "data.idfa", _TEXT.must
    for key in sent.data:
        if key != "idfa":
            yield f"data.{key}", "must not be there: an update has an idfa and nothing else"


DATA_RULES = (
    _required("bad-action", "action", _ACTION),
    _required("bad-app-id", "kochava_app_id", _TEXT),
    _required("bad-kochava-device-id", "kochava_device_id", _STRING),
    _required("bad-data", "data", _OBJECT),
    Rule("bad-app-ver", "error", TRACK, "`app_ver` must be a string", INSTALL_SETUP, _app_ver),
    Rule(
        "bad-device-ids",
        "error",
        DEVICE,
        "`data.device_ids` must be an object of strings",
        EVENT_SETUP,
        _device_ids,
    ),
    Rule(
        "no-device",
        "error",
        DEVICE,
        "A device id or a `kochava_device_id` must not be empty",
        EVENT_SETUP,
        _no_device,
    ),
    _typed("bad-usertime", "usertime", _WHOLE),
    Rule(
        "usertime-milliseconds",
        "error",
        DEVICE,
        "`data.usertime` must be in seconds",
        EVENT_SETUP,
        _usertime_milliseconds,
    ),
    Rule(
        "bad-event-name",
        "error",
        EVENT,
        "`data.event_name` must be a string that is not blank",
        EVENT_SETUP,
        _event_name,
    ),
    Rule(
        "bad-event-data",
        "error",
        EVENT,
        "`data.event_data` must be an object",
        EVENT_SETUP,
        _event_data,
    ),
    Rule(
        "reserved-key",
        "error",
        EVENT,
        f"`data.event_data` must not have the keys {', '.join(sorted(RESERVED_KEYS))}",
        EVENT_EXAMPLES,
        _reserved_keys,
    ),
    _typed("bad-currency", "currency", _CURRENCY_CODE),
    _typed("bad-ip", "origination_ip", _ADDRESS),
    _typed("bad-device-ua", "device_ua", _STRING),
    _typed("bad-device-ver", "device_ver", _STRING),
    _typed("bad-app-version", "app_version", _STRING),
    _object(
        "bad-att",
        "app_tracking_transparency",
        {"att": _FLAG, "att_time": _SECONDS, "att_duration": _DURATION, "att_detail": _STRING},
        EVENT_SETUP,
        required="att",
    ),
    _typed("bad-limit-tracking", "device_limit_tracking", _FLAG, SENDERS),
    _object(
        "bad-gdpr-consent",
        "gdpr_privacy_consent",
        {
            "gdpr_applies": _BIT,
            "tc_string": _STRING,
            "ad_user_data": _BIT,
            "ad_personalization": _BIT,
        },
        EVENT_SETUP,
    ),
    _typed("bad-ad-services-token", "ad_services_token", _TEXT, SENDERS),
    Rule(
        "bad-iad-attribution",
        "error",
        DEVICE,
        "`data.iad_attribution_details` must be an object with an object `Version3.1` of strings",
        SENDERS,
        _iad_attribution,
    ),
    Rule(
        "bad-update",
        "error",
        UPDATE,
        "`data` must have a non-blank `idfa` alone, beside the install's `kochava_device_id`",
        SENDERS,
        _update,
    ),
)
