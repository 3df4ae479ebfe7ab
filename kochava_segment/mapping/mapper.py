"""From a message to its request: the routes, one function an action. mapping.md, sections 1 and 7."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kochava_segment import json_codec
from kochava_segment.errors import EventNotSupported, FilterReason
from kochava_segment.mapping.device import data_block
from kochava_segment.mapping.event import event_fields, kochava_event_name
from kochava_segment.mapping.identifiers import Device, identify_device
from kochava_segment.mapping.identify import identity_link
from kochava_segment.mapping.message import Message
from kochava_segment.names import fold_name, looks_like_email
from kochava_segment.options import Options
from kochava_segment.request import KochavaRequest

TRACK_PATH = "/track/json"
IDENTITY_LINK_PATH = "/v1/cpi/identityLink.php"
MAX_BODY_BYTES = 2_000_000

_INSTALL = fold_name("Application Installed")
_INSTALL_ATTRIBUTED = fold_name("Install Attributed")

# Segment's other types, so that an error can name them without repeating what a message says.
_UNSUPPORTED_TYPES = frozenset({"group", "alias", "delete"})


def path_of(action: str) -> str:
    """The path, below the endpoint, of requests of an action."""
    return IDENTITY_LINK_PATH if action == "identity_link" else TRACK_PATH


def map_message(raw: Mapping[str, Any], options: Options) -> KochavaRequest:
    """See `KochavaDestination.map`."""
    return map_parsed(Message(raw, options))


def map_parsed(message: Message) -> KochavaRequest:
    """As `map_message`, for who needs the message beside what it becomes."""
    message.check_filters()
    kind = _type(message)
    route = _ROUTES.get(kind)
    if route is None:
        what = f"{kind} messages are" if kind in _UNSUPPORTED_TYPES else "this type of message is"
        raise EventNotSupported(f"{what} not supported: Kochava has nothing like it", message.id)
    return route(message)


def map_as(expected: tuple[str, ...], raw: Mapping[str, Any], options: Options) -> KochavaRequest:
    """Map a message that must be of one of the expected types."""
    message = Message(raw, options)
    message.check_filters()
    kind = _type(message)
    if kind not in expected:
        message.problem("type", f"must be {' or '.join(expected)}; map() takes every type")
        raise message.invalid()
    return _ROUTES[kind](message)


def map_idfa_update(raw: Mapping[str, Any], options: Options) -> KochavaRequest:
    """See `KochavaDestination.idfa_update`."""
    message = Message(raw, options)
    message.action = "update"
    message.check_filters()
    device = identify_device(message)
    idfa = device.device_ids.get("idfa")
    if not idfa:
        detail = "gives no IDFA that can be trusted, so there is nothing to update"
        message.problem("context.device.advertisingId", detail)
    if not device.kochava_device_id:
        detail = "names no app instance: the update needs the install's kochava_device_id"
        message.problem("context.device.id", detail)
    return _track_request(message, device, {"idfa": idfa})


def map_identity_link(raw: Mapping[str, Any], options: Options, device: Device) -> KochavaRequest:
    """Map an identify message for a device that it does not name itself."""
    message = Message(raw, options)
    message.action = "identity_link"
    message.check_filters()
    return _request(message, device, IDENTITY_LINK_PATH, identity_link(message, device), {})


def _type(message: Message) -> str:
    kind = message.root.text("type")
    if kind is None and message.root.get("type") in (None, ""):
        message.problem("type", "is missing: it says what kind of Segment message this is")
    if kind is None:
        raise message.invalid()
    return kind


def _track(message: Message) -> KochavaRequest:
    name = message.root.text("event")
    if name is None and not isinstance(message.root.get("event"), (int, float, dict, list)):
        message.problem("event", "is missing: a track message needs the name of its event")
    folded = fold_name(name or "")
    if folded == _INSTALL:
        return _install(message)
    if folded == _INSTALL_ATTRIBUTED:
        provider = message.properties.get("provider")
        if isinstance(provider, str) and provider.strip().casefold() == "kochava":
            raise message.filtered(FilterReason.LOOP, "this attribution came from Kochava")
    return _event(message, kochava_event_name(name or "", message.options))


def _event(message: Message, name: str, preset: Mapping[str, str] | None = None) -> KochavaRequest:
    device = identify_device(message)
    own = event_fields(message, name, preset)
    return _track_request(message, device, data_block(message, device, own))


def _install(message: Message) -> KochavaRequest:
    message.action = "install"
    device = identify_device(message)
    return _track_request(message, device, data_block(message, device, {}))


def _screen(message: Message) -> KochavaRequest:
    screens = message.options.screens
    if screens == "off":
        detail = "screens and pages are not sent; the option screens turns them into events"
        raise message.filtered(FilterReason.SCREENS_OFF, detail)
    name = find_screen_name(message)
    if screens == "named":
        event = "screen view" if name is None else f"screen view {name.strip()}"
        return _event(message, kochava_event_name(event, message.options))
    preset = (
        {"content_type": "screen"} if name is None else {"content_type": "screen", "name": name}
    )
    return _event(message, "View", preset)


def find_screen_name(message: Message) -> str | None:
    """The name of a screen or page, None where it has none that may be sent."""
    name = message.root.text("name")
    if name is None and "name" not in message.options.denied:
        name = message.properties.text("name")
    if name is not None and looks_like_email(name):
        detail = "was left out: it is personal data, an e-mail address"
        message.warn("pii-property", "name", detail)
        return None
    return name


def _identify(message: Message) -> KochavaRequest:
    message.action = "identity_link"
    device = identify_device(message)
    return _request(message, device, IDENTITY_LINK_PATH, identity_link(message, device), {})


_ROUTES: dict[str, Callable[[Message], KochavaRequest]] = {
    "track": _track,
    "screen": _screen,
    "page": _screen,
    "identify": _identify,
}


def _track_request(message: Message, device: Device, data: dict[str, Any]) -> KochavaRequest:
    payload: dict[str, Any] = {"action": message.action, "kochava_app_id": device.app_guid}
    if "app_version" in data and message.action == "install":
        payload["app_ver"] = data["app_version"]
    payload["kochava_device_id"] = device.kochava_device_id
    payload["data"] = data
    # Without a device's agent, Kochava would take that of the HTTP client for it.
    headers = {} if data.get("device_ua") else {"User-Agent": "Unknown"}
    return _request(message, device, TRACK_PATH, payload, headers)


def _request(
    message: Message, device: Device, path: str, payload: dict[str, Any], headers: dict[str, str]
) -> KochavaRequest:
    message.check()
    body = encode(payload, signed=message.options.signed, odd_numbers=message.notes.odd_numbers)
    if len(body) > MAX_BODY_BYTES:
        detail = f"gives {len(body)} bytes, Kochava takes {MAX_BODY_BYTES}: send fewer properties"
        message.problem("message", detail)
        raise message.invalid()
    return KochavaRequest(
        url=message.options.endpoint + path,
        headers=headers,
        body=body,
        ordering_key=device.ordering_key,
        action=message.action,
        message_id=message.id,
        warnings=tuple(message.notes.warnings),
    )


def encode(payload: dict[str, Any], *, signed: bool, odd_numbers: bool = False) -> bytes:
    """Encode a payload: compact UTF-8, or for signing the bytes that PHP would give for it."""
    if not signed:
        return json_codec.encode(payload, odd_numbers=odd_numbers)
    encoded = json_codec.encode(payload, ascii_only=True, odd_numbers=odd_numbers)
    if b"{}" in encoded:  # PHP cannot tell {} from [].
        payload = _without_empty_objects(payload)
        encoded = json_codec.encode(payload, ascii_only=True, odd_numbers=odd_numbers)
    # PHP escapes slashes, which occur in strings only.
    return encoded.replace(b"/", b"\\/")


def _without_empty_objects(value: Any) -> Any:
    if isinstance(value, dict):
        pruned = {key: _without_empty_objects(item) for key, item in value.items()}
        return {key: item for key, item in pruned.items() if item != {}}
    if isinstance(value, list):
        return [item for item in map(_without_empty_objects, value) if item != {}]
    return value
