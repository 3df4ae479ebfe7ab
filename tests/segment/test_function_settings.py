"""Segment's settings: which options they stand for, and the destinations that are kept for them."""

from __future__ import annotations

import os
import signal
import threading

import attrs
import pytest

from kochava_segment import ConfigurationError, Options
from kochava_segment.segment.function_settings import KeptDestinations, options_of


def camel(name):
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({"apiKey": "koapp"}, {"app_guid": "koapp"}),
        ({"api_key": "koapp"}, {"app_guid": "koapp"}),
        ({"appGuid": "koapp"}, {"app_guid": "koapp"}),
        ({"appGUID": "koapp"}, {"app_guid": "koapp"}),
        ({"App GUID": "koapp"}, {"app_guid": "koapp"}),
        (
            {"appGuid": "koapp", "apiKey": "k", "apiSecret": "s"},
            {"app_guid": "koapp", "api_key": "k", "api_secret": "s"},
        ),
        (
            {"appGuids": {"ios": "koios"}, "apiKey": "k", "apiSecret": "s"},
            {"app_guids": {"ios": "koios"}, "api_key": "k", "api_secret": "s"},
        ),
        ({"maxRate": "50"}, {"max_rate": 50.0}),
        ({"maxRate": 50}, {"max_rate": 50}),
        ({"sendUserId": "false"}, {"send_user_id": False}),
        ({"sendUserId": False}, {"send_user_id": False}),
        ({"denyProperties": ["a", "b"]}, {"deny_properties": ["a", "b"]}),
        ({"denyProperties": "a, b"}, {"deny_properties": ["a", "b"]}),
        ({"eventNames": {"A": "View"}}, {"event_names": {"A": "View"}}),
        ({"hashTraits": "email=sha256"}, {"hash_traits": {"email": "sha256"}}),
        ({"timeout": "1,2"}, {"timeout": [1.0, 2.0]}),
        ({"appGuid": "", "apiKey": "koapp", "apiSecret": " "}, {"app_guid": "koapp"}),
        ({"screens": None, "eventNames": {}, "denyProperties": []}, {}),
        ({}, {}),
    ],
)
def test_settings_become_options(settings, options):
    assert options_of(settings) == options


TEXTUAL = [field for field in attrs.fields(Options) if field.metadata["kind"].parse is not None]


@pytest.mark.parametrize("field", TEXTUAL, ids=lambda field: field.name)
@pytest.mark.parametrize("spelt", [camel, str])
def test_every_option_can_be_set_in_both_spellings(field, spelt):
    """What is wrong with a value is found by the option's own check, so the name was understood."""
    beside = {"appGuid": "koapp"} if field.name == "api_key" else {}
    with pytest.raises(ConfigurationError) as caught:
        options_of({**beside, spelt(field.name): 1j})
    assert field.name in {problem.path for problem in caught.value.problems}
    assert "is not an option" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "path", "detail"),
    [
        ({"appGiud": "koapp"}, "appGiud", "is not an option"),
        ({"apiKey": "k", "apiSecret": "s"}, "appGuid", "is missing"),
        ({"appGuid": "koapp", "apiKey": "k"}, "api_secret", "is missing"),
        ({"appGuid": "koapp", "app_guid": "koapp"}, "app_guid", "in another spelling as well"),
        ({"maxRate": "fast"}, "maxRate", "must be a number"),
        ({"nested": "sideways"}, "nested", "must be one of"),
        ({"hooks": "print"}, "hooks", "is a Python object"),
        ({"devices": True}, "devices", "needs an outbox"),
    ],
)
def test_what_is_wrong_is_named(settings, path, detail):
    with pytest.raises(ConfigurationError) as caught:
        options_of(settings)
    assert [problem.path for problem in caught.value.problems] == [path]
    assert detail in caught.value.problems[0].detail


def test_everything_that_is_wrong_is_named_together():
    with pytest.raises(ConfigurationError) as caught:
        options_of({"maxRate": "fast", "appGiud": "x", "nested": "no", "hooks": "x"})
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize("settings", [None, "koapp", [], {"a": object()}, {1: "a", "b": "c"}])
def test_settings_that_are_no_json_object_are_refused(settings):
    kept = KeptDestinations(2)
    with pytest.raises(ConfigurationError, match="settings"), kept.of(settings):
        pass


# What is kept.


def settings(n):
    return {"appGuid": f"koapp-{n}"}


@pytest.fixture
def kept():
    kept = KeptDestinations(2)
    yield kept
    kept.close()


def use(kept, n):
    with kept.of(settings(n)) as destination:
        return destination


def is_closed(destination):
    return destination._transport._closed


def test_equal_settings_share_a_destination_and_others_do_not(kept):
    assert use(kept, 1) is use(kept, 1)
    assert use(kept, 1) is not use(kept, 2)
    assert use(kept, 1).options.app_guid == "koapp-1"


def test_the_one_that_was_not_used_for_longest_makes_room(kept):
    first, second = use(kept, 1), use(kept, 2)
    use(kept, 1)
    third = use(kept, 3)
    assert [is_closed(one) for one in (first, second, third)] == [False, True, False]
    assert use(kept, 1) is first
    assert use(kept, 2) is not second


def test_one_that_is_in_use_stays_open_until_it_is_not(kept):
    with kept.of(settings(1)) as first:
        with kept.of(settings(1)):
            for n in (2, 3, 4):
                use(kept, n)
            assert not is_closed(first)
        assert not is_closed(first)
    assert is_closed(first)


def test_an_error_of_its_user_leaves_it_usable(kept):
    with pytest.raises(KeyError), kept.of(settings(1)) as first:
        raise KeyError
    assert use(kept, 1) is first
    use(kept, 2), use(kept, 3)
    assert is_closed(first)


def test_closing_closes_all_and_further_uses_make_new_ones(kept):
    first, second = use(kept, 1), use(kept, 2)
    kept.close()
    assert is_closed(first)
    assert is_closed(second)
    again = use(kept, 1)
    assert again is not first
    assert not is_closed(again)


def test_wrong_settings_keep_nothing_and_lock_nothing(kept):
    for _ in range(2):
        with pytest.raises(ConfigurationError), kept.of({"appGiud": "x"}):
            pass
    assert use(kept, 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # of threads: that is the point
def test_a_forked_child_does_not_wait_for_a_lock_that_its_parent_holds(kept):
    with kept._lock:
        child = os.fork()
        if not child:
            signal.alarm(10)  # ends a child that hangs
            os._exit(0 if use(kept, 1) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_many_threads_find_no_closed_destination(kept):
    closed = []

    def call(thread):
        for n in range(200):
            with kept.of(settings((thread + n) % 4)) as destination:
                closed.append(is_closed(destination))

    threads = [threading.Thread(target=call, args=(thread,)) for thread in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert closed == [False] * 1200
