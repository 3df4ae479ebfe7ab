"""Where each field of a request came from."""

import pytest

from kochava_segment import EventFiltered, InvalidEventPayload, KochavaDestination
from kochava_segment.mapping.explain import raw_key_rule
from kochava_segment.mapping.standard_events import KEYS_BY_NAME
from tests.messages import IDFA, MISSING, android, ios


@pytest.fixture
def explain_with():
    """Explains a message with options."""

    def explain_with(message, **options):
        with KochavaDestination("koapp", **options) as destination:
            return destination.explain(message)

    return explain_with


@pytest.fixture
def sources_of(explain_with):
    """The sources of each field of the request that a message becomes."""

    def sources_of(message, **options):
        fields = explain_with(message, **options).fields
        return {field.field: field.sources for field in fields}

    return sources_of


@pytest.fixture
def left_out_of(explain_with):
    """What is not sent of a message, and why."""

    def left_out_of(message, **options):
        return {item.name: item.reason for item in explain_with(message, **options).left_out}

    return left_out_of


def test_the_request_is_that_of_map():
    with KochavaDestination("koapp", api_key="K", api_secret="S") as destination:
        assert destination.explain(ios()).request == destination.map(ios())


@pytest.mark.parametrize(
    ("message", "error"),
    [(ios(integrations={"All": False}), EventFiltered), (ios(event=""), InvalidEventPayload)],
)
def test_a_message_that_gives_no_request_gives_no_explanation(explain_with, message, error):
    with pytest.raises(error):
        explain_with(message)


def test_sources_of_an_event(sources_of):
    message = ios(
        event="Order Completed",
        properties={
            "revenue": "5",
            "currency": "eur",
            "order_id": "o",
            "source": "mail",
            "products": [{"sku": "s"}],
        },
    )
    assert sources_of(message) == {
        "action": (),
        "kochava_app_id": (),
        "kochava_device_id": ("context.device.id",),
        "data.device_ids.idfa": ("context.device.advertisingId",),
        "data.device_ids.idfv": ("context.device.id",),
        "data.usertime": ("timestamp",),
        "data.event_name": ("event",),
        "data.event_data.currency": ("properties.currency",),
        "data.event_data.order_id": ("properties.order_id",),
        "data.event_data.products": ("properties.products",),
        "data.event_data.segment_source": ("properties.source",),
        "data.event_data.price": ("properties.revenue",),
        "data.event_data.content_id": ("properties.products",),
        "data.event_data.quantity": ("properties.products",),
        "data.event_data.user_id": ("userId",),
        "data.currency": ("properties.currency",),
        "data.origination_ip": ("context.ip",),
        "data.device_ua": ("context.userAgent",),
        "data.device_ver": ("context.device.model", "context.os.name", "context.os.version"),
        "data.app_version": ("context.app.version",),
        "data.app_tracking_transparency.att": ("context.device.trackingStatus",),
        "data.device_limit_tracking": ("context.device.adTrackingEnabled",),
    }


def test_sources_of_an_install(sources_of):
    sources = sources_of(
        ios(
            event="Application Installed",
            properties={"version": "9"},
            context__device__adServicesToken="A",
            context__campaign={"provider": "Apple", "source": "iAd", "id": "77"},
        )
    )
    assert sources["app_ver"] == sources["data.app_version"] == ("properties.version",)
    assert sources["data.ad_services_token"] == ("context.device.adServicesToken",)
    id_field = "data.iad_attribution_details.Version3.1.iad-campaign-id"
    assert sources[id_field] == ("context.campaign.id",)


def test_sources_of_options_in_the_message(sources_of):
    options = {
        "app_guid": "koown",
        "kochavaDeviceId": "k",
        "device_ids": {"custom": "c"},
        "gdpr_privacy_consent": {"gdpr_applies": 1},
        "att": True,
        "att_time": 5,
    }
    path = "integrations.Kochava"
    sources = sources_of(ios(integrations={"Kochava": options}))
    assert sources["kochava_app_id"] == (f"{path}.app_guid",)
    assert sources["kochava_device_id"] == (f"{path}.kochavaDeviceId",)
    assert sources["data.device_ids.custom"] == (f"{path}.device_ids.custom",)
    assert sources["data.gdpr_privacy_consent.gdpr_applies"] == (
        f"{path}.gdpr_privacy_consent.gdpr_applies",
    )
    assert sources["data.app_tracking_transparency.att"] == (f"{path}.att",)
    assert sources["data.app_tracking_transparency.att_time"] == (f"{path}.att_time",)


