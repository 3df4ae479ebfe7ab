"""Identify messages to IdentityLinks."""

import hashlib

import pytest

from kochava_segment import EventFiltered, InvalidEventPayload
from kochava_segment.mapping.identifiers import Device
from kochava_segment.mapping.mapper import map_identity_link
from kochava_segment.options import Options
from tests.messages import ADID, ANDROID_ID, IDFA, IDFV, MISSING, android, ios


def identify(traits=None, message_of=ios, **changes):
    changes = {"event": MISSING, "properties": MISSING, **changes}
    return message_of(type="identify", traits={} if traits is None else traits, **changes)


@pytest.fixture
def linked_by(map_with):
    """The identities that a message becomes, and the code and field of its warnings."""

    def linked_by(message, **options):
        request = map_with(message, **options)
        return request.payload["data"], [(w.code, w.field) for w in request.warnings]

    return linked_by


def test_an_identity_link_is_about_the_known_device_ids(map_with):
    request = map_with(identify())
    assert request.payload == {
        "kochava_app_id": "koapp",
        "device_id": {"idfa": IDFA, "idfv": IDFV},
        "data": {"user_id": "u-42"},
    }
    assert request.url == "https://control.kochava.com/v1/cpi/identityLink.php"
    assert request.action == "identity_link"
    assert request.headers == {}
    assert map_with(identify(message_of=android)).payload["device_id"] == {
        "adid": ADID,
        "android_id": ANDROID_ID,
    }


def test_empty_device_ids_are_left_out(map_with):
    message = identify(integrations__Kochava__device_ids={"idfa": "", "custom": "c"})
    assert map_with(message).payload["device_id"] == {"custom": "c", "idfv": IDFV}


def test_without_a_device_the_error_says_what_to_do(map_with):
    message = identify(context=MISSING)
    with pytest.raises(InvalidEventPayload) as caught:
        map_with(message)
    (problem,) = caught.value.problems
    assert problem.path == "context.device.id"
    assert "Send Mobile IDs" in problem.detail
    assert "device directory" in problem.detail


def test_time_and_address_do_not_matter_to_a_link(map_with):
    message = identify(timestamp="soon", context__ip="x", context__userAgent=MISSING)
    assert map_with(message).warnings == ()


def test_a_link_can_be_about_a_device_that_is_known_from_elsewhere():
    known = Device(
        platform="android",
        app_guid="koapp",
        kochava_device_id="",
        device_ids={"adid": ADID, "android_id": ""},
    )
    options = Options.load({"identity_traits": ["plan"]})
    message = {"type": "identify", "userId": "u-42", "messageId": "m", "traits": {"plan": "gold"}}
    request = map_identity_link(message, options, known)
    assert request.payload == {
        "kochava_app_id": "koapp",
        "device_id": {"adid": ADID},
        "data": {"user_id": "u-42", "plan": "gold"},
    }
    assert (request.action, request.message_id) == ("identity_link", "m")
    assert request.url.endswith("/v1/cpi/identityLink.php")
    assert request.ordering_key == f"koapp/{ADID}"
    with pytest.raises(EventFiltered):
        map_identity_link({**message, "integrations": {"Kochava": False}}, options, known)


# userId


def test_user_id_has_the_name_that_the_option_gives_it(linked_by):
    assert linked_by(identify(userId=7), user_id_name="customer")[0] == {"customer": "7"}


def test_user_id_that_is_an_e_mail_address_is_no_identity(linked_by):
    message = identify({"plan": "gold"}, userId="ann@mail.example")
    data, warned = linked_by(message, identity_traits=["plan"])
    assert data == {"plan": "gold"}
    assert warned == [("pii-user-id", "userId")]


@pytest.mark.parametrize(
    ("user_id", "options"),
    [
        (None, {}),
        ("", {}),
        ("ann@mail.example", {}),
        ("u-42", {"send_user_id": False}),
        (None, {"identity_traits": ["plan"]}),
    ],
)
def test_nothing_to_link_is_filtered(map_with, user_id, options):
    with pytest.raises(EventFiltered) as caught:
        map_with(identify({"other": 1}, userId=user_id), **options)
    assert caught.value.reason == "NOTHING_TO_LINK"


def test_nothing_to_link_with_no_device_is_filtered_too(map_with):
    with pytest.raises(EventFiltered):
        map_with(identify(userId=None, context=MISSING))


def test_a_broken_user_id_is_not_nothing_to_link(map_with):
    with pytest.raises(InvalidEventPayload) as caught:
        map_with(identify(userId=["u"]))
    assert [problem.path for problem in caught.value.problems] == ["userId"]


