"""Track messages to post-install events: names, event_data and currency."""

import pytest

from kochava_segment import InvalidEventPayload
from tests.messages import MISSING, ios


def event(name, properties=None, **changes):
    return ios(event=name, properties={} if properties is None else properties, **changes)


@pytest.fixture
def told_by(map_with):
    """The event_data and currency that a message becomes, and the code and field of warnings."""

    def told_by(message, **options):
        request = map_with(message, **options)
        data = request.payload["data"]
        warned = [(warning.code, warning.field) for warning in request.warnings]
        return data["event_data"], data.get("currency"), warned

    return told_by


# Names


@pytest.mark.parametrize(
    ("segment", "kochava"),
    [
        ("Order Completed", "Purchase"),
        ("Completed Order", "Purchase"),
        ("Product Added", "Add to Cart"),
        ("Added Product", "Add to Cart"),
        ("Product Added to Wishlist", "Add to Wish List"),
        ("Checkout Started", "Checkout Start"),
        ("Started Order", "Checkout Start"),
        ("Product Viewed", "View"),
        ("Viewed Product", "View"),
        ("Products Searched", "Search"),
        ("Product Reviewed", "Rating"),
        ("Signed Up", "Registration Complete"),
        ("Trial Started", "Start Trial"),
        ("Push Notification Received", "Push Received"),
        ("Push Notification Tapped", "Push Opened"),
        ("Deep Link Opened", "_Deeplink"),
        ("  order   COMPLETED ", "Purchase"),
        ("purchase", "Purchase"),
        ("add to wish list", "Add to Wish List"),
        ("_deeplink", "_Deeplink"),
        ("Ad  Click", "Ad Click"),
        ("  Two  Words ", "Two  Words"),
        ("Add to Wishlist", "Add to Wishlist"),
        ("Application Opened", "Application Opened"),
    ],
)
def test_event_names(data_of, segment, kochava):
    assert data_of(event(segment))["event_name"] == kochava


def test_your_event_names_win_and_are_corrected_too(data_of):
    names = {"order completed": "Sale", "Level Up": "level COMPLETE", "Home": "PURCHASE"}
    assert data_of(event("Order  Completed"), event_names=names)["event_name"] == "Sale"
    assert data_of(event("level up"), event_names=names)["event_name"] == "Level Complete"
    assert data_of(event("Home"), event_names=names)["event_name"] == "Purchase"


def test_keys_go_with_the_kochava_name_however_the_event_came_by_it(event_data_of):
    properties = {"revenue": "5", "currency": "EUR"}
    expected = {"price": 5, "currency": "EUR", "user_id": "u-42"}
    assert event_data_of(event("purchase", properties)) == expected
    renamed = event("Bought", properties)
    assert event_data_of(renamed, event_names={"bought": "Purchase"}) == expected
    away = event("Order Completed", properties)
    assert event_data_of(away, event_names={"Order Completed": "Sale"}) == properties


# Keys


@pytest.mark.parametrize(
    ("name", "properties", "added"),
    [
        ("Order Completed", {"order_id": "o"}, {"order_id": "o", "user_id": "u-42"}),
        ("Product Added to Wishlist", {"sku": "s"}, {"content_id": "s", "user_id": "u-42"}),
        ("Product Viewed", {"category": "Ski"}, {"content_type": "Ski"}),
        ("Product Viewed", {"id": 7, "name": "Skis"}, {"content_id": 7, "name": "Skis"}),
        ("Products Searched", {"query": "ski"}, {"search_term": "ski"}),
        (
            "Product Reviewed",
            {"rating": "4.5", "id": "r"},
            {"rating_value": 4.5, "content_id": "r"},
        ),
        ("Signed Up", {"type": "organic"}, {"registration_method": "organic", "user_id": "u-42"}),
        ("Trial Started", {"trial_plan_name": "P"}, {"name": "P", "user_id": "u-42"}),
        ("Push Notification Received", {"action": "open"}, {"action": "open"}),
        ("Push Notification Tapped", {"action": "open"}, {"action": "open"}),
        ("Deep Link Opened", {"url": "a://b"}, {"uri": "a://b"}),
        ("Level Up", {"id": 7, "url": "a", "query": "b"}, {"id": 7, "url": "a", "query": "b"}),
    ],
)
def test_event_data_of_each_row(event_data_of, name, properties, added):
    assert event_data_of(event(name, properties)) == added


