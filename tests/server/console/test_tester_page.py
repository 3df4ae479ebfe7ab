import json

import pytest

from kochava_segment.emulator import Faults
from tests.messages import IDFA, MISSING, ios
from tests.server.console.running_console import Visitor, running_console, text_of


@pytest.fixture
def console(shared_console):
    kochava = shared_console.kochava
    kochava.clear()
    kochava.faults = Faults()
    kochava.received = kochava.counted = 0
    return shared_console


def _map(visitor, message, **options):
    text = message if isinstance(message, str) else json.dumps(message)
    fields = {"message": text}
    if options:
        as_they_are = {
            "app_guid": "koexample",
            "screens": "off",
            "nested": "keep",
            "user_id_name": "user_id",
        }
        options = {"send_user_id": "true", **as_they_are, **options}
        fields |= {f"option.{name}": value for name, value in options.items() if value is not None}
        fields["option.tried"] = "yes"
    return visitor.post("/tester", fields, headers={"HX-Request": "true"})


def test_the_samples_can_be_loaded_and_each_comes_to_something(visitor):
    page = visitor.get("/tester").text
    assert page.count("<option value=") >= 10
    verdicts = set()
    for number in range(page.count("<option value=")):
        answer = visitor.get(f"/tester?sample={number}")
        assert answer.status_code == 200
        verdicts |= {
            word
            for word in ("Filtered:", "Invalid:", "Not supported:", "POST")
            if word in answer.text
        }
    assert verdicts == {"Filtered:", "Invalid:", "Not supported:", "POST"}


@pytest.mark.parametrize("number", ["99", "-1", "x", "٣", "9" * 50])
def test_a_sample_that_is_not_there_leaves_the_page_empty(visitor, number):
    answer = visitor.get("/tester", params={"sample": number})
    assert answer.status_code == 200
    assert "The request appears here" in answer.text


def test_a_message_is_shown_beside_what_it_becomes(visitor):
    text = text_of(_map(visitor, ios(event="Order Completed", properties={"revenue": "9.99"})))
    assert 'data.event_name "Purchase"' in text
    assert "data.event_data.price 9.99 from properties.revenue" in text
    assert f'data.device_ids.idfa "{IDFA}" from context.device.advertisingId' in text


def test_a_part_is_a_part_and_a_page_is_a_page(visitor):
    assert "<html" not in _map(visitor, ios()).text
    page = visitor.post("/tester", {"message": json.dumps(ios())}).text
    assert "<html" in page
    assert "data.event_name" in " ".join(
        page.replace("<wbr>", "")
        .replace('<span class="parent">', "")
        .replace("</span>", "")
        .split()
    )


def test_every_field_can_be_focused_and_says_where_it_is_from(visitor):
    text = _map(visitor, ios()).text
    buttons = text.count('<button type="button" aria-describedby="origin-')
    assert buttons == text.count('role="tooltip"') > 10


def test_warnings_stand_where_they_belong(visitor):
    text = text_of(_map(visitor, ios(context__ip=MISSING, properties={"network": "x"})))
    assert "data.event_data.segment_network" in text
    field = text.index("data.event_data.segment_network")
    assert field < text.index("reserved-key properties.network") < text.index("data.device_ua")
    assert "no-ip context.ip" in text
    assert "Pass on the address of the client, not that of your server." in text, "what to do"
    assert "2 warnings" in text


def test_what_is_left_out_has_its_reason(visitor):
    text = text_of(
        _map(visitor, ios(properties={"email": "a@example.com"}), deny_properties="email")
    )
    assert "properties.email Listed in deny_properties" in text


def test_options_are_tried_and_the_configuration_stays(console, visitor):
    screen = {**ios(), "type": "screen", "name": "Home", "event": None}
    assert "SCREENS_OFF" in _map(visitor, screen).text
    tried = text_of(_map(visitor, screen, screens="named", app_guid="koother"))
    assert 'data.event_name "screen view Home"' in tried
    assert 'kochava_app_id "koother"' in tried
    assert "Not as configured: app_guid koother, screens named" in tried
    assert console.destination.options.screens == "off"
    assert "SCREENS_OFF" in _map(visitor, screen).text


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"nested": "flatten"}, "data.event_data.a_b 1"),
        ({"event_names": "Level Up=Level Complete"}, 'data.event_name "Level Complete"'),
        ({"allow_properties": "level"}, "properties.a Not listed in allow_properties"),
        ({"required_consent": "Ads"}, "data.event_data.level"),
        ({"app_guid": ""}, "app_guid"),
        ({"hash_traits": "x"}, "hash_traits must be written name=value"),
        ({"identity_traits": "email"}, "identity_traits lists email, which is personal data"),
        ({"screens": "sideways"}, "screens must be one of off, view, named"),
    ],
)
def test_each_kind_of_option_can_be_tried(visitor, options, expected):
    message = ios(properties={"level": "3", "a": {"b": 1}})
    assert expected in text_of(_map(visitor, message, **options))