def test_sources_of_the_next_best_places(sources_of):
    sources = sources_of(
        ios(
            timestamp=MISSING,
            sentAt=5,
            context__ip="x",
            request_ip="203.0.113.9",
            context__device__id=MISSING,
        ),
        app_guids={"com.example.skis": "koskis"},
    )
    assert sources["data.usertime"] == ("sentAt",)
    assert sources["data.origination_ip"] == ("request_ip",)
    assert sources["kochava_device_id"] == ("anonymousId",)
    assert sources["kochava_app_id"] == ("context.app.namespace",)


def test_what_nothing_gave_has_no_source(sources_of):
    sources = sources_of(ios(event="Product Added", properties={"price": 1}, context__os=MISSING))
    assert sources["data.currency"] == sources["data.event_data.currency"] == ()
    assert sources["data.device_ver"] == ()


@pytest.mark.parametrize(
    ("changes", "source"),
    [
        ({"name": "Home"}, "name"),
        ({"properties": {"name": "Home"}}, "properties.name"),
        ({"name": " ", "properties": {"name": "Home"}}, "properties.name"),
    ],
)
def test_sources_of_a_screen(sources_of, changes, source):
    message = ios(type="screen", event=MISSING, **{"properties": {"a": 1}, **changes})
    viewed = sources_of(message, screens="view")
    assert viewed["data.event_data.name"] == (source,)
    assert viewed["data.event_data.content_type"] == ()
    assert sources_of(message, screens="named")["data.event_name"] == (source,)


def test_a_screen_without_a_name_has_no_source_of_one(sources_of):
    message = ios(type="page", event=MISSING, properties={"a": 1})
    assert sources_of(message, screens="view")["data.event_name"] == ()
    named = sources_of(message, screens="named")
    assert named["data.event_name"] == ()
    assert named["data.event_data.a"] == ("properties.a",)


def test_sources_of_flattened_properties(sources_of):
    message = ios(properties={"a": {"b": 1}, "a_x": {"b": 2}})
    sources = sources_of(message, nested="flatten")
    assert sources["data.event_data.a_b"] == ("properties.a",)
    assert sources["data.event_data.a_x_b"] == ("properties.a_x",)


def test_sources_of_an_identity_link(sources_of):
    message = ios(
        type="identify",
        traits={"plan": "gold", "loyal": True},
        context__personas__computation_key="loyal",
    )
    assert sources_of(message, identity_traits=["plan"]) == {
        "kochava_app_id": (),
        "device_id.idfa": ("context.device.advertisingId",),
        "device_id.idfv": ("context.device.id",),
        "data.user_id": ("userId",),
        "data.loyal": ("traits.loyal",),
        "data.plan": ("traits.plan",),
    }


def test_the_source_of_a_trait_named_like_the_user_id(sources_of):
    message = ios(type="identify", traits={"user_id": "other"}, userId="ann@mail.example")
    sources = sources_of(message, identity_traits=["user_id"])
    assert sources["data.user_id"] == ("traits.user_id",)


def found_at(payload, path):
    """What stands at a path whose keys have no dots, but for Apple's version."""
    for key in path.replace("Version3.1", "Version3-1").split("."):
        payload = payload[key.replace("Version3-1", "Version3.1")]
    return payload


@pytest.mark.parametrize(
    "message",
    [
        ios(event="Order Completed", properties={"revenue": 5, "source": "a", "email": "b"}),
        ios(
            event="Application Installed",
            context__campaign={"provider": "Apple", "source": "iAd", "id": "77"},
            integrations={"Kochava": {"app_guid": "koown", "gdpr_privacy_consent": {"a": 1}}},
        ),
        ios(type="identify", traits={"loyal": True}, context__personas__computation_key="loyal"),
    ],
    ids=lambda message: message.get("event"),
)
def test_every_field_has_the_value_that_is_sent_and_a_rule(explain_with, message):
    explanation = explain_with(message)
    for field in explanation.fields:
        assert field.value == found_at(explanation.request.payload, field.field)
        assert field.rule.endswith(".")
        assert not field.rule.isupper()


def test_rules_are_those_of_the_field(explain_with):
    message = ios(event="Order Completed", properties={"revenue": 5, "source": "a"})
    rules = {field.field: field.rule for field in explain_with(message).fields}
    assert rules["data.event_data.price"].startswith("properties.price, else properties.revenue")
    assert "USD" in rules["data.event_data.currency"]
    assert rules["data.event_data.currency"] == rules["data.currency"]
    assert "reserves" in rules["data.event_data.segment_source"]
    assert "16 hex digits" in rules["data.device_ids.idfa"]
    link = {field.field: field.rule for field in explain_with(ios(type="identify")).fields}
    assert link["device_id.idfa"] == rules["data.device_ids.idfa"]
    assert link["data.user_id"] == "The message's userId."


