"""Which app and which device a message is about. mapping.md, section 2: most of it is distrust."""

from __future__ import annotations

import re
from typing import Any

from attrs import define

from kochava_segment.errors import ConfigurationError, Problem
from kochava_segment.mapping.message import Message, is_unicode
from kochava_segment.mapping.paths import join

APPLE = "apple"
ANDROID = "android"

_PLATFORMS = {
    **dict.fromkeys(
        ("ios", "iphone os", "ipados", "tvos", "watchos", "visionos", "iphone", "ipad"), APPLE
    ),
    **dict.fromkeys(("android", "fire os"), ANDROID),
}
_USER_AGENT_MARKS = (
    *((mark, APPLE) for mark in ("iphone", "ipad", "ipod", "cfnetwork", "darwin")),
    *((mark, ANDROID) for mark in ("android", "dalvik")),
)
_APP_GUID = re.compile(r"[A-Za-z0-9._-]+")
_APP_GUIDS_KEYS = {APPLE: "ios", ANDROID: "android", None: ""}

_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")
_ADVERTISING_ID_KEYS = ("advertisingId", "advertising_id", "idfa")

# Kochava's keys for the advertising id and the device id; all of them where the platform is unknown.
_DEVICE_ID_KEYS: dict[str | None, tuple[str, ...]] = {
    APPLE: ("idfa", "idfv"),
    ANDROID: ("adid", "android_id"),
    None: ("idfa", "idfv", "adid", "android_id"),
}

# ATT statuses, as words and as the numbers of ATTrackingManager.AuthorizationStatus.
_ATT_STATUSES = {
    "notdetermined": False,
    "0": False,
    "restricted": False,
    "1": False,
    "denied": False,
    "2": False,
    "authorized": True,
    "3": True,
}


# Not frozen: to make a frozen one takes twice as long, and each message makes one.
@define(kw_only=True)
class Device:
    """The app instance that a message is about.

    Attributes:
        platform: `apple`, `android` or None.
        app_guid: The Kochava App GUID.
        kochava_device_id: Kochava's name for the app instance, "" where nothing tells it.
        device_ids: Kochava's device ids; empty strings stand for unknown ones.
    """

    platform: str | None
    app_guid: str
    kochava_device_id: str
    device_ids: dict[str, str]

    @property
    def known_ids(self) -> dict[str, str]:
        """The device ids that are known."""
        return {name: value for name, value in self.device_ids.items() if value}

    @property
    def ordering_key(self) -> str:
        """What requests that must keep their order have in common."""
        known = self.kochava_device_id or next(iter(self.known_ids.values()), "")
        return f"{self.app_guid}/{known}"


def identify_device(message: Message) -> Device:
    """Find out which app and device a message is about.

    Raises:
        ConfigurationError: if there is no App GUID for the message.
    """
    platform = find_platform(message)
    return Device(
        platform=platform,
        app_guid=find_app_guid(message, platform),
        kochava_device_id=find_kochava_device_id(message),
        device_ids=find_device_ids(message, platform),
    )


def find_platform(message: Message) -> str | None:
    """`apple`, `android` or None: from the system, else the device type, else the user agent."""
    os_name = message.os.text("name")
    device_type = message.device.text("type")
    for name in (os_name, device_type):
        platform = _PLATFORMS.get(name.strip().casefold()) if name else None
        if platform is not None:
            return platform
    if os_name is None and device_type is None:
        agent = (message.context.text("userAgent") or "").casefold()
        for mark, platform in _USER_AGENT_MARKS:
            if mark in agent:
                detail = f"was taken for {platform}: context.os.name and device.type are missing"
                message.warn("platform-inferred", "context.userAgent", detail)
                return platform
    return None


def find_app_guid(message: Message, platform: str | None) -> str:
    """The message's own App GUID, else that of its app or platform, else the destination's."""
    options = message.options
    guids = options.app_guids
    own = message.kochava.text("app_guid")
    if own and not _APP_GUID.fullmatch(own):
        # Apps are told apart by it: what is Kochava's answer to one must not hold up another.
        detail = "is no App GUID: it has other characters than letters, digits, . _ and -"
        message.problem(join(message.kochava.path, "app_guid"), detail)
    guid = (
        own
        or guids.get(message.app.text("namespace") or "")
        or guids.get(_APP_GUIDS_KEYS[platform])
        or options.app_guid
    )
    if guid is None:
        detail = "is missing, and app_guids has none for this message's app and platform: set one"
        raise ConfigurationError([Problem("app_guid", detail)])
    return guid


