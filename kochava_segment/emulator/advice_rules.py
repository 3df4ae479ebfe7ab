"""Rules of `/track/json` whose breach Kochava accepts, but with a loss: of a device, a price, a match."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kochava_segment.emulator.rule import (
    DEVICE,
    EVENT,
    EVENT_EXAMPLES,
    EVENT_SETUP,
    INSTALL,
    INSTALL_SETUP,
    NO_USER_AGENT,
    SENDERS,
    TRACK,
    Finding,
    Rule,
    Sent,
)

_ADVERTISING_IDS = ("idfa", "adid")
_MAX_KEYS = 16

_STANDARD_NAMES = (
    "Achievement",
    "Ad Click",
    "Ad View",
    "Add to Cart",
    "Add to Wish List",
    "Checkout Start",
    "Consent Granted",
    "_Deeplink",
    "Level Complete",
    "Purchase",
    "Push Opened",
    "Push Received",
    "Rating",
    "Registration Complete",
    "Search",
    "Start Trial",
    "Subscribe",
    "Tutorial Complete",
    "View",
)


def _letters(name: str) -> str:
    return "".join(char for char in name.casefold() if char.isalnum())


_SPELLINGS = {_letters(name): name for name in _STANDARD_NAMES}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_RAW_KEYS = {
    **dict.fromkeys(
        "duration max_rating_value price quantity rating_value spatial_x spatial_y spatial_z sum".split(),
        (_is_number, "should be a number"),
    ),
    **dict.fromkeys(
        ("background", "completed"),
        (lambda value: isinstance(value, bool), "should be true or false"),
    ),
    "payload": (lambda value: isinstance(value, dict), "should be an object"),
}


def _no_device_id(sent: Sent) -> Iterator[Finding]:
    if sent.payload.get("kochava_device_id") and not any(sent.device_ids.values()):
        yield "data.device_ids", "should name a device: Kochava has the kochava_device_id alone"


def _idfa_is_idfv(sent: Sent) -> Iterator[Finding]:
    idfa, idfv = sent.device_ids.get("idfa"), sent.device_ids.get("idfv")
    if idfa and isinstance(idfa, str) and isinstance(idfv, str):
        if idfa.casefold() == idfv.casefold():
            yield (
                "data.device_ids.idfa",
                "should not be the idfv: it names no device to an advertiser",
            )


def is_all_zeros(value: Any) -> bool:
    """Whether an id is what systems give out where tracking is off: zeros and hyphens alone."""
    return isinstance(value, str) and bool(value) and not value.strip("0-")


def _zero_ids(sent: Sent) -> Iterator[Finding]:
    for name in _ADVERTISING_IDS:
        if is_all_zeros(sent.device_ids.get(name)):
            yield f"data.device_ids.{name}", "should be left out or empty: it is all zeros"


def _android_id_as_idfa(sent: Sent) -> Iterator[Finding]:
    idfa = sent.device_ids.get("idfa")
    if isinstance(idfa, str) and len(idfa) == 16:
        if all(char in "0123456789abcdefABCDEF" for char in idfa):
            yield "data.device_ids.idfa", "should be an IDFA: 16 hex digits are an android_id"


def _idfa_without_att(sent: Sent) -> Iterator[Finding]:
    if sent.device_ids.get("idfa") and "app_tracking_transparency" not in sent.data:
        detail = "should be there: without it Kochava assumes no consent and drops the IDFA"
        yield "data.app_tracking_transparency", detail


def _no_unknown_agent(sent: Sent) -> Iterator[Finding]:
    if not sent.data.get("device_ua") and sent.headers.get("User-Agent") != "Unknown":
        detail = (
            "should be Unknown where device_ua is empty: else this agent is taken for the device's"
        )
        yield "headers.User-Agent", detail


def _no_device_version(sent: Sent) -> Iterator[Finding]:
    if not sent.data.get("device_ua") and not sent.data.get("device_ver"):
        yield "data.device_ver", "should be there where device_ua is empty"


def _no_ip(sent: Sent) -> Iterator[Finding]:
    if "origination_ip" not in sent.data:
        yield "data.origination_ip", "should be there: the articles call it required"


def _event_spelling(sent: Sent) -> Iterator[Finding]:
    name = sent.data.get("event_name")
    if isinstance(name, str):
        standard = _SPELLINGS.get(_letters(name), name)
        if standard != name:
            yield "data.event_name", f"should be spelt {standard}: else it is an event of its own"


def _many_keys(sent: Sent) -> Iterator[Finding]:
    if len(sent.event_data) > _MAX_KEYS:
        yield "data.event_data", f"should have {_MAX_KEYS} keys at most"


def _raw_keys(sent: Sent) -> Iterator[Finding]:
    for key, value in sent.event_data.items():
        fits, should = _RAW_KEYS.get(key, (None, ""))
        if fits is not None and not fits(value):
            yield f"data.event_data.{key}", should


ADVICE_RULES = (
    Rule(
        "unknown-field",
        "advice",
        TRACK,
        "Fields outside `event_data` should be ones that Kochava's articles have",
        EVENT_SETUP,
        fields=("*",),
        must="is no field of Kochava's: is it misspelt, or meant for event_data?",
    ),
    Rule(
        "no-device-id",
        "advice",
        DEVICE,
        "`data.device_ids` should have an id that is not empty",
        EVENT_SETUP,
        _no_device_id,
    ),
    Rule(
        "idfa-is-idfv",
        "advice",
        DEVICE,
        "`idfa` and `idfv` should differ",
        SENDERS,
        _idfa_is_idfv,
    ),
    Rule(
        "zero-advertising-id",
        "advice",
        DEVICE,
        "`idfa` and `adid` should not be all zeros",
        SENDERS,
        _zero_ids,
    ),
    Rule(
        "android-id-as-idfa",
        "advice",
        DEVICE,
        "`idfa` should not be 16 hex digits, as an `android_id` is",
        SENDERS,
        _android_id_as_idfa,
    ),
    Rule(
        "idfa-without-att",
        "advice",
        DEVICE,
        "`data.app_tracking_transparency` should be there beside an `idfa`",
        EVENT_SETUP,
        _idfa_without_att,
    ),
    Rule(
        "no-unknown-agent",
        "advice",
        DEVICE,
        "The header `User-Agent` should be `Unknown` where `data.device_ua` is empty",
        NO_USER_AGENT,
        _no_unknown_agent,
    ),
    Rule(
        "no-device-version",
        "advice",
        DEVICE,
        "`data.device_ver` should be there where `data.device_ua` is empty",
        NO_USER_AGENT,
        _no_device_version,
    ),
    Rule("no-ip", "advice", DEVICE, "`data.origination_ip` should be there", EVENT_SETUP, _no_ip),
    Rule(
        "event-field-on-install",
        "advice",
        INSTALL,
        "`event_name`, `event_data` and `currency` should be on events only",
        INSTALL_SETUP,
        fields=("data.event_name", "data.event_data", "data.currency"),
        must="should be on events only",
    ),
    Rule(
        "event-spelling",
        "advice",
        EVENT,
        "Names of standard events should be spelt as Kochava does, not `Add to Wishlist`",
        EVENT_EXAMPLES,
        _event_spelling,
    ),
    Rule(
        "many-keys",
        "advice",
        EVENT,
        f"`data.event_data` should have {_MAX_KEYS} keys at most",
        EVENT_EXAMPLES,
        _many_keys,
    ),
    Rule(
        "raw-key-type",
        "advice",
        EVENT,
        "Keys of `data.event_data` that Kochava knows should have its types: `price` is a number",
        EVENT_EXAMPLES,
        _raw_keys,
    ),
)