@pytest.mark.parametrize(
    ("properties", "content_id"),
    [
        ({"product_id": "p", "sku": "s", "id": "i"}, "p"),
        ({"product_id": "", "sku": "s", "id": "i"}, "s"),
        ({"product_id": None, "id": "i"}, "i"),
        ({"content_id": "c", "product_id": "p"}, "c"),
    ],
)
def test_content_id_is_the_first_of_its_sources(event_data_of, properties, content_id):
    data = event_data_of(event("Product Viewed", properties))
    assert data["content_id"] == content_id


def test_a_raw_key_that_is_there_wins_and_the_others_stay(told_by):
    properties = {"price": 3, "revenue": 4, "content_id": "c", "product_id": "p", "user_id": "own"}
    data, _, warned = told_by(event("Order Completed", properties))
    assert data == {**properties, "currency": "USD"}
    assert warned == []


@pytest.mark.parametrize(
    ("name", "properties", "price", "left"),
    [
        ("Order Completed", {"revenue": 1, "total": 2, "value": 3}, 1, {"total", "value"}),
        ("Order Completed", {"total": 2, "value": 3}, 2, {"value"}),
        ("Checkout Started", {"value": "3"}, 3, set()),
        ("Product Added", {"price": "1.50", "value": 2}, 1.5, {"value"}),
        ("Product Added", {"value": 2.0}, 2, set()),
        ("Trial Started", {"price": " 7 "}, 7, set()),
        ("Order Completed", {"revenue": 0}, 0, set()),
        ("Order Completed", {"revenue": "-3e2"}, -300, set()),
    ],
)
def test_price(event_data_of, name, properties, price, left):
    data = event_data_of(event(name, properties))
    assert data.pop("price") == price
    assert type(price) is type(event_data_of(event(name, properties))["price"])
    assert data == {**{key: properties[key] for key in left}, "currency": "USD", "user_id": "u-42"}


@pytest.mark.parametrize("value", ["free", "1,5", "", True, ["1"], {"a": 1}, "1" * 65, "1e999"])
def test_a_price_that_is_no_number_stays_as_it_was(told_by, value):
    data, currency, warned = told_by(event("Order Completed", {"revenue": value, "total": 5}))
    if value == "":
        assert data["price"] == 5  # an empty one is not there
        return
    assert data == {"revenue": value, "total": 5, "user_id": "u-42"}
    assert currency is None
    assert warned == [("bad-number", "properties.revenue")]


def test_a_rating_that_is_no_number_stays_as_it_was(told_by):
    data, _, warned = told_by(event("Product Reviewed", {"rating": "good"}))
    assert data == {"rating": "good"}
    assert warned == [("bad-number", "properties.rating")]


# Products


def test_products_give_ids_names_and_quantities_and_stay(told_by):
    products = [
        {"product_id": "p1", "sku": "s1", "name": "Skis", "quantity": 2},
        {"sku": "s2", "name": "Poles", "quantity": "3"},
        {"id": 3},
        {"name": "", "product_id": None, "quantity": None},
        {"quantity": ""},
    ]
    data, _, warned = told_by(event("Order Completed", {"products": products}))
    assert warned == []
    assert data["content_id"] == "p1,s2,3"
    assert data["name"] == "Skis,Poles"
    assert data["quantity"] == 8
    assert data["products"] == products


def test_product_ids_that_are_no_text_or_number_are_passed_over(event_data_of):
    products = [{"product_id": ["a"], "sku": "s"}, {"product_id": 2}, {"product_id": {}}]
    assert event_data_of(event("Order Completed", {"products": products}))["content_id"] == "2"


