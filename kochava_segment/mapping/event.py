"""Track messages to post-install events: names, event_data and currency. mapping.md, section 4."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kochava_segment.mapping.message import Message
from kochava_segment.mapping.numbers import as_number, is_finite
from kochava_segment.mapping.paths import join
from kochava_segment.mapping.standard_events import (
    KEYS_BY_NAME,
    RESERVED_KEYS,
    SEGMENT_NAMES,
    STANDARD_SPELLINGS,
    RawKey,
)
from kochava_segment.mapping.values import JsonValues
from kochava_segment.names import fold_name, looks_like_email
from kochava_segment.options import Options

_MANY_KEYS = 16
_DEFAULT_CURRENCY = "USD"  # Segment's ecommerce spec: where revenue comes without a currency

# On a sign-up, `name` is a person's; everywhere else it is a product's or a screen's.
_PERSONAL_BY_EVENT = {"Registration Complete": frozenset({"name"})}
_NONE: frozenset[str] = frozenset()


def kochava_event_name(name: str, options: Options) -> str:
    """Kochava's name for a Segment event: yours, else the table's, else the event's own."""
    folded = fold_name(name)
    own = options.folded_event_names.get(folded)
    if own:
        return STANDARD_SPELLINGS.get(fold_name(own), own)
    return SEGMENT_NAMES.get(folded) or STANDARD_SPELLINGS.get(folded) or name.strip()


