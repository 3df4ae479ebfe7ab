"""Reading a message: types, spellings, and problems that are all told at once."""

import pytest

from kochava_segment import EventFiltered, InvalidEventPayload
from kochava_segment.mapping.message import Message
from kochava_segment.options import Options
from tests.messages import ios


@pytest.fixture
def section_of():
    """The properties of a message, with the notes that are taken while they are read."""
    return lambda **values: Message({"properties": values}, Options()).properties


def problems_of(section):
    return [(problem.path, problem.detail) for problem in section.notes.problems]


@pytest.mark.parametrize("message", [None, [], "track", 5, b"{}"])
def test_a_message_is_an_object(map_with, message):
    with pytest.raises(InvalidEventPayload) as caught:
        map_with(message)
    assert [problem.path for problem in caught.value.problems] == ["message"]


@pytest.mark.parametrize("value", [None, "", "  ", "\t\n"])
def test_text_that_is_blank_is_none(section_of, value):
    section = section_of(key=value)
    assert section.text("key") is section.word("key") is section.text("gone") is None
    assert problems_of(section) == []


@pytest.mark.parametrize("value", [5, True, [], {}, b"x"])
def test_text_is_a_string(section_of, value):
    section = section_of(key=value)
    assert section.text("key") is None
    assert problems_of(section) == [("properties.key", "must be a string")]


def test_text_is_unicode(section_of):
    section = section_of(good="🎿", bad="\ud83c")
    assert section.text("good") == "🎿"
    assert section.text("bad") is None
    ((path, detail),) = problems_of(section)
    assert path == "properties.bad"
    assert "surrogate" in detail


@pytest.mark.parametrize(("value", "word"), [(" a ", " a "), (5, "5"), (5.0, "5"), (1.5, "1.5")])
def test_words_may_be_numbers(section_of, value, word):
    assert section_of(key=value).word("key") == word


@pytest.mark.parametrize("value", [True, float("nan"), float("inf"), 10**400, []])
def test_words_are_not_booleans_or_endless(section_of, value):
    section = section_of(key=value)
    assert section.word("key") is None
    assert problems_of(section) == [("properties.key", "must be a string")]


@pytest.mark.parametrize(
    ("value", "flag"),
    [(True, True), (False, False), (None, None), ("true", True), (" FALSE ", False)],
)
def test_flags(section_of, value, flag):
    section = section_of(key=value)
    assert section.flag("key") is flag
    assert problems_of(section) == []


@pytest.mark.parametrize("value", [1, 0, "yes", "", []])
def test_flags_are_true_or_false(section_of, value):
    section = section_of(key=value)
    assert section.flag("key") is None
    assert problems_of(section) == [("properties.key", "must be true or false")]


@pytest.mark.parametrize(("value", "number"), [(0, 0), (9, 9), (9.9, None), (5.9, 5), (None, None)])
def test_whole_numbers_lose_their_fraction_and_have_a_limit(section_of, value, number):
    section = section_of(key=value)
    assert section.whole_number("key", 9) == number
    assert len(problems_of(section)) == (value is not None and number is None)


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        (True, "must be a number"),
        ("5", "must be a number"),
        (-1, "must be a number from 0 to 9"),
        (10, "must be a number from 0 to 9"),
        (float("nan"), "must be a number from 0 to 9"),
    ],
)
def test_whole_numbers_are_numbers_within_limits(section_of, value, detail):
    section = section_of(key=value)
    assert section.whole_number("key", 9) is None
    assert problems_of(section) == [("properties.key", detail)]


def test_sections_inside_sections_know_their_path(section_of):
    section = section_of(a={"b": {"c": 5}}, wrong=[])
    inner = section.section("a").section("b")
    assert inner.path == "properties.a.b"
    assert inner.text("c") is None
    assert section.section("gone").text("x") is None
    assert section.section("wrong").values == {}
    assert problems_of(section) == [
        ("properties.a.b.c", "must be a string"),
        ("properties.wrong", "must be an object"),
    ]


def test_parts_that_are_missing_are_nobody_s(section_of):
    first, second = section_of(wrong=5), section_of()
    first.section("gone").section("deeper").text("x")
    first.section("wrong").section("deeper").flag("x")
    assert problems_of(first) == [("properties.wrong", "must be an object")]
    assert problems_of(second) == problems_of(second.section("gone")) == []
    assert problems_of(first.section("wrong")) == []


def test_a_problem_is_told_once_however_often_it_is_met(section_of):
    section = section_of(key=5)
    for _ in range(3):
        section.text("key")
    assert len(problems_of(section)) == 1


# integrations.Kochava


def options_of(kochava):
    return Message({"integrations": {"Kochava": kochava}}, Options()).kochava


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"kochava_device_id": "a"}, "a"),
        ({"kochavaDeviceId": "a"}, "a"),
        ({"kochava_device_id": "a", "kochavaDeviceId": "b"}, "a"),
        ({"kochava_device_id": None, "kochavaDeviceId": "b"}, "b"),
        ({"KochavaDeviceId": "a"}, None),
        ({}, None),
    ],
)
def test_options_come_in_two_spellings(given, value):
    assert options_of(given).text("kochava_device_id") == value


@pytest.mark.parametrize("kochava", [True, False, None, "yes", [], {}])
def test_options_that_are_no_object_are_none(kochava):
    options = options_of(kochava)
    assert options.text("app_guid") is None
    assert not options.values


def test_options_are_a_mapping_like_any_other():
    values = options_of({"appGuid": "a", "att": True}).values
    assert list(values) == ["appGuid", "att"]
    assert len(values) == 2
    assert values["app_guid"] == "a"
    with pytest.raises(KeyError):
        values["gone"]


def test_a_wrong_option_names_its_path(map_with):
    with pytest.raises(InvalidEventPayload) as caught:
        map_with(ios(integrations={"Kochava": {"appGuid": 5, "att": "perhaps"}}))
    assert [problem.path for problem in caught.value.problems] == [
        "integrations.Kochava.app_guid",
        "integrations.Kochava.att",
    ]


def test_errors_carry_the_message_id(map_with):
    for message_id, told in (("m-1", "m-1"), (7, "7"), (None, None)):
        with pytest.raises(InvalidEventPayload) as caught:
            map_with(ios(messageId=message_id, event=""))
        assert caught.value.message_id == told
        assert map_with(ios(messageId=message_id)).message_id == told


def test_integrations_all_is_read_in_both_cases_and_as_text(map_with):
    for integrations in ({"All": "true", "all": False}, {"All": None, "all": True}, {"Other": 5}):
        map_with(ios(integrations=integrations))
    with pytest.raises(InvalidEventPayload) as caught:
        map_with(ios(integrations={"All": "perhaps"}))
    assert [problem.path for problem in caught.value.problems] == ["integrations.All"]


@pytest.mark.parametrize("preferences", ["x", [], 5])
def test_consent_that_is_no_object_allows_nothing(map_with, preferences):
    message = ios(context__consent__categoryPreferences=preferences)
    with pytest.raises(EventFiltered) as caught:
        map_with(message, required_consent=["Ads"])
    assert caught.value.reason == "FILTERED_BY_END_USER_CONSENT"