def test_properties_win_over_products(event_data_of):
    properties = {"sku": "s", "name": "n", "quantity": "9", "products": [{"id": 1, "name": "x"}]}
    data = event_data_of(event("Order Completed", properties))
    assert (data["content_id"], data["name"], data["quantity"]) == ("s", "n", 9)


@pytest.mark.parametrize("products", [[], "p1", {"id": 1}, [1, "a", None], None])
def test_products_that_are_none_give_nothing(event_data_of, products):
    data = event_data_of(event("Order Completed", {"products": products}))
    assert data == {"products": products, "user_id": "u-42"}


def test_a_quantity_that_is_no_number_counts_as_one(told_by):
    products = [{"quantity": "many"}, {"quantity": 0.5}, {"quantity": 0.5}]
    data, _, warned = told_by(event("Order Completed", {"products": products}))
    assert data["quantity"] == 2
    assert type(data["quantity"]) is int
    assert warned == [("bad-number", "properties.products[0].quantity")]


def test_quantities_whose_sum_no_double_holds_are_not_summed(told_by):
    products = [{"quantity": 1e308}] * 3
    data, _, warned = told_by(event("Order Completed", {"products": products}))
    assert "quantity" not in data
    assert warned == [("not-finite", "properties.products[1]")]
    huge = [{"quantity": 2**1023}, {"quantity": 2**1023}, {"quantity": 1.5}]
    assert told_by(event("Order Completed", {"products": huge}))[2][0][0] == "not-finite"


def test_sum_of_no_quantities_is_left_out(event_data_of):
    data = event_data_of(event("Order Completed", {"products": [{"quantity": 0}]}))
    assert "quantity" not in data


# User id


@pytest.mark.parametrize(
    ("user_id", "sent"), [("u-42", "u-42"), (42, "42"), (42.0, "42"), (None, None), (" ", None)]
)
def test_user_id(told_by, user_id, sent):
    data, _, warned = told_by(event("Signed Up", userId=user_id))
    assert data.get("user_id") == sent
    assert warned == []


def test_user_id_that_is_an_e_mail_address_is_left_out(told_by):
    data, _, warned = told_by(event("Signed Up", userId=" Ann@mail.example "))
    assert data == {}
    assert warned == [("pii-user-id", "userId")]


def test_user_id_is_not_sent_where_the_option_says_so(told_by):
    data, _, warned = told_by(event("Signed Up", userId="a@b.example"), send_user_id=False)
    assert (data, warned) == ({}, [])


def test_events_without_a_row_have_no_user_id(event_data_of):
    assert event_data_of(event("Level Up")) == {}


# Currency


@pytest.mark.parametrize(
    ("properties", "currency", "in_event_data", "warned"),
    [
        ({"revenue": 1, "currency": "eur"}, "EUR", "EUR", []),
        ({"revenue": 1, "currency": " Eur "}, "EUR", "EUR", []),
        ({"revenue": 1}, "USD", "USD", []),
        ({"revenue": 1, "currency": ""}, "USD", "USD", []),
        ({"revenue": 1, "currency": None}, "USD", "USD", []),
        ({"revenue": 1, "currency": "EURO"}, None, None, ["bad-currency"]),
        ({"revenue": 1, "currency": "€"}, None, None, ["bad-currency"]),
        ({"revenue": 1, "currency": "éur"}, None, None, ["bad-currency"]),
        ({"revenue": 1, "currency": "1US"}, None, None, ["bad-currency"]),
        ({"revenue": 1, "currency": 978}, None, None, ["bad-currency"]),
        ({"currency": "eur"}, "EUR", "eur", []),
        ({"currency": "x"}, None, "x", ["bad-currency"]),
        ({}, None, None, []),
        ({"revenue": "free", "currency": "eur"}, "EUR", "eur", ["bad-number"]),
    ],
)
def test_currency(told_by, properties, currency, in_event_data, warned):
    data, sent, warnings = told_by(event("Order Completed", properties))
    assert (sent, data.get("currency")) == (currency, in_event_data)
    assert [code for code, _ in warnings] == warned
    if warned == ["bad-currency"]:
        assert warnings == [("bad-currency", "properties.currency")]


