from __future__ import annotations

import hashlib
import hmac

import pytest

from kochava_segment import KochavaDestination
from kochava_segment.delivery.signing import Credentials, auth_headers
from kochava_segment.emulator import KochavaEmulator
from tests.messages import ios

CREDENTIALS = Credentials("AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE", "example-secret")


def test_the_vector():
    body = (
        rb'{"action":"install","kochava_app_id":"koconversionsdemo174ea19bc63928c",'
        rb'"app_ver":"3.3.0","data":{"origination_ip":"69.224.141.77","device_ua":'
        rb'"Mozilla\/5.0 (iPhone)","device_ver":"iPhone-iOS-9.3.4","device_ids":'
        rb'{"idfa":"kochava-test-idfa-2015-12-09-12"}}}'
    )
    assert hashlib.sha1(body).hexdigest() == "4d534a1852ce590c61dd4f0d02fcf73339eb4d58"
    assert auth_headers(body, CREDENTIALS) == {
        "Kochava-Api-Key": "AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE",
        "Kochava-Auth-Token": "a3aee836a416623b732152385ffb9e298373ef500b42867d7b0683bbb4c94964",
    }


def test_any_byte_changes_the_token():
    assert auth_headers(b"{}", CREDENTIALS) != auth_headers(b"{ }", CREDENTIALS)


def test_credentials_do_not_show():
    assert repr(CREDENTIALS) == "Credentials()"


def test_the_bytes_that_arrive_are_those_that_were_signed():
    with (
        KochavaEmulator(api_key="key", api_secret="secret") as emulator,
        KochavaDestination(
            "koapp", endpoint=emulator.url, api_key="key", api_secret="secret"
        ) as destination,
    ):
        destination.send(ios(properties={"where": "Zürich/Süd", "price": "150.0"}))
        (received,) = emulator.accepted
    assert received.body.isascii()
    assert rb"Z\u00fcrich\/S\u00fcd" in received.body
    digest = hashlib.sha1(received.body).hexdigest()
    token = hmac.new(b"key", b"secret" + digest.encode(), hashlib.sha256).hexdigest()
    assert received.headers["Kochava-Auth-Token"] == token


@pytest.mark.parametrize("action", ["track", "identify", "install"])
def test_every_action_is_signed(action):
    message = ios(type="identify" if action == "identify" else "track")
    if action == "install":
        message["event"] = "Application Installed"
    destination = KochavaDestination("koapp", api_key="key", api_secret="secret")
    request = destination.map(message)
    wanted = auth_headers(request.body, Credentials("key", "secret"))
    assert wanted.items() <= dict(request.headers).items()
    assert "secret" not in repr(request)
    assert wanted["Kochava-Auth-Token"] not in repr(request)
