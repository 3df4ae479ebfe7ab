"""Identify messages to IdentityLinks, Engage's audiences and traits among them. mapping.md, section 5."""

from __future__ import annotations

import hashlib
from typing import Any

from kochava_segment.errors import FilterReason
from kochava_segment.mapping.event import sendable_user_id
from kochava_segment.mapping.identifiers import Device
from kochava_segment.mapping.message import Message
from kochava_segment.mapping.numbers import decimal_text
from kochava_segment.mapping.paths import join
from kochava_segment.mapping.values import LEFT_OUT, JsonValues
from kochava_segment.names import is_personal_trait, looks_like_email

_NO_DEVICE = (
    "no device id can be found: enable “Send Mobile IDs” in Engage, or give the destination a "
    "device directory"
)


def identity_link(message: Message, device: Device) -> dict[str, Any]:
    """The body of an IdentityLink.

    Raises:
        EventFiltered: if there is nothing to link the device with.
    """
    identities = _identities(message)
    if not identities and not message.notes.problems:
        detail = "it has no userId that may be sent, and none of its traits are listed"
        raise message.filtered(FilterReason.NOTHING_TO_LINK, detail)
    device_ids = device.known_ids
    if not device_ids:
        message.problem("context.device.id", _NO_DEVICE)
    return {"kochava_app_id": device.app_guid, "device_id": device_ids, "data": identities}


def _identities(message: Message) -> dict[str, str]:
    options = message.options
    identities: dict[str, str] = {}
    user_id = sendable_user_id(message)
    if user_id is not None:
        identities[options.user_id_name] = user_id
    for name in traits_to_link(message):
        identity = _identity(name, message)
        if identity is not None:
            identities.setdefault(name, identity)
    return identities


def traits_to_link(message: Message) -> tuple[str, ...]:
    """The names of the traits that are sent: Engage's own, then those that the options list."""
    computed = message.context.section("personas").text("computation_key")
    listed = message.options.identity_traits
    return listed if computed is None else tuple(dict.fromkeys((computed, *listed)))


def _identity(name: str, message: Message) -> str | None:
    value = message.traits.get(name)
    if value is None:
        return None
    value = JsonValues(message, personal=True).value(value, ("traits",), name)
    if value is LEFT_OUT or value is None:
        return None
    if isinstance(value, (dict, list)):
        message.warn(
            "bad-trait",
            join("traits", name),
            "was left out: an identity is one value, not a list or object",
        )
        return None
    text = _as_text(value)
    if not text.strip():  # It would link all those who left the field blank with each other.
        return None
    if name in message.options.hash_traits:
        return hashlib.sha256(text.strip().lower().encode()).hexdigest()
    if is_personal_trait(name) or looks_like_email(text):
        detail = "was left out: it is personal data; add it to hash_traits to send its hash"
        message.warn("pii-trait", join("traits", name), detail)
        return None
    return text


def _as_text(value: str | float) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return decimal_text(value)