def test_currency_goes_with_any_event_that_has_a_price(told_by):
    data, currency, _ = told_by(event("Level Up", {"price": "0.99"}))
    assert (data, currency) == ({"price": "0.99", "currency": "USD"}, "USD")


def test_a_price_never_changes_its_currency_because_a_list_of_properties_left_it_out(told_by):
    message = event("Order Completed", {"revenue": 1, "currency": "eur", "a": 1})
    allowed, currency, _ = told_by(message, allow_properties=["revenue"])
    assert (allowed["currency"], currency) == ("EUR", "EUR")
    denied, currency, _ = told_by(message, deny_properties=["currency"])
    assert (denied, currency) == ({"price": 1, "a": 1, "user_id": "u-42"}, None)


# What goes in and what does not


def test_properties_can_be_denied_and_allowed(event_data_of):
    message = event("Level Up", {"a": 1, "b": 2, "c": {"a": 3}})
    assert event_data_of(message, deny_properties=["a"]) == {"b": 2, "c": {"a": 3}}
    assert event_data_of(message, allow_properties=["a", "c"]) == {"a": 1, "c": {"a": 3}}
    assert event_data_of(message, allow_properties=[]) == {}
    both = event_data_of(message, allow_properties=["a", "b"], deny_properties=["a"])
    assert both == {"b": 2}


def test_denied_properties_feed_no_raw_key(event_data_of):
    message = event("Order Completed", {"revenue": 1, "total": 2, "products": [{"id": 1}]})
    data = event_data_of(message, deny_properties=["revenue", "products"])
    assert data == {"price": 2, "currency": "USD", "user_id": "u-42"}


def test_reserved_keys_are_renamed(told_by):
    reserved = (
        "network source fb_campaign campaign site creative attribution_type integration_type "
        "integration_version cracked jailbroken"
    ).split()
    data, _, warned = told_by(event("Level Up", {**dict.fromkeys(reserved, 1), "Source": 2}))
    assert data == {**{f"segment_{key}": 1 for key in reserved}, "Source": 2}
    assert sorted(warned) == sorted(("reserved-key", f"properties.{key}") for key in reserved)


@pytest.mark.parametrize(
    ("properties", "end"),
    [
        ({"source": "a"}, "it was renamed to it"),
        ({"source": "a", "segment_source": "b"}, "it was left out, since that name is taken"),
    ],
)
def test_the_warning_of_a_reserved_key_says_what_became_of_it(map_with, properties, end):
    (warning,) = map_with(event("Level Up", properties)).warnings
    assert warning.detail.endswith(end)
    assert "segment_source" in warning.detail


def test_a_reserved_key_does_not_overwrite_its_new_name(told_by):
    data, _, warned = told_by(event("Level Up", {"source": "a", "segment_source": "b"}))
    assert data == {"segment_source": "b"}
    assert warned == [("reserved-key", "properties.source")]


@pytest.mark.parametrize(("count", "warned"), [(16, []), (17, [("many-keys", "properties")])])
def test_more_than_sixteen_keys_are_warned_of_and_sent(told_by, count, warned):
    properties = {f"key_{number}": number for number in range(count)}
    data, _, warnings = told_by(event("Level Up", properties))
    assert data == properties
    assert warnings == warned


NESTED = {"a": {"b": [1, {"c": None}], "d": "x"}, "a_d": "own", "e": [], "f": 1}


@pytest.mark.parametrize(
    ("nested", "expected"),
    [
        ("keep", NESTED),
        ("drop", {"a_d": "own", "f": 1}),
        ("flatten", {"a_d": "own", "f": 1, "a_b_0": 1, "a_b_1_c": None}),
    ],
)
def test_nested_properties(event_data_of, nested, expected):
    assert event_data_of(event("Level Up", NESTED), nested=nested) == expected


