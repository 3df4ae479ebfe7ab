"""A shop's own rules on top of the mapping: keep them in one function, and test that function.

What options can say, options say; what they cannot, happens to the message before it is mapped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kochava_segment import KochavaDestination

OPTIONS: dict[str, Any] = {
    "event_names": {"Lift Pass Bought": "Purchase", "Lesson Booked": "Purchase"},
    "deny_properties": ["internal_note"],
    "nested": "flatten",
}


def prepared(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """A message as Kochava should get it: this shop's old apps send prices in cents."""
    properties: Mapping[str, Any] = message.get("properties") or {}
    if "price_cents" not in properties:
        return message
    others = {name: value for name, value in properties.items() if name != "price_cents"}
    return {**message, "properties": {**others, "price": properties["price_cents"] / 100}}


def make_destination(**overrides: Any) -> KochavaDestination:
    """The destination with this shop's options; credentials come from the environment."""
    return KochavaDestination.from_env(**{**OPTIONS, **overrides})
