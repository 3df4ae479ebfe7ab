"""The tables of names and keys, against Kochava's list."""

from kochava_segment.mapping.standard_events import (
    EVENTS_WITH_KEYS,
    KEYS_BY_NAME,
    RESERVED_KEYS,
    SEGMENT_NAMES,
    STANDARD_NAMES,
    STANDARD_SPELLINGS,
)
from kochava_segment.names import fold_name

# From Kochava's Post-Install Event Examples, once more: the table must not check itself.
KOCHAVA_NAMES = (
    "Achievement, Add to Cart, Add to Wish List, Checkout Start, Level Complete, Purchase, Rating, "
    "Registration Complete, Search, Tutorial Complete, View, Ad View, Push Received, Push Opened, "
    "Consent Granted, _Deeplink, Ad Click, Start Trial, Subscribe"
).split(", ")
RAW_KEYS = frozenset(
    (
        "action background checkout_as_guest completed content_id content_type currency date "
        "description destination duration end_date item_added_from level max_rating_value name "
        "order_id origin payload price quantity rating_value receipt_id referral_from "
        "registration_method results score search_term spatial_x spatial_y spatial_z start_date "
        "success uri user_id user_name validated"
    ).split()
)
NUMBERS = frozenset({"duration", "max_rating_value", "price", "quantity", "rating_value"})


def test_standard_names_are_kochava_s():
    assert list(STANDARD_NAMES) == KOCHAVA_NAMES
    assert {fold_name(name): name for name in KOCHAVA_NAMES} == STANDARD_SPELLINGS


def test_every_row_has_a_standard_name_once():
    names = [event.name for event in EVENTS_WITH_KEYS]
    assert len(names) == len(set(names)) == len(KEYS_BY_NAME)
    assert set(names) <= set(KOCHAVA_NAMES)


def test_no_segment_name_becomes_two_events():
    aliases = [fold_name(name) for event in EVENTS_WITH_KEYS for name in event.segment_names]
    assert len(aliases) == len(set(aliases)) == len(SEGMENT_NAMES)


def test_every_key_is_one_of_kochava_s_raw_keys():
    keys = {raw_key.key: raw_key for keys in KEYS_BY_NAME.values() for raw_key in keys}
    assert keys.keys() <= RAW_KEYS
    assert {key for key, raw_key in keys.items() if raw_key.number} == keys.keys() & NUMBERS


def test_no_key_is_reserved():
    assert not RESERVED_KEYS & RAW_KEYS