def test_a_flag_that_is_not_ticked_is_false(visitor):
    message = ios(event="Signed Up")
    assert "data.event_data.user_id" in text_of(_map(visitor, message))
    assert "data.event_data.user_id" not in text_of(_map(visitor, message, send_user_id=None))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("{", "This cannot be read. The message must be JSON: "),
        ('{"a": 1, "a": 2}', "a occurs twice in one object"),
        ("[" * 60_000, "nested too deeply"),
        (ios(properties={"long": "x" * 66_000}), "65,536 are tried"),
        ("NaN", "a number that JSON does not know"),
        ('"\\ud800"', "must be"),
        ('{"type": "track", "event": "x", "\\ud800": 1}', "Invalid"),
        ("17", "must be"),
        (ios(event=""), "event is missing"),
        ({"type": "group"}, "Not supported"),
        (ios(integrations={"Kochava": False}), "FILTERED_BY_INTEGRATIONS_OBJECT"),
    ],
)
def test_what_cannot_be_mapped_says_why(visitor, message, expected):
    answer = _map(visitor, message)
    assert answer.status_code == 200
    assert expected in text_of(answer)
    assert "Send to the emulator" not in answer.text


def test_a_message_cannot_break_out_of_the_page(visitor):
    attack = "</textarea><script>alert(1)</script><img src=x onerror=alert(1)>"
    message = ios(event=attack, userId=attack, properties={attack: attack})
    for answer in (
        _map(visitor, message),
        visitor.post("/tester", {"message": json.dumps(message)}),
    ):
        assert "<script>alert" not in answer.text
        assert "<img" not in answer.text


def test_curl_hides_secrets(tmp_path):
    keys = {"api_key": "KEY-OF-OURS", "api_secret": "secret-of-ours"}
    with running_console(tmp_path, **keys) as running:
        one = Visitor(running.url).log_in()
        answer = _map(one, ios())
        one.close()
    assert "Kochava-Api-Key: ********" in answer.text
    assert "Kochava-Auth-Token: ********" in answer.text
    assert "KEY-OF-OURS" not in answer.text
    assert "secret-of-ours" not in answer.text


def test_the_emulator_judges_it_and_nothing_else_is_sent(console, visitor):
    answer = visitor.post("/tester/emulator", {"message": json.dumps(ios())})
    assert "The emulator took it: status 200, 1 attempt" in text_of(answer)
    assert "It found nothing to complain of" in text_of(answer)
    assert console.kochava.received == 0


def test_the_emulator_says_what_it_does_not_like(visitor):
    properties = {f"key{number}": number for number in range(20)}
    answer = visitor.post("/tester/emulator", {"message": json.dumps(ios(properties=properties))})
    assert "advice: data.event_data" in text_of(answer)


def test_the_emulator_checks_the_signature(tmp_path):
    keys = {"api_key": "KEY-OF-OURS", "api_secret": "secret-of-ours"}
    with running_console(tmp_path, **keys) as running:
        one = Visitor(running.url).log_in()
        answer = one.post("/tester/emulator", {"message": json.dumps(ios())})
        one.close()
    assert "The emulator took it: status 200" in text_of(answer)


def _permit(answer):
    return answer.text.partition('name="permit" value="')[2].partition('"')[0]


def test_the_real_endpoint_gets_it_once_after_a_confirmation(console, visitor):
    fields = {"message": json.dumps(ios(event="Order Completed", properties={"revenue": 12}))}
    asked = visitor.post("/tester/confirm", fields)
    assert "Price 12 USD" in text_of(asked)
    assert console.kochava.received == 0
    sure = {**fields, "permit": _permit(asked), "sure": "yes"}
    assert "Kochava took it: status 200" in text_of(visitor.post("/tester/send", sure))
    assert console.kochava.counted == 1
    assert visitor.post("/tester/send", sure).status_code == 409  # a page that is loaded anew
    assert console.kochava.counted == 1


@pytest.mark.parametrize("fields", [{"sure": "yes"}, {"sure": "yes", "permit": "made-up"}, {}])
def test_without_a_confirmation_nothing_is_sent(console, visitor, fields):
    asked = visitor.post("/tester/confirm", {"message": json.dumps(ios())})
    if not fields:
        fields = {"permit": _permit(asked)}
    answer = visitor.post("/tester/send", {"message": json.dumps(ios()), **fields})
    assert answer.status_code in (400, 409)
    assert console.kochava.received == 0


def test_what_is_sent_is_signed(tmp_path):
    keys = {"api_key": "KEY-OF-OURS", "api_secret": "secret-of-ours"}
    with running_console(tmp_path, **keys) as running:
        one = Visitor(running.url).log_in()
        fields = {"message": json.dumps(ios())}
        permit = _permit(one.post("/tester/confirm", fields))
        one.post("/tester/send", {**fields, "permit": permit, "sure": "yes"})
        one.close()
        (request,) = running.kochava.requests
        assert {"kochava-api-key", "kochava-auth-token"} <= {
            name.lower() for name in request.headers
        }


def test_a_refusal_of_the_real_endpoint_is_shown(console, visitor):
    console.kochava.faults = Faults(error_rate=1.0, error_status=400)
    fields = {"message": json.dumps(ios())}
    permit = _permit(visitor.post("/tester/confirm", fields))
    answer = visitor.post("/tester/send", {**fields, "permit": permit, "sure": "yes"})
    assert "It did not get through: " in text_of(answer)
    assert "last status 400" in text_of(answer)


def test_what_gives_no_request_cannot_be_sent(visitor):
    for path in ("/tester/emulator", "/tester/confirm", "/tester/send"):
        assert visitor.post(path, {"message": '{"type": "group"}'}).status_code == 400