# Traits


def test_only_listed_traits_are_sent_in_the_order_of_the_list(map_with):
    message = identify({"a": "1", "b": "2", "c": "3"})
    data = map_with(message, identity_traits=["c", "a", "gone"]).payload["data"]
    assert list(data.items()) == [("user_id", "u-42"), ("c", "3"), ("a", "1")]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" As it is ", " As it is "),
        (True, "true"),
        (False, "false"),
        (5, "5"),
        (5.0, "5"),
        (0.1, "0.1"),
        (-1.50, "-1.5"),
        (1e21, "1000000000000000000000"),
        (1e16, "10000000000000000"),
        (1e-7, "0.0000001"),
        (0, "0"),
    ],
)
def test_values_become_text(linked_by, value, text):
    data, warned = linked_by(identify({"trait": value}), identity_traits=["trait"])
    assert data == {"user_id": "u-42", "trait": text}
    assert warned == []


@pytest.mark.parametrize("value", [None, "", "  "])
@pytest.mark.parametrize("hashed", [{}, {"trait": "sha256"}])
def test_values_that_are_none_are_left_out(linked_by, value, hashed):
    message = identify({"trait": value})
    data, warned = linked_by(message, identity_traits=["trait"], hash_traits=hashed)
    assert (data, warned) == ({"user_id": "u-42"}, [])


@pytest.mark.parametrize("value", [[], ["a"], {}, {"a": 1}])
def test_lists_and_objects_are_no_identities(linked_by, value):
    data, warned = linked_by(identify({"trait": value}), identity_traits=["trait"])
    assert data == {"user_id": "u-42"}
    assert warned == [("bad-trait", "traits.trait")]


def test_a_number_that_is_none_is_left_out(linked_by):
    data, warned = linked_by(identify({"trait": float("nan")}), identity_traits=["trait"])
    assert data == {"user_id": "u-42"}
    assert warned == [("not-finite", "traits.trait")]


def test_user_id_wins_over_a_trait_of_its_name(linked_by):
    message = identify({"user_id": "other"})
    assert linked_by(message, identity_traits=["user_id"])[0] == {"user_id": "u-42"}
    assert linked_by({**message, "userId": None}, identity_traits=["user_id"])[0] == {
        "user_id": "other"
    }


def test_hashes_are_of_trimmed_lower_cased_text(linked_by):
    options = {
        "identity_traits": ["email", "age"],
        "hash_traits": {"email": "sha256", "age": "sha256"},
    }
    data, _ = linked_by(identify({"email": " Ann@Mail.Example ", "age": 5.0}), **options)
    assert data["email"] == hashlib.sha256(b"ann@mail.example").hexdigest()
    assert data["age"] == hashlib.sha256(b"5").hexdigest()


def test_a_trait_whose_value_is_an_e_mail_address_is_left_out(linked_by):
    data, warned = linked_by(identify({"login": "ann@mail.example"}), identity_traits=["login"])
    assert data == {"user_id": "u-42"}
    assert warned == [("pii-trait", "traits.login")]


# Engage


def engage(key, traits, **changes):
    return identify(traits, context__personas__computation_key=key, **changes)


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (False, "false"), ("true", "true"), (9.5, "9.5")]
)
def test_engage_s_own_trait_goes_always(linked_by, value, text):
    data, _ = linked_by(engage("big_spender", {"big_spender": value, "other": 1}))
    assert data == {"user_id": "u-42", "big_spender": text}


def test_engage_s_own_trait_comes_before_listed_ones_and_once(map_with):
    message = engage("b", {"a": "1", "b": "2"}, userId=None)
    data = map_with(message, identity_traits=["a", "b"]).payload["data"]
    assert list(data) == ["b", "a"]


def test_engage_s_own_trait_is_not_sent_if_it_names_a_person(linked_by):
    data, warned = linked_by(engage("email", {"email": "hidden"}))
    assert data == {"user_id": "u-42"}
    assert warned == [("pii-trait", "traits.email")]


def test_a_computation_without_its_trait_links_nothing(map_with):
    with pytest.raises(EventFiltered):
        map_with(engage("gone", {"other": True}, userId=None))


def test_an_engage_message_without_device_ids_is_invalid(map_with):
    message = engage("big_spender", {"big_spender": True})
    del message["context"]["device"]
    with pytest.raises(InvalidEventPayload, match="Send Mobile IDs"):
        map_with(message)
