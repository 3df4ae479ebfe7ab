import json
import shlex

import pytest

from kochava_segment import Options
from kochava_segment.server.console.forms import Form
from kochava_segment.server.console.snippets import as_curl, as_python_test
from kochava_segment.server.console.trial import as_text, changed_options, try_message
from tests.messages import ios


def _trial(message, **options):
    return try_message(json.dumps(message), Form(), Options.load({"app_guid": "ko'ex", **options}))


@pytest.mark.parametrize(
    ("message", "options"),
    [
        (
            ios(event="Order Completed", properties={"revenue": "9.99", "products": [{"id": "ü"}]}),
            {},
        ),
        (ios(properties={"quote": 'it\'s "so"\n\\'}), {"nested": "flatten", "send_user_id": False}),
        (ios(properties={}), {"api_key": "K", "api_secret": "S"}),
        (ios(), {"event_names": {"Level Up": "Level Complete"}, "deny_properties": ["level"]}),
        (ios(properties={"large": 1e999}), {}),
        (ios(event=""), {}),
        (ios(integrations={"Kochava": False}), {}),
        ({"type": "group"}, {}),
        ({**ios(), "type": "screen", "name": "Home"}, {"app_guids": {"ios": "koios"}}),
    ],
)
def test_the_python_test_passes(message, options):
    text = json.dumps(message).replace("Infinity", "1e999")
    trial = try_message(text, Form(), Options.load({"app_guid": "ko'ex", **options}))
    names = {}
    exec(compile(as_python_test(trial), "snippet", "exec"), names)
    tests = [names[name] for name in names if name.startswith("test_")]
    assert len(tests) == 1
    tests[0]()


def test_the_python_test_notices_a_change():
    text = as_python_test(_trial(ios()))
    names = {}
    exec(text.replace("'Level Up'", "'Level Down'", 1), names)
    with pytest.raises(AssertionError):
        names["test_level_up_is_mapped"]()


def test_the_python_test_holds_no_secret():
    text = as_python_test(_trial(ios(), api_key="KEY-OF-OURS", api_secret="secret-of-ours"))
    assert "OF-OURS" not in text
    assert "of-ours" not in text


def test_what_cannot_be_read_gives_no_test():
    assert as_python_test(try_message("{", Form(), Options.load({}))) == ""


def test_curl_is_one_command_with_the_bytes_that_are_sent():
    request = _trial(ios(properties={"quote": "it's $HOME `x`"})).explanation.request
    words = shlex.split(as_curl(request, signed=True).replace("\\\n", " "))
    assert words[:2] == ["curl", request.url]
    assert words[-2:] == ["--data-raw", request.body.decode()]
    assert "Kochava-Auth-Token: ********" in words


@pytest.mark.parametrize(
    ("options", "name", "text"),
    [
        ({}, "allow_properties", ""),
        ({"allow_properties": ["a", "b"]}, "allow_properties", "a, b"),
        ({"deny_properties": ["a,b"]}, "deny_properties", '["a,b"]'),
        ({"event_names": {"A": "B"}}, "event_names", "A=B"),
        ({"event_names": {"A=1": "B"}}, "event_names", '{"A=1": "B"}'),
        ({"send_user_id": False}, "send_user_id", ""),
        ({}, "send_user_id", "true"),
    ],
)
def test_an_option_is_written_so_that_it_is_read_as_it_was(options, name, text):
    configured = Options.load({"app_guid": "koexample", **options})
    assert as_text(configured, name) == text
    form = Form(
        {
            "option.tried": ["yes"],
            **{
                f"option.{one}": [as_text(configured, one)]
                for one in ("app_guid", "screens", "nested", "user_id_name", name)
            },
        }
    )
    trial = try_message("", form, configured)
    assert getattr(trial.options, name) == getattr(configured, name)


def test_options_that_were_changed_are_named():
    options = Options.load(
        {"app_guid": "koexample", "screens": "view", "identity_traits": ["plan"]}
    )
    assert changed_options(options) == {
        "app_guid": "koexample",
        "screens": "view",
        "identity_traits": ["plan"],
    }
