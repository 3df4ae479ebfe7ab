"""Hides personal data in what is shown of requests, unless it is to be revealed."""

from __future__ import annotations

from typing import Any

from attrs import asdict

from kochava_segment.delivery.outbox_inspection import OutboxEntry
from kochava_segment.names import is_personal_property, looks_like_email

_SHOWN = 4  # characters: enough to compare two by eye, too few to find somebody by

# Keys whose values name a device or a person, wherever they stand and however they are spelt:
# Kochava's, and what events call the same.
_IDENTIFYING = frozenset(
    "kochavadeviceid originationip deviceua userid username idfa idfv adid androidid "
    "adservicestoken idvalue receiptid tcstring ip anonymousid deviceid advertisingid".split()
)
# Objects whose values all do: what IdentityLinks call a device, and any ids of the caller's own.
_IDENTIFYING_OBJECTS = frozenset({"device_ids", "device_id"})


def masked(payload: Any, *, identity_link: bool = False) -> Any:
    """A copy of a payload with identifiers cut short.

    Args:
        payload: The payload.
        identity_link: It is an IdentityLink, all of whose `data` are identities.
    """
    objects = _IDENTIFYING_OBJECTS | ({"data"} if identity_link else set())
    return _masked(payload, objects, hide=False)


def shown_entry(entry: OutboxEntry, *, reveal: bool) -> dict[str, Any]:
    """An entry of an outbox as a JSON object.

    Args:
        entry: The entry.
        reveal: Show identifiers in full.
    """
    values = asdict(entry, recurse=False)
    if entry.payload is None:
        del values["payload"], values["url"]
    elif not reveal:
        values["payload"] = masked(entry.payload, identity_link=entry.action == "identity_link")
    return values


def _masked(value: Any, objects: frozenset[str] | set[str], *, hide: bool) -> Any:
    if isinstance(value, dict):
        return {
            key: _masked(item, objects, hide=hide or key in objects or _is_identifying(key))
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_masked(item, objects, hide=hide) for item in value]
    hide = hide or (isinstance(value, str) and looks_like_email(value))
    if not hide or value in ("", None) or isinstance(value, bool):
        return value
    text = str(value)
    return f"{text[: min(_SHOWN, len(text) // 3)]}…"


def _is_identifying(key: str) -> bool:
    folded = key.replace("_", "").replace("-", "").casefold()
    return folded in _IDENTIFYING or is_personal_property(key)
