"""The data block of `/track/json`, the part that installs and events share. mapping.md, section 3.

One table, read from top to bottom: the order of its rows is the order of the keys in the document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from attrs import frozen

from kochava_segment.mapping.addresses import is_address
from kochava_segment.mapping.apple_search_ads import iad_attribution_details
from kochava_segment.mapping.identifiers import APPLE, Device, find_att_status
from kochava_segment.mapping.message import Message
from kochava_segment.mapping.values import JsonValues

# As seconds it lies in the year 5138, so whoever gives more gives milliseconds.
_LATEST = 10**11 - 1


@frozen
class Field:
    """A field of Kochava's data block.

    Attributes:
        key: Kochava's name.
        build: Its value, or None where it is left out.
        rule: Where the value comes from, in a sentence; for documentation and `explain`.
        missing: What is sent where the message has nothing for it.
    """

    key: str
    build: Callable[[Message, Device], Any]
    rule: str
    missing: str = "left out"


_Builders = tuple[tuple[str, Callable[[Message, Device], Any]], ...]


def _builders(fields: tuple[Field, ...]) -> _Builders:
    """What of the table each message needs."""
    return tuple((field.key, field.build) for field in fields)


def data_block(message: Message, device: Device, own: Mapping[str, Any]) -> dict[str, Any]:
    """Build the data block.

    Args:
        message: The message.
        device: What `identify_device` said of it.
        own: The fields that this action alone has; they follow `usertime`.
    """
    data: dict[str, Any] = {}
    _fill(data, _DEVICE_AND_TIME, message, device)
    data.update(own)
    _fill(data, _CIRCUMSTANCES, message, device)
    return data


def _fill(data: dict[str, Any], builders: _Builders, message: Message, device: Device) -> None:
    for key, build in builders:
        value = build(message, device)
        if value is not None:
            data[key] = value


def _device_ids(message: Message, device: Device) -> dict[str, str]:
    if not any(device.device_ids.values()):
        if message.options.require_device_id or not device.kochava_device_id:
            hint = "give an advertising id, a device id, or integrations.Kochava.device_ids"
            message.problem("context.device.id", f"no device id can be found: {hint}")
        else:
            detail = "gives no device id; Kochava has the kochava_device_id alone"
            message.warn("no-device-id", "context.device", detail)
    return device.device_ids


def _usertime(message: Message, _: Device) -> int | None:
    return message.time()


def _origination_ip(message: Message, _: Device) -> str | None:
    given = False
    for section, key, path in (
        (message.context, "ip", "context.ip"),
        (message.root, "request_ip", "request_ip"),
    ):
        value = section.values.get(key)
        if value is None or value == "":
            continue
        given = True
        address = value.strip() if isinstance(value, str) else ""
        if is_address(address):
            return address
        message.warn("bad-ip", path, "was left out: it is neither an IPv4 nor an IPv6 address")
    if not given:
        message.warn("no-ip", "context.ip", "is missing; Kochava wants the device's IP address")
    return None


def _user_agent(message: Message) -> str | None:
    agent = message.context.text("userAgent")
    return None if agent == "undefined" else agent


def _device_ua(message: Message, _: Device) -> str:
    agent = _user_agent(message) or ""
    return quote(agent, safe="") if message.options.encode_user_agent else agent


def _device_ver(message: Message, _: Device) -> str:
    model = message.device.word("model")
    system = message.os.word("name")
    version = message.os.word("version")
    if model and system and version:
        return f"{model}-{system}-{version}"
    if _user_agent(message) is None:
        detail = (
            "is needed with context.os.name and context.os.version where there is no user agent: "
            "Kochava cannot tell the device's kind"
        )
        message.warn("no-device-version", "context.device.model", detail)
    return ""


def find_app_version(message: Message) -> str | None:
    """The app's version; on an install, the one that the event itself names wins."""
    own = message.properties.word("version") if message.action == "install" else None
    return own or message.app.word("version")


def _app_version(message: Message, _: Device) -> str | None:
    return find_app_version(message)


def _app_tracking_transparency(message: Message, device: Device) -> dict[str, Any] | None:
    if device.platform != APPLE:
        return None
    transparency: dict[str, Any] = {"att": _att(message, device)}
    options = message.kochava
    if options.values:
        own = {
            "att_time": options.whole_number("att_time", _LATEST),
            "att_duration": options.whole_number("att_duration", _LATEST),
            "att_detail": options.text("att_detail"),
        }
        transparency.update((key, value) for key, value in own.items() if value is not None)
    return transparency