@pytest.mark.parametrize("nested", ["drop", "flatten"])
def test_products_feed_raw_keys_before_they_are_flattened_or_dropped(event_data_of, nested):
    message = event("Order Completed", {"products": [{"sku": "s", "quantity": 2}]})
    data = event_data_of(message, nested=nested)
    assert (data["content_id"], data["quantity"]) == ("s", 2)
    assert "products" not in data
    assert data.get("products_0_sku") == ("s" if nested == "flatten" else None)


# Personal data


@pytest.mark.parametrize(
    ("properties", "path"),
    [
        ({"email": "ann"}, "properties.email"),
        ({"E-Mail": "ann"}, "properties.E-Mail"),
        ({"first_name": "Ann"}, "properties.first_name"),
        ({"phone": 5550100}, "properties.phone"),
        ({"contact": " Ann@mail.example "}, "properties.contact"),
        ({"a": {"b": ["x", "ann@mail.example"]}}, "properties.a.b[1]"),
        ({"a": {"lastName": "Lee"}}, "properties.a.lastName"),
        ({"ann@mail.example": {"phone": 1}}, "properties.[…].phone"),
    ],
)
def test_personal_properties_are_left_out(told_by, properties, path):
    _, _, warned = told_by(event("Level Up", properties))
    assert warned == [("pii-property", path)]


def test_personal_properties_that_are_allowed_by_name_go(event_data_of):
    properties = {"email": "ann@mail.example", "contact": "ann@mail.example", "phone": "1"}
    message = event("Level Up", {**properties, "emails": ["ann@mail.example", "x"]})
    data = event_data_of(message, allow_properties=["email", "contact", "emails"])
    assert data == {
        "email": "ann@mail.example",
        "contact": "ann@mail.example",
        "emails": ["ann@mail.example", "x"],
    }


def test_personal_values_inside_objects_are_allowed_by_their_own_name(told_by):
    address = "ann@mail.example"
    message = event("Level Up", {"a": {"contact": address, "emails": [address], "list": [address]}})
    data, _, warned = told_by(message, allow_properties=["a", "contact", "emails"])
    assert data == {"a": {"contact": address, "emails": [address], "list": []}}
    assert warned == [("pii-property", "properties.a.list[0]")]


def test_name_is_a_person_s_on_a_sign_up_and_a_product_s_elsewhere(told_by):
    data, _, warned = told_by(event("Signed Up", {"name": "Ann", "plan": {"name": "Gold"}}))
    assert data == {"plan": {"name": "Gold"}, "user_id": "u-42"}
    assert warned == [("pii-property", "properties.name")]
    assert told_by(event("Product Viewed", {"name": "Skis"}))[0] == {"name": "Skis"}


def test_a_screen_named_like_an_e_mail_address_loses_its_name(map_with):
    message = ios(type="screen", event=MISSING, name="ann@mail.example", properties={})
    for screens, name in (("view", "View"), ("named", "screen view")):
        request = map_with(message, screens=screens)
        assert request.payload["data"]["event_name"] == name
        assert b"ann@" not in request.body
        assert [(w.code, w.field) for w in request.warnings] == [("pii-property", "name")]


@pytest.mark.parametrize(("name", "added"), [("Home", {"name": "Home"}), (None, {})])
def test_a_viewed_screen_says_that_it_is_one(event_data_of, name, added):
    message = ios(type="screen", event=MISSING, name=name, properties={"a": 1})
    data = event_data_of(message, screens="view")
    assert data == {"a": 1, "content_type": "screen", **added}


def test_a_denied_name_is_no_screen_s_name(data_of):
    message = ios(type="page", event=MISSING, properties={"name": "Home"})
    data = data_of(message, screens="named", deny_properties=["name"])
    assert (data["event_name"], data["event_data"]) == ("screen view", {})


@pytest.mark.parametrize("kind", ["properties", "traits", "context"])
@pytest.mark.parametrize("value", [[], "x", 5, True])
def test_parts_of_a_message_are_objects(map_with, kind, value):
    with pytest.raises(InvalidEventPayload) as caught:
        map_with(ios(**{kind: value}))
    assert kind in [problem.path for problem in caught.value.problems]
