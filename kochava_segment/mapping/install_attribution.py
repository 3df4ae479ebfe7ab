"""Kochava's install postback to Segment's "Install Attributed". mapping.md, section 6."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from kochava_segment.errors import EventNotSupported, InvalidEventPayload, Problem
from kochava_segment.mapping.addresses import is_address
from kochava_segment.mapping.identifiers import is_all_zeros
from kochava_segment.mapping.message import is_unicode
from kochava_segment.mapping.numbers import decimal_text, is_finite
from kochava_segment.mapping.paths import join
from kochava_segment.mapping.timestamps import epoch_seconds
from kochava_segment.names import fold_name
from kochava_segment.options import PostbackFields

_EVENT = "Install Attributed"
_INSTALL_EVENTS = frozenset({"_install", "install", "install attributed", "application installed"})
_ORGANIC = "Organic"

# A macro that Kochava did not fill in: "{campaign_name}", or URL-encoded braces left as they were.
_MACRO = re.compile(r"(\{|%7B)[^{}]*(\}|%7D)", re.IGNORECASE)

# Segment's campaign keys and the fields of PostbackFields that feed them, the first with a value.
_CAMPAIGN = {
    "source": ("network_name",),
    "name": ("campaign_name", "campaign_id"),
    "id": ("campaign_id",),
    "content": ("site_id",),
    "ad_creative": ("creative_id",),
    "ad_group": ("sub_site_id",),
    "click_date": ("click_date",),
}
_DEVICE = {"id": ("kochava_device_id", "idfv"), "advertisingId": ("idfa", "adid")}
_ANONYMOUS_ID = ("anonymous_id", "kochava_device_id", "idfv", "android_id", "idfa", "adid")
_DEVICE_IDS = frozenset({"idfa", "idfv", "adid", "android_id"})
_DEVICE_TYPES = {"ios": ("idfa", "idfv"), "android": ("adid", "android_id")}
_NO_IDENTITY = (
    "names nobody: it needs a user_id, an anonymous_id, a kochava_device_id or another device id; "
    "add one of these macros to the postback's URL, or name your parameters in postback_fields"
)


def install_attribution(
    postback: Mapping[str, Any] | Iterable[tuple[str, Any]], names: PostbackFields
) -> dict[str, Any]:
    """See `KochavaDestination.install_attribution`."""
    postback_values = _Postback(postback, names)
    postback_values.check_event()

    campaign = postback_values.fill(_CAMPAIGN)
    if fold_name(campaign.get("source", "organic")) == "organic":
        campaign["source"] = _ORGANIC
    device = postback_values.fill(_DEVICE)
    for device_type, ids in _DEVICE_TYPES.items():
        if postback_values.first(*ids):
            device["type"] = device_type
            break
    context: dict[str, Any] = {"device": device} if device else {}
    context |= postback_values.fill({"ip": ("ip",), "userAgent": ("user_agent",)})
    if not is_address(context.get("ip", "")):
        context.pop("ip", None)

    user_id = postback_values.first("user_id")
    anonymous_id = postback_values.first(*_ANONYMOUS_ID)
    if user_id is None and anonymous_id is None:
        raise InvalidEventPayload([Problem("postback", _NO_IDENTITY)])
    identity = {"userId": user_id, "anonymousId": anonymous_id}
    timestamp = _iso_8601(postback_values.first("install_date"))
    return {
        "type": "track",
        "event": _EVENT,
        "messageId": postback_values.message_id(),
        **{key: value for key, value in identity.items() if value is not None},
        **({"timestamp": timestamp} if timestamp else {}),
        "properties": {"provider": "Kochava", "campaign": campaign},
        "context": context,
        # Segment would otherwise hand it to Kochava, which it came from.
        "integrations": {"Kochava": False},
    }


class _Postback:
    """A postback's parameters: lower-cased names, text values, the first of repeated ones."""

    def __init__(
        self, postback: Mapping[str, Any] | Iterable[tuple[str, Any]], names: PostbackFields
    ) -> None:
        self._names = names
        self._values: dict[str, str] = {}
        problems: list[Problem] = []
        for name, value in _pairs(postback):
            text = _first_text(name, value, problems)
            if text is not None:
                self._values.setdefault(name.strip().casefold(), text)
        if problems:
            raise InvalidEventPayload(problems)

    def first(self, *fields: str) -> str | None:
        """The value of the first of these fields of PostbackFields that has one."""
        for field in fields:
            value = self._values.get(getattr(self._names, field).casefold(), "").strip()
            if not value or _MACRO.fullmatch(value):
                continue
            # Devices that limit ad tracking all have this id: it would make one user of them.
            if field in _DEVICE_IDS and is_all_zeros(value):
                continue
            return value
        return None

    def fill(self, fields: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
        """Segment's keys with the values of the fields that feed them, where there are any."""
        values = {key: self.first(*sources) for key, sources in fields.items()}
        return {key: value for key, value in values.items() if value is not None}

    def check_event(self) -> None:
        """Raise EventNotSupported for the postback of anything else than an install."""
        event = self.first("event_name")
        if event is not None and fold_name(event) not in _INSTALL_EVENTS:
            raise EventNotSupported("this postback is about an event, not about an install")

    def message_id(self) -> str:
        """The same for the same parameters, so that Kochava's retries are one event at Segment."""
        parameters = json.dumps(sorted(self._values.items()), separators=(",", ":"))
        return f"kochava-{hashlib.sha256(parameters.encode()).hexdigest()}"


def _pairs(postback: object) -> Iterable[tuple[str, Any]]:
    pairs = postback.items() if isinstance(postback, Mapping) else postback
    if isinstance(pairs, Iterable) and not isinstance(pairs, (str, bytes)):
        listed = list(pairs)
        if all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in listed):
            if all(isinstance(name, str) for name, _ in listed):
                return listed
    problem = Problem("postback", "must be a mapping of parameters, or a list of (name, value)")
    raise InvalidEventPayload([problem])


def _first_text(name: str, value: object, problems: list[Problem]) -> str | None:
    if isinstance(value, (list, tuple)):  # parse_qs and JSON give repeated parameters as lists
        value = value[0] if value else None
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    path = join("postback", name)
    if isinstance(value, (int, float)) and is_finite(value):
        return decimal_text(value)
    if not isinstance(value, str):
        problems.append(Problem(path, "must be a string or a finite number"))
    elif not is_unicode(value):
        problems.append(Problem(path, "is not valid Unicode: it has half of a surrogate pair"))
    else:
        return value
    return None


def _iso_8601(text: str | None) -> str | None:
    """A time as Segment writes it; None for what is not a time."""
    if text is None:
        return None
    seconds = epoch_seconds(float(text) if re.fullmatch(r"\d{1,14}(\.\d+)?", text) else text)
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