def _att(message: Message, device: Device) -> bool:
    told = message.kochava.flag("att")
    if told is None:
        told = find_att_status(message)
    if told is not None:
        return told
    if not device.device_ids.get("idfa"):
        return False
    if message.device.flag("adTrackingEnabled"):
        return True
    detail = "is missing: Kochava will drop the IDFA, as it does without consent"
    message.warn("att-unknown", "context.device.trackingStatus", detail)
    return False


def _device_limit_tracking(message: Message, _: Device) -> bool | None:
    enabled = message.device.flag("adTrackingEnabled")
    return None if enabled is None else not enabled


def _gdpr_privacy_consent(message: Message, _: Device) -> Mapping[str, Any] | None:
    own = message.kochava.section("gdpr_privacy_consent")
    if own.values:
        where = ("integrations", "Kochava", "gdpr_privacy_consent")
        return JsonValues(message, personal=True).object(own.values, where)
    options = message.options
    if options.ad_user_data_consent is None and options.ad_personalization_consent is None:
        return None
    preferences = message.consent()
    if preferences is None:
        return None
    return {
        key: int(preferences.get(category) is True)
        for key, category in (
            ("ad_user_data", options.ad_user_data_consent),
            ("ad_personalization", options.ad_personalization_consent),
        )
        if category is not None
    }


def _ad_services_token(message: Message, _: Device) -> str | None:
    if message.action != "install":
        return None
    return (
        message.kochava.text("ad_services_token")
        or message.device.text("adServicesToken")
        or message.properties.text("ad_services_token")
    )


def _iad_attribution_details(message: Message, _: Device) -> dict[str, Any] | None:
    return iad_attribution_details(message)


DEVICE_AND_TIME = (
    Field(
        "device_ids",
        _device_ids,
        "Apple: idfa from the advertising id, idfv from device.id. Android: adid from the advertising "
        "id, android_id from a device.id of 16 hex digits. An advertising id that is empty, all "
        "zeros, equal to device.id or not consented to is left out. integrations.Kochava.device_ids "
        "goes over all of it.",
        'the platform\'s keys with ""',
    ),
    Field(
        "usertime",
        _usertime,
        "timestamp, else originalTimestamp, sentAt, receivedAt; whole epoch seconds, rounded down.",
    ),
)

CIRCUMSTANCES = (
    Field("origination_ip", _origination_ip, "context.ip, else request_ip, if it is an address."),
    Field(
        "device_ua",
        _device_ua,
        "context.userAgent as it is, or URL-encoded with encode_user_agent.",
        '"", with the header `User-Agent: Unknown`',
    ),
    Field(
        "device_ver",
        _device_ver,
        "device.model, os.name and os.version joined with hyphens, if all three are there.",
        '""',
    ),
    Field(
        "app_version",
        _app_version,
        "context.app.version; on an install, properties.version wins.",
    ),
    Field(
        "app_tracking_transparency",
        _app_tracking_transparency,
        "Apple only. att: integrations.Kochava.att, else the tracking status, else whether an IDFA "
        "is sent with adTrackingEnabled. att_time, att_duration and att_detail from "
        "integrations.Kochava.",
        "always sent on Apple platforms",
    ),
    Field(
        "device_limit_tracking",
        _device_limit_tracking,
        "The opposite of context.device.adTrackingEnabled.",
    ),
    Field(
        "gdpr_privacy_consent",
        _gdpr_privacy_consent,
        "integrations.Kochava.gdpr_privacy_consent, else the consent categories that "
        "ad_user_data_consent and ad_personalization_consent name.",
    ),
    Field(
        "ad_services_token",
        _ad_services_token,
        "Installs only: integrations.Kochava.ad_services_token, else "
        "context.device.adServicesToken, else properties.ad_services_token.",
    ),
    Field(
        "iad_attribution_details",
        _iad_attribution_details,
        "context.campaign as Segment's Apple Search Ads middleware writes it, or its older places "
        "in properties; values that are `unknown` are left out.",
    ),
)

_DEVICE_AND_TIME = _builders(DEVICE_AND_TIME)
_CIRCUMSTANCES = _builders(CIRCUMSTANCES)
