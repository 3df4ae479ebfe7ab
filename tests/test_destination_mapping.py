"""The destination's pure half: requests as they will be sent, and that it is frozen."""

import hashlib
import hmac
import json
import threading

import pytest

from kochava_segment import ConfigurationError, InvalidEventPayload, KochavaDestination
from tests.messages import IDFV, MISSING, android, ios

CREDENTIALS = {"api_key": "AAAAAAAA-BBBB", "api_secret": "example-secret"}
EVERY_ACTION = [
    ios(properties={"ort": "Zürich/Süd", "empty": {}}),
    ios(event="Application Installed"),
    ios(type="identify", traits={"plan": "a/b"}),
]


@pytest.fixture
def destination():
    with KochavaDestination("koexample-app-guid", **CREDENTIALS) as destination:
        yield destination


def token_of(body):
    message = b"example-secret" + hashlib.sha1(body).hexdigest().encode()
    return hmac.new(b"AAAAAAAA-BBBB", message, hashlib.sha256).hexdigest()


@pytest.mark.parametrize("message", EVERY_ACTION, ids=lambda message: message["type"])
def test_every_request_is_signed_over_the_bytes_that_are_sent(destination, message):
    request = destination.map(message)
    assert request.headers["Kochava-Api-Key"] == "AAAAAAAA-BBBB"
    assert request.headers["Kochava-Auth-Token"] == token_of(request.body)
    assert request.body.isascii()
    assert b"{}" not in request.body


def test_an_idfa_update_is_signed_and_has_no_agent_of_ours(destination):
    request = destination.idfa_update(ios())
    assert request.headers["Kochava-Auth-Token"] == token_of(request.body)
    assert request.headers["User-Agent"] == "Unknown"
    assert request.payload["kochava_device_id"] == IDFV


def test_without_credentials_nothing_is_signed():
    with KochavaDestination("koapp") as destination:
        for message in EVERY_ACTION:
            assert destination.map(message).headers == {}
        assert "Zürich/Süd".encode() in destination.map(EVERY_ACTION[0]).body


def test_requests_are_values(destination):
    for message in EVERY_ACTION:
        request = destination.map(message)
        assert request == destination.map(json.loads(json.dumps(message)))
        assert request.method == "POST"
        assert request.message_id == "m-1"
        assert request.ordering_key == f"koexample-app-guid/{IDFV}"
        with pytest.raises(AttributeError):
            request.body = b""


def test_a_request_s_repr_shows_neither_content_nor_secrets(destination):
    shown = repr(destination.map(ios(properties={"secret": "of the user"})))
    for hidden in ("of the user", IDFV, "AAAAAAAA", "koexample-app-guid"):
        assert hidden not in shown
    assert "bytes>" in shown


def test_the_endpoint_is_the_base_of_both_urls():
    with KochavaDestination("koapp", endpoint="https://proxy.example/kochava/") as destination:
        assert destination.map(ios()).url == "https://proxy.example/kochava/track/json"
        link = destination.map(ios(type="identify"))
        assert link.url == "https://proxy.example/kochava/v1/cpi/identityLink.php"


def test_a_destination_is_frozen(destination):
    with pytest.raises(AttributeError):
        destination.options = None
    with pytest.raises(AttributeError):
        del destination.options
    with pytest.raises(AttributeError):
        destination.options.screens = "view"


def test_a_destination_s_repr_shows_neither_secrets_nor_the_whole_guid(destination):
    shown = repr(destination)
    for hidden in ("koexample-app-guid", "AAAAAAAA-BBBB", "example-secret"):
        assert hidden not in shown
    assert "control.kochava.com" in shown


def test_a_destination_without_an_app_guid_takes_those_of_its_messages():
    with KochavaDestination(app_guids={"ios": "koios"}) as destination:
        assert destination.map(ios()).payload["kochava_app_id"] == "koios"
        own = android(integrations={"Kochava": {"appGuid": "koown"}})
        assert destination.map(own).payload["kochava_app_id"] == "koown"
        with pytest.raises(ConfigurationError) as caught:
            destination.map(android())
        assert caught.value.problems[0].path == "app_guid"


def test_threads_share_a_destination(destination):
    expected = list(map(destination.map, EVERY_ACTION))
    wrong = []

    def work():
        answers = (list(map(destination.map, EVERY_ACTION)) for _ in range(100))
        wrong.extend(answer for answer in answers if answer != expected)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_an_idfa_update_tells_everything_that_it_lacks(destination):
    with pytest.raises(InvalidEventPayload) as caught:
        destination.idfa_update(ios(context=MISSING, anonymousId=MISSING))
    assert [problem.path for problem in caught.value.problems] == [
        "context.device.advertisingId",
        "context.device.id",
    ]


def test_constructor_tells_all_problems_at_once():
    with pytest.raises(ConfigurationError) as caught:
        KochavaDestination(" ", screens="x", nested="y", api_key="k")
    assert [problem.path for problem in caught.value.problems] == [
        "app_guid",
        "screens",
        "nested",
        "api_secret",
    ]
