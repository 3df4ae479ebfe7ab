"""The default transport at its seam with requests, where `responses` stands in for the network."""

from __future__ import annotations

import pytest
import requests
import responses

from kochava_segment import KochavaDestination, RequestsTransport, TransportFailure
from tests.delivery.raw_server import a_request, unused_port
from tests.messages import ios

URL = "https://control.kochava.com/track/json"


@pytest.fixture
def transport():
    transport = RequestsTransport()
    yield transport
    transport.close()


@responses.activate
def test_responses_sees_a_destination_s_requests():
    responses.post(URL, json={"success": "1"})
    with KochavaDestination("koapp", transport="requests") as destination:
        request = destination.map(ios())
        assert destination.send(request).status == 200
    (call,) = responses.calls
    assert call.request.body == request.body
    assert call.request.headers["Content-Length"] == str(len(request.body))


@responses.activate
def test_both_timeouts_are_set_and_tls_is_verified(monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    responses.post(URL, json={"success": "1"})
    transport = RequestsTransport(timeout=(1.5, 2.5))
    transport.send(a_request(URL))
    transport.close()
    settings = responses.calls[0].request.req_kwargs
    assert settings["timeout"] == (1.5, 2.5)
    assert settings["verify"] is True
    assert settings["stream"] is True


@responses.activate
@pytest.mark.parametrize(
    "error",
    [
        requests.ConnectionError("https://control.kochava.com/secret"),
        requests.exceptions.InvalidURL("secret"),
        OSError("secret"),
        ValueError("secret"),
    ],
)
def test_whatever_requests_raises_is_a_failure_without_content(transport, error):
    responses.post(URL, body=error)
    with pytest.raises(TransportFailure) as caught:
        transport.send(a_request(URL))
    assert caught.value.detail == f"Kochava was not reached: {type(error).__name__}"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert not caught.value.maybe_sent


@responses.activate
def test_an_error_of_the_program_is_none_of_the_network(transport):
    responses.post(URL, body=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        transport.send(a_request(URL))


def test_a_failure_names_what_is_behind_it(transport):
    with pytest.raises(TransportFailure) as caught:
        transport.send(a_request(f"http://127.0.0.1:{unused_port()}/"))
    assert caught.value.detail == ("Kochava was not reached: ConnectionError, NewConnectionError")
