"""Hypothesis strategies: Segment messages as they come, as nobody should send them, and any JSON."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from tests.messages import ADID, ANDROID_ID, IDFA, IDFV

MARK = "zq7Mark"
"""Stands in values that must not be repeated in errors and warnings."""

# Half surrogate pairs, which JSON can write and UTF-8 cannot, among all other characters.
texts = st.text(st.characters(exclude_categories=()), max_size=20)
emails = st.builds(
    "{}@{}.example".format,
    st.sampled_from(["ann", "bob.smith", "Carol+shop", "d"]),
    st.sampled_from(["mail", "Post", "a.b"]),
)
numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([0, -1, 2**53, 2**63, 2**1024, 10**400, 150.0, 1e21, 1e-7, float("nan")]),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts, emails)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def _some(
    always: dict[str, st.SearchStrategy[Any]] | None = None, **fields: st.SearchStrategy[Any]
) -> st.SearchStrategy[dict[str, Any]]:
    """An object that has any of the fields, and all that it always has."""
    return st.fixed_dictionaries(always or {}, optional=fields)


_names = st.sampled_from(["Skis", "Poles, long", "Büstenhalter", "スキー/板", 'a "b" \\ c'])
_codes = st.sampled_from(["p1", "s2", 17, "a/b", "", None])
_money = st.sampled_from([19.95, "19.95", 120.0, 0, "free", None, -3, "1e3", " 7 ", True])
_currencies = st.sampled_from(["eur", "USD", "EURO", "", None, 5])
_times = st.one_of(
    st.datetimes(timezones=st.just(None)).map(lambda time: time.isoformat() + "Z"),
    st.sampled_from(
        [
            "2026-03-20T18:06:56.900Z",
            "2026-03-20T18:06:56+01:00",
            1774030016,
            1774030016900,
            "yesterday",
            "",
            None,
        ]
    ),
)
_flags = st.sampled_from([True, False, "true", "false", None])

products = _some(
    product_id=_codes,
    sku=_codes,
    name=_names | emails,
    quantity=st.sampled_from([1, 2, "3", 0.5, None, "many"]),
    price=_money,
    category=_names,
)
event_names = st.sampled_from(
    "Order Completed,completed order,Product Added,Product Added to Wishlist,Checkout Started,"
    "Product Viewed,Products Searched,Product Reviewed,Signed Up,Trial Started,Deep Link Opened,"
    "Push Notification Received,Push Notification Tapped,Install Attributed,Application Installed,"
    "application  installed,APPLICATION INSTALLED,"
    "Level Up,ad click,  Two  Words ".split(",")
)
_apple_campaign = _some(
    name=_names,
    id=st.sampled_from(["1234", 1234, "unknown"]),
    content=st.sampled_from(["skis", "unknown"]),
    ad_creative=_names,
    ad_group=_names,
    ad_group_id=st.sampled_from(["9", "unknown", None]),
    click_date=st.sampled_from(["2026-03-19T10:00:00Z", "unknown", None]),
    conversion_date=st.sampled_from(["2026-03-20T10:00:00Z", "unknown"]),
    source=st.sampled_from(["iAd", "iad", "AdServices", "mail"]),
    provider=st.sampled_from(["Apple", "apple", "Kochava"]),
)
properties = _some(
    order_id=_codes,
    product_id=_codes,
    id=_codes,
    name=_names,
    category=_names,
    price=_money,
    revenue=_money,
    total=_money,
    value=_money,
    quantity=_money,
    rating=st.sampled_from(["4", 5, "good"]),
    currency=_currencies,
    query=_names,
    url=st.just("skis://a/b?c=d"),
    type=st.sampled_from(["invited", "organic"]),
    action=_names,
    email=emails,
    phone=st.just("+15550100"),
    contact=emails,
    user_id=_codes | emails,
    provider=st.sampled_from(["Apple", "Kochava", "Other"]),
    campaign=_apple_campaign,
    click_date=st.just("2026-03-19T10:00:00Z"),
    source=_names,
    segment_source=_names,
    version=st.sampled_from(["4.0", 4, 4.5]),
    products=st.lists(products, max_size=3),
    own=json_values,
)
traits = _some(
    email=emails,
    name=_names,
    plan=st.sampled_from(["gold", "", "  ", 3, 1e21, 0.1, True, None, ["a"], {"a": 1}]),
    loyal=st.sampled_from([True, False, "true"]),
    contact=emails,
)
devices = _some(
    {"id": st.sampled_from([IDFV] * 5 + [ANDROID_ID, "UNKNOWN_ID", "", "a-42", "9c" * 32])},
    advertisingId=st.sampled_from([IDFA, ADID, IDFV.lower(), "", "00000000-0000-0000"]),
    advertising_id=st.sampled_from([IDFA, ADID]),
    idfa=st.sampled_from([IDFA, ""]),
    adTrackingEnabled=_flags,
    trackingStatus=st.sampled_from(
        ["authorized", "TrackingStatus.denied", "unknown", "notDetermined", 3, None]
    ),
    attTrackingStatus=st.sampled_from([0, 1, 2, 3, 3.0, "9"]),
    type=st.sampled_from(["ios", "android", "iOS", "phone", "tvos", None]),
    model=st.sampled_from(["iPhone16,2", "Pixel 8"]),
    adServicesToken=st.just("dG9rZW4="),
)
contexts = _some(
    {"device": devices},
    app=_some(version=st.sampled_from(["3.2.1", 3, None]), namespace=st.just("com.example.skis")),
    os=_some(
        name=st.sampled_from(["iOS", "iPhone OS", "Android", "Windows", "", None]),
        version=st.sampled_from(["17.5", 14]),
    ),
    ip=st.sampled_from(["203.0.113.7", "2001:db8::7", "256.1.1.1", "here", "", None]),
    userAgent=st.sampled_from(["Mozilla/5.0 (iPhone)", "Dalvik/2.1.0", "undefined", "", "curl/8"]),
    campaign=_apple_campaign,
    consent=_some(
        categoryPreferences=_some(Ads=st.booleans(), Sale=st.sampled_from([True, False, "true"]))
    ),
    personas=_some(computation_key=st.sampled_from(["loyal", "contact", "email", "gone"])),
)
_bits = st.sampled_from([0, 1])
kochava_options = _some(
    app_guid=st.just("koown"),
    kochavaDeviceId=st.sampled_from(["k-1", ""]),
    device_ids=_some(idfa=st.just(IDFA), adid=st.just(ADID), custom=st.sampled_from(["c", ""])),
    att=_flags,
    att_time=st.sampled_from([1774030016, 1774030016.5, 0, 1774030016900]),
    attDuration=st.sampled_from([4, 4.2]),
    att_detail=_names,
    gdpr_privacy_consent=_some(gdpr_applies=_bits, tc_string=st.just("CPAs/Z"), ad_user_data=_bits),
    adServicesToken=st.just("dG9rZW4="),
)
integrations = st.one_of(
    st.just({}),
    _some({"Kochava": kochava_options | st.sampled_from([True])}, All=st.booleans()),
    st.sampled_from([{}, {"all": False, "Kochava": {}}, {"All": False}, {"Kochava": False}]),
)

messages = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["track"] * 6 + ["identify"] * 3 + ["screen", "page"]),
        "event": event_names,
        "context": contexts,
        "properties": properties,
        "userId": st.sampled_from(["u-42", "u-42", 42, 42.0, "", None]) | emails,
    },
    optional={
        "messageId": st.just("m-1"),
        "anonymousId": st.sampled_from(["a-42", "", None]),
        "name": _names | emails,
        "traits": traits,
        "timestamp": _times,
        "originalTimestamp": _times,
        "request_ip": st.sampled_from(["203.0.113.9", "nowhere"]),
        "integrations": integrations,
    },
)
"""Messages such as apps and servers send, with everything that is odd about them in the field."""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to everything inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, (dict, list)):
            yield from places(inner, (*path, key))


def put(value: Any, path: tuple[Any, ...], new: Any) -> None:
    """Replace what stands at a path."""
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


@st.composite
def with_anything_inside(draw: st.DrawFn, values: st.SearchStrategy[Any] = json_values) -> Any:
    """A message in which up to three values, at any place, are others."""
    message = copy.deepcopy(draw(messages))
    for _ in range(draw(st.integers(1, 3))):
        found = sorted(places(message), key=repr)
        put(message, draw(st.sampled_from(found)), copy.deepcopy(draw(values)))
    return message


# Lists and objects are made anew each time: one that came twice could be put into itself.
marked = with_anything_inside(
    st.one_of(
        st.sampled_from([MARK, f"{MARK}@mail.example", f" {MARK}/{MARK}\ud800"]),
        st.builds(lambda: [MARK]),
        st.builds(lambda: {"a": MARK}),
    )
)
"""Messages some of whose values have `MARK` in them."""

anything = st.one_of(json_values, with_anything_inside())
"""What may come where a message should."""

options = _some(
    app_guids=st.sampled_from([{"com.example.skis": "koskis"}, {"ios": "koios"}]),
    require_device_id=st.booleans(),
    screens=st.sampled_from(["off", "view", "named"]),
    event_names=st.sampled_from([{"Level Up": "level complete"}, {"level up": "Other"}]),
    send_user_id=st.booleans(),
    deny_properties=st.sampled_from([["currency"], ["own", "name"]]),
    nested=st.sampled_from(["keep", "flatten", "drop"]),
    encode_user_agent=st.booleans(),
    required_consent=st.sampled_from([["Ads"], ["Ads", "Sale"]]),
    ad_user_data_consent=st.just("Ads"),
    ad_personalization_consent=st.just("Sale"),
    identity_traits=st.sampled_from([["plan"], ["plan", "contact", "loyal"]]),
    hash_traits=st.just({"loyal": "sha256"}),
    user_id_name=st.just("customer"),
)
signed_options = options.map(
    lambda chosen: {**chosen, "api_key": "AAAA-BBBB", "api_secret": "example-secret"}
)


def reordered(value: Any) -> Any:
    """The same JSON value with the keys of its objects in another order."""
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(item) for item in value] if isinstance(value, list) else value


_macros = st.sampled_from(["{macro}", "%7Bmacro%7D", "", " ", None])
_ids = st.sampled_from([IDFA, ADID, "00000000-0000-0000-0000-000000000000"]) | _macros
postbacks = _some(
    event_name=st.sampled_from(["_install", "Install", "Purchase"]) | _macros,
    network_name=st.sampled_from(["Net", "organic", ["Net", "Other"], 7]) | _macros,
    campaign_id=st.sampled_from([7, "7", 7.0, float("inf")]) | _macros,
    CAMPAIGN_NAME=_names | _macros,
    idfa=_ids,
    adid=_ids,
    kochava_device_id=_ids | texts,
    user_id=_macros | st.just("u-42"),
    install_date=_times | st.sampled_from(["1774030016", "1774030016900"]),
    ip=st.sampled_from(["203.0.113.7", "nowhere"]) | _macros,
    other=json_values,
)
_apple_values = st.sampled_from(["unknown", "UNKNOWN", "", "7", 7, 7.0, 10**400, True, None, [1]])
_iad = st.dictionaries(
    st.sampled_from(["iad-attribution", "iad-campaign-id", "iad-keyword", "iad-click-date"]),
    _apple_values | texts,
)
attributions = st.one_of(
    _iad,
    st.builds(lambda details: {"Version3.1": details}, _iad | scalars),
    st.dictionaries(
        st.sampled_from(["attribution", "campaignId", "clickDate", "adId", "creativeSetId"]),
        _apple_values | texts,
    ),
)