def find_kochava_device_id(message: Message) -> str:
    """The id of the app instance, "" where nothing tells it."""
    return (
        message.kochava.text("kochava_device_id")
        or _device_id(message)
        or message.root.word("anonymousId")
        or ""
    )


def find_device_ids(message: Message, platform: str | None) -> dict[str, str]:
    """Kochava's `device_ids`: what can be trusted, and on top what the message itself sets."""
    keys = _DEVICE_ID_KEYS[platform]
    advertising_id = find_advertising_id(message, platform)
    device_ids: dict[str, str] = {}
    if platform is None:
        if advertising_id:
            detail = "was left out: without a platform it is neither an IDFA nor an ADID"
            message.warn("no-platform", "context.device.advertisingId", detail)
    else:
        advertising_key, device_key = keys
        if advertising_id:
            device_ids[advertising_key] = advertising_id
        device_id = _device_id(message)
        # Android's SDKs send a Widevine hash, a random UUID or the anonymousId in device.id.
        if device_id and (platform == APPLE or _is_android_id(device_id)):
            device_ids[device_key] = device_id
    if message.kochava.values:
        device_ids.update(_own_device_ids(message))
    return device_ids if any(device_ids.values()) else dict.fromkeys(keys, "")


def find_advertising_id(message: Message, platform: str | None) -> str | None:
    """The advertising id, unless it is not to be trusted."""
    device = message.device
    value = device.text("advertisingId") or device.text("advertising_id") or device.text("idfa")
    if value is None:
        # An SDK that sends an empty one was not allowed to read it; one that sends none never asked.
        given = [key for key in _ADVERTISING_ID_KEYS if device.get(key) is not None]
        reason = "is empty" if given else None
    else:
        reason = _distrust(message, platform, value)
    if reason is None:
        return value
    detail = f"was left out: it {reason}"
    message.warn("untrusted-advertising-id", "context.device.advertisingId", detail)
    return None


def _distrust(message: Message, platform: str | None, advertising_id: str) -> str | None:
    """Why an advertising id is not to be trusted, None where it is."""
    if is_all_zeros(advertising_id):
        return "is all zeros"
    if advertising_id.casefold() == (message.device.text("id") or "").casefold():
        return "equals context.device.id"
    if platform != APPLE:
        return None
    if message.device.flag("adTrackingEnabled") is False:
        return "stands beside adTrackingEnabled: false"
    if find_att_status(message) is False:
        return "stands beside a tracking status that is not authorized"
    return None


def find_att_status(message: Message) -> bool | None:
    """Whether tracking is authorized; None where the status is missing or unknown."""
    for key in ("trackingStatus", "attTrackingStatus"):
        status = message.device.word(key)
        if status is not None:
            told = _ATT_STATUSES.get(status)
            if told is None:
                # Flutter writes TrackingStatus.authorized.
                word = status.rpartition(".")[2].strip().casefold().replace("_", "")
                told = _ATT_STATUSES.get(word)
            if told is not None:
                return told
    return None


def is_all_zeros(device_id: str) -> bool:
    """Whether an id is the one that systems give where tracking is limited."""
    return not device_id.strip("0- ")


def _device_id(message: Message) -> str | None:
    device_id = message.device.text("id")
    return None if device_id == "UNKNOWN_ID" else device_id


def _is_android_id(device_id: str) -> bool:
    return len(device_id) == 16 and _HEX_DIGITS.issuperset(device_id)


def _own_device_ids(message: Message) -> dict[str, str]:
    """`integrations.Kochava.device_ids`: whoever writes it knows better."""
    if message.kochava.get("device_ids") is None:
        return {}
    section = message.kochava.section("device_ids")
    own: dict[str, str] = {}
    # Sorted, so that equal objects give equal bytes.
    names: list[Any] = sorted(section.values, key=str)
    for name in names:
        if not isinstance(name, str) or not is_unicode(name):
            detail = "has a name that is not a string of valid Unicode"
            message.problem(join(section.path, name), detail)
        elif section.get(name) is not None:
            own[name] = section.text(name) or ""
    return own