def test_every_field_has_a_rule_and_its_value(explain_with):
    explanation = explain_with(ios(event="Order Completed", properties={"revenue": 5}))
    assert all(field.rule.endswith(".") for field in explanation.fields)
    values = {field.field: field.value for field in explanation.fields}
    assert values["data.event_data.price"] == 5
    assert values["data.device_ids.idfa"] == IDFA
    assert values["action"] == "event"


@pytest.mark.parametrize(
    ("event", "key", "rule"),
    [
        (
            "Purchase",
            "price",
            (
                "properties.price, else properties.revenue, else properties.total, else "
                "properties.value; as a number."
            ),
        ),
        (
            "Purchase",
            "content_id",
            (
                "properties.content_id, else properties.product_id, else properties.sku, else "
                "properties.id, else products[].product_id or sku or id joined with commas."
            ),
        ),
        (
            "Purchase",
            "quantity",
            "properties.quantity, else products[].quantity summed; as a number.",
        ),
        ("Purchase", "user_id", "properties.user_id, else userId."),
        ("_Deeplink", "uri", "properties.uri, else properties.url."),
    ],
)
def test_rules_of_raw_keys_are_written_from_the_table(event, key, rule):
    (raw_key,) = (raw_key for raw_key in KEYS_BY_NAME[event] if raw_key.key == key)
    assert raw_key_rule(raw_key) == rule


# What is left out


def test_missing_fields_say_where_was_looked(left_out_of):
    reasons = left_out_of(android(context__ip=MISSING, context__app=MISSING, timestamp="soon"))
    assert "Kochava wants the device's IP address" in reasons["data.origination_ip"]
    assert "context.app.version" in reasons["data.app_version"]
    assert "timestamp is not a time" in reasons["data.usertime"]
    assert "does not apply here" in reasons["data.app_tracking_transparency"]
    assert "does not apply here" in reasons["data.ad_services_token"]


def test_properties_left_out_say_why(left_out_of):
    message = ios(
        event="Product Viewed",
        properties={
            "email": "ann@mail.example",
            "category": "Ski",
            "secret": 1,
            "list": [1],
            "odd": float("nan"),
            "segment_site": 1,
            "site": 2,
        },
    )
    reasons = left_out_of(message, deny_properties=["secret"], nested="drop")
    assert "personal data" in reasons["properties.email"]
    assert reasons["properties.category"] == "became event_data.content_type"
    assert reasons["properties.secret"] == "listed in deny_properties"
    assert "nested" in reasons["properties.list"]
    assert "not a number" in reasons["properties.odd"]
    assert "segment_site" in reasons["properties.site"]
    assert "properties.segment_site" not in reasons
    allowed = left_out_of(message, allow_properties=["category"])
    assert allowed["properties.list"] == "not listed in allow_properties"


def test_renamed_properties_are_no_loss(left_out_of):
    reasons = left_out_of(ios(properties={"source": "mail"}))
    assert reasons["properties.source"] == "became event_data.segment_source"


def test_traits_left_out_say_why(left_out_of):
    message = ios(type="identify", traits={"plan": ["a"], "other": 1, "fine": "x"})
    reasons = left_out_of(message, identity_traits=["plan", "fine"])
    assert reasons.keys() == {"traits.plan", "traits.other"}
    assert "an identity is one value" in reasons["traits.plan"]
    assert "identity_traits" in reasons["traits.other"]


@pytest.mark.parametrize("properties", [MISSING, None, {}])
def test_a_message_without_properties_is_explained(left_out_of, properties):
    message = ios(properties=properties)
    assert left_out_of(message, api_key="K", api_secret="S").keys() == left_out_of(message).keys()


def test_the_text_is_for_reading(explain_with):
    text = str(explain_with(ios(context__ip="x", properties={"email": "hidden"})))
    assert text.startswith("event → https://control.kochava.com/track/json\n")
    assert "data.usertime = 1774030016\n    from timestamp\n" in text
    assert "\nLeft out:\n" in text
    assert "\nWarnings:\n" in text
    assert "bad-ip: context.ip was left out" in text
    assert "hidden" not in text
    assert "Warnings" not in str(explain_with(ios()))


def test_a_currency_of_an_event_of_one_s_own_is_copied_as_it_is():
    device = {"id": "7F2A1C5E-0B1D-4E0B-9E6F-3C2A9D1B4F10", "type": "ios"}
    message = {"type": "track", "event": "Ours", "context": {"device": device}}
    message["properties"] = {"currency": "chf"}
    with KochavaDestination("koexample") as kochava:
        explained = {field.field: field for field in kochava.explain(message).fields}
    found = explained["data.event_data.currency"]
    assert (found.value, found.rule) == ("chf", "Copied from properties.")
