"""The tables: Kochava's standard events, which Segment events become them, and their raw keys.

Names are Kochava's, from *Post-Install Event Examples*; Segment's are those of its mobile, ecommerce
and B2B specs, with the older aliases.
"""

from __future__ import annotations

from attrs import field, frozen

from kochava_segment.names import fold_name

STANDARD_NAMES = (
    "Achievement",
    "Add to Cart",
    "Add to Wish List",
    "Checkout Start",
    "Level Complete",
    "Purchase",
    "Rating",
    "Registration Complete",
    "Search",
    "Tutorial Complete",
    "View",
    "Ad View",
    "Push Received",
    "Push Opened",
    "Consent Granted",
    "_Deeplink",
    "Ad Click",
    "Start Trial",
    "Subscribe",
)

# Kochava keeps these for itself (*Post-Install Event Setup*).
RESERVED_KEYS = frozenset(
    {
        "network",
        "source",
        "fb_campaign",
        "campaign",
        "site",
        "creative",
        "attribution_type",
        "integration_type",
        "integration_version",
        "cracked",
        "jailbroken",
    }
)


@frozen
class RawKey:
    """A key of `event_data` that a standard event has, and what feeds it.

    Attributes:
        key: Kochava's name for it.
        properties: The properties that feed it, the first with a value wins. A property named like
            the key itself wins over all of them.
        products: The fields of the entries of `products[]` that feed it where no property does.
        number: Its value is a number; text that is one becomes one.
        message_field: The field of the message, beside `properties`, that feeds it.
        feeding: All properties that feed it, the key itself first.
    """

    key: str
    properties: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    number: bool = False
    message_field: str | None = None
    feeding: tuple[str, ...] = field(init=False)

    @feeding.default
    def _all_properties(self) -> tuple[str, ...]:
        return (self.key, *self.properties)


@frozen
class StandardEvent:
    """A Kochava standard event that Segment events become.

    Attributes:
        name: Kochava's name.
        segment_names: Segment's names for it, the current one first.
        keys: What is added to `event_data`.
    """

    name: str
    segment_names: tuple[str, ...]
    keys: tuple[RawKey, ...]


_ORDER_PRICE = RawKey("price", ("revenue", "total", "value"), number=True)
_PRICE = RawKey("price", ("value",), number=True)
_CONTENT_ID = RawKey("content_id", ("product_id", "sku", "id"), ("product_id", "sku", "id"))
_NAME = RawKey("name", products=("name",))
_QUANTITY = RawKey("quantity", products=("quantity",), number=True)
_ORDER_ID = RawKey("order_id")
_ACTION = RawKey("action")
_USER_ID = RawKey("user_id", message_field="userId")
# Its value is a matter of its own: event.py, currency().
_CURRENCY = RawKey("currency")

EVENTS_WITH_KEYS = (
    StandardEvent(
        "Purchase",
        ("Order Completed", "Completed Order"),
        (_ORDER_PRICE, _ORDER_ID, _CONTENT_ID, _NAME, _QUANTITY, _USER_ID, _CURRENCY),
    ),
    StandardEvent(
        "Add to Cart",
        ("Product Added", "Added Product"),
        (_CONTENT_ID, _NAME, _QUANTITY, _PRICE, _USER_ID, _CURRENCY),
    ),
    StandardEvent(
        "Add to Wish List", ("Product Added to Wishlist",), (_CONTENT_ID, _NAME, _USER_ID)
    ),
    StandardEvent(
        "Checkout Start",
        ("Checkout Started", "Started Order"),
        (_ORDER_PRICE, _CONTENT_ID, _NAME, _QUANTITY, _ORDER_ID, _USER_ID, _CURRENCY),
    ),
    StandardEvent(
        "View",
        ("Product Viewed", "Viewed Product"),
        (_CONTENT_ID, _NAME, RawKey("content_type", ("category",))),
    ),
    StandardEvent("Search", ("Products Searched",), (RawKey("search_term", ("query",)),)),
    StandardEvent(
        "Rating",
        ("Product Reviewed",),
        (RawKey("rating_value", ("rating",), number=True), _CONTENT_ID),
    ),
    StandardEvent(
        "Registration Complete",
        ("Signed Up",),
        (_USER_ID, RawKey("registration_method", ("type",))),
    ),
    StandardEvent(
        "Start Trial",
        ("Trial Started",),
        (_PRICE, RawKey("name", ("trial_plan_name",)), _USER_ID, _CURRENCY),
    ),
    StandardEvent("Push Received", ("Push Notification Received",), (_ACTION,)),
    StandardEvent("Push Opened", ("Push Notification Tapped",), (_ACTION,)),
    StandardEvent("_Deeplink", ("Deep Link Opened",), (RawKey("uri", ("url",)),)),
)


# Folded names to Kochava's spelling: of its own names, and of Segment's names for the same events.
STANDARD_SPELLINGS = {fold_name(name): name for name in STANDARD_NAMES}
SEGMENT_NAMES = {
    fold_name(alias): event.name for event in EVENTS_WITH_KEYS for alias in event.segment_names
}
KEYS_BY_NAME = {event.name: event.keys for event in EVENTS_WITH_KEYS}