def event_fields(
    message: Message, name: str, preset: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The fields of the data block that events alone have.

    Args:
        message: The message; its `properties` become the event_data.
        name: Kochava's name for the event.
        preset: Raw keys that the caller sets; they win over properties of the same name.
    """
    properties = message.properties.values
    options = message.options
    if options.denied or options.allow_properties is not None:
        properties = {
            key: value
            for key, value in properties.items()
            if key not in options.denied
            and (options.allow_properties is None or key in options.allowed)
        }
    also_personal = _PERSONAL_BY_EVENT.get(name, _NONE)
    data = JsonValues(message).object(properties, ("properties",), also_personal)
    if preset is not None:
        data.update(preset)
    raw_keys = KEYS_BY_NAME.get(name)
    if raw_keys is not None:
        products = _products(data)
        for raw_key in raw_keys:
            _add(raw_key, data, products, message)
    currency = _currency(message, data)
    data = _rename_reserved(_NESTED[options.nested](data), message)
    if len(data) > _MANY_KEYS:
        detail = (
            f"gives {len(data)} keys of event_data; Kochava may not show more than {_MANY_KEYS}"
        )
        message.warn("many-keys", "properties", detail)
    fields: dict[str, Any] = {"event_name": name, "event_data": data}
    if currency is not None:
        fields["currency"] = currency
    return fields


def _add(raw_key: RawKey, data: dict[str, Any], products: _Products, message: Message) -> None:
    """Give `data` one of its event's raw keys, from whatever feeds it."""
    source = feeding_property(raw_key, data)
    if source is not None:
        value = data[source]
        if raw_key.number:
            number = as_number(value)
            if number is None:
                detail = "is not a number and was left as it was"
                message.warn("bad-number", join("properties", source), detail)
                return
            value = message.number(number)
        if source != raw_key.key:
            del data[source]
        data[raw_key.key] = value
    elif raw_key.products:
        value = _FROM_PRODUCTS[raw_key.key](raw_key, products, message)
        if value is not None:
            data[raw_key.key] = value
    elif raw_key.message_field == "userId":
        user_id = sendable_user_id(message)
        if user_id is not None:
            data[raw_key.key] = user_id


def feeding_property(raw_key: RawKey, data: Mapping[str, Any]) -> str | None:
    """The property that feeds a raw key: the key itself if it is there, else the first with a value."""
    for key in raw_key.feeding:
        if data.get(key) not in (None, ""):
            return key
    return None


_Products = list[tuple[int, dict[str, Any]]]


def _products(data: Mapping[str, Any]) -> _Products:
    products = data.get("products")
    if not isinstance(products, list):
        return []
    return [(index, product) for index, product in enumerate(products) if isinstance(product, dict)]


def _joined(raw_key: RawKey, products: _Products, _: Message) -> str | None:
    """The first of the raw key's product fields that each product has, joined with commas."""
    texts = []
    for _index, product in products:
        for key in raw_key.products:
            value = product.get(key)
            if value is not None and value != "":
                if isinstance(value, (str, int, float)):
                    texts.append(str(value))
                break
    return ",".join(texts) or None


def _summed(raw_key: RawKey, products: _Products, message: Message) -> int | float | None:
    """The sum of the products' quantities; a product without one counts as one."""
    total: int | float = 0
    (key,) = raw_key.products
    for index, product in products:
        quantity = product.get(key)
        number = 1 if quantity in (None, "") else as_number(quantity)
        if number is None:
            path = join(join("properties.products", index), key)
            message.warn("bad-number", path, "is not a number and was counted as 1")
            number = 1
        total += number
        if not is_finite(total):
            path = join("properties.products", index)
            message.warn(
                "not-finite", path, "makes the sum of the quantities larger than any double"
            )
            return None
    return message.number(total) or None


_FROM_PRODUCTS: dict[str, Callable[[RawKey, _Products, Message], Any]] = {
    "content_id": _joined,
    "name": _joined,
    "quantity": _summed,
}


def sendable_user_id(message: Message) -> str | None:
    """The `userId`, unless it is an e-mail address or user ids are not to be sent."""
    user_id = message.user_id
    if user_id is None or not message.options.send_user_id:
        return None
    if looks_like_email(user_id):
        message.warn("pii-user-id", "userId", "was left out: it is an e-mail address")
        return None
    return user_id


def _currency(message: Message, data: dict[str, Any]) -> str | None:
    """The event's currency; on events with a price it is put into `data` as well."""
    price = data.get("price")
    priced = price is not None and as_number(price) is not None
    # Read past allow_properties: a price whose currency was filtered away would be taken for dollars.
    given = message.properties.values.get("currency")
    if given is None or given == "":
        currency = _DEFAULT_CURRENCY if priced else None
    elif "currency" in message.options.denied:
        return None
    else:
        currency = _iso_4217(given)
        if currency is None:
            detail = "was left out: it is not a currency code of three letters"
            message.warn("bad-currency", "properties.currency", detail)
            if priced:
                data.pop("currency", None)
    if priced and currency is not None:
        data["currency"] = currency
    return currency


def _iso_4217(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    code = value.strip().upper()
    return code if len(code) == 3 and code.isascii() and code.isalpha() else None


def _keep(data: dict[str, Any]) -> dict[str, Any]:
    return data


def _drop(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if not isinstance(value, (dict, list))}


def _flatten(data: dict[str, Any]) -> dict[str, Any]:
    flat = _drop(data)
    for key, value in data.items():
        if isinstance(value, (dict, list)):
            for flat_key, leaf in _leaves(key, value):
                # A property that is already called so is somebody's intention; a joined name is not.
                flat.setdefault(flat_key, leaf)
    return flat


def _leaves(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        children: Any = value.items()
    elif isinstance(value, list):
        children = enumerate(value)
    else:
        yield prefix, value
        return
    for key, child in children:
        yield from _leaves(f"{prefix}_{key}", child)


_NESTED = {"keep": _keep, "drop": _drop, "flatten": _flatten}


def _rename_reserved(data: dict[str, Any], message: Message) -> dict[str, Any]:
    if RESERVED_KEYS.isdisjoint(data):
        return data
    renamed: dict[str, Any] = {}
    for key, value in data.items():
        if key not in RESERVED_KEYS:
            renamed[key] = value
            continue
        new_key = f"segment_{key}"
        taken = new_key in data
        became = "left out, since that name is taken" if taken else "renamed to it"
        detail = f"is a name that Kochava reserves; {new_key} stands for it: it was {became}"
        message.warn("reserved-key", join("properties", key), detail)
        if not taken:
            renamed[new_key] = value
    return renamed
