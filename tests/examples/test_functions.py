"""The examples of Segment functions on other people's machines, against the emulator."""

from __future__ import annotations

import base64
import importlib
import json
import sys
import threading

import pytest
import requests
from flask import Flask, request
from werkzeug.serving import make_server

from kochava_segment.emulator import Faults
from kochava_segment.segment.webhook import sign
from tests.messages import ios

SECRET, TOKEN = "a-shared-secret", "a-token"
FATES = [
    (ios(), "ok", 200),
    (ios(integrations={"Kochava": False}), "ok", 200),
    (ios(event=""), "ok", 400),
    (ios(type="group"), "ok", 501),
    (ios(), "404", 404),
    (ios(), "401", 401),
    (ios(), "429", 200),
]
IDS = ["accepted", "filtered", "malformed", "unsupported", "rejected", "credentials", "retried"]


@pytest.fixture
def load(monkeypatch, kochava_emulator):
    """Imports an example anew: it makes its destination when it is imported."""
    for name, value in {
        "KOCHAVA_SEGMENT_APP_GUID": "koexample-app-guid",
        "KOCHAVA_SEGMENT_ENDPOINT": kochava_emulator.url,
        "SEGMENT_SECRET": SECRET,
        "SEGMENT_TOKEN": TOKEN,
    }.items():
        monkeypatch.setenv(name, value)
    loaded = []

    def load(name):
        sys.modules.pop(f"examples.{name}", None)
        loaded.append(importlib.import_module(f"examples.{name}"))
        return loaded[-1]

    yield load
    for module in loaded:
        module.functions._destination.close()


# AWS Lambda.


def over_gateway(body, signature=None, *, encoded=False):
    """What API Gateway passes on."""
    text = base64.b64encode(body).decode() if encoded else body.decode()
    return {
        "version": "2.0",
        "requestContext": {"http": {"method": "POST"}},
        "headers": {"X-Signature": sign(body, SECRET) if signature is None else signature},
        "body": text,
        "isBase64Encoded": encoded,
    }


@pytest.fixture
def handler(load):
    return load("aws_lambda").handler


@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize(("message", "fault", "status"), FATES, ids=IDS)
def test_lambda_answers_segment_s_webhooks(
    kochava_emulator, handler, message, fault, status, encoded
):
    kochava_emulator.faults = Faults(script=(fault,))
    answer = handler(over_gateway(json.dumps(message).encode(), encoded=encoded), None)
    assert answer["statusCode"] == status
    assert json.loads(answer["body"])["status"] == status


def test_lambda_asks_for_another_try_where_kochava_is_down(kochava_emulator, handler):
    kochava_emulator.faults = Faults(error_rate=1, retry_after=60)
    assert handler(over_gateway(json.dumps(ios()).encode()), None)["statusCode"] == 503


@pytest.mark.parametrize("signature", ["", "0" * 40])
def test_lambda_refuses_what_is_not_signed(kochava_emulator, handler, signature):
    answer = handler(over_gateway(json.dumps(ios()).encode(), signature), None)
    assert answer["statusCode"] == 401
    assert kochava_emulator.received == 0


def test_lambda_refuses_everything_where_no_secret_is_set(load, monkeypatch):
    monkeypatch.delenv("SEGMENT_SECRET")
    body = json.dumps(ios()).encode()
    assert load("aws_lambda").handler(over_gateway(body, sign(body, "")), None)["statusCode"] == 401


@pytest.mark.parametrize("body", [b"", b"{", json.dumps([ios(), ios()]).encode()])
def test_lambda_takes_one_event_a_request(kochava_emulator, handler, body):
    assert handler(over_gateway(body), None)["statusCode"] == 400
    assert kochava_emulator.received == 0


def test_lambda_answers_an_invocation_with_one_status_per_event(kochava_emulator, handler):
    events = [ios(), ios(type="alias"), ios(properties=1), ios()]
    statuses = [entry["status"] for entry in handler({"events": events}, None)]
    assert statuses == [200, 501, 400, 200]
    assert kochava_emulator.counted == 2


# Google Cloud Functions.


@pytest.fixture
def post(load):
    """Posts to the function over HTTP; the Functions Framework is Flask around it."""
    module = load("google_cloud_function")
    app = Flask(__name__)
    app.post("/")(lambda: module.handle(request))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()

    def post(body, token=TOKEN):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        url = f"http://127.0.0.1:{server.port}/"
        with requests.post(url, data=body, headers=headers, timeout=10) as answer:
            return answer.status_code, answer.json()

    yield post
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("message", "fault", "status"), FATES, ids=IDS)
def test_the_cloud_function_answers_segment_s_webhooks(
    kochava_emulator, post, message, fault, status
):
    kochava_emulator.faults = Faults(script=(fault,))
    answered, entry = post(json.dumps(message))
    assert (answered, entry["status"]) == (status, status)


def test_the_cloud_function_answers_a_batch_with_one_status_per_event(kochava_emulator, post):
    events = [ios(), ios(type="alias"), ios(properties=1), ios()]
    status, entries = post(json.dumps({"events": events}))
    assert status == 200
    assert [entry["status"] for entry in entries] == [200, 501, 400, 200]
    assert kochava_emulator.counted == 2


@pytest.mark.parametrize("token", ["", "a-tokem", "a-token-and-more", "ä"])
def test_the_cloud_function_refuses_other_tokens(kochava_emulator, post, token):
    assert post(json.dumps(ios()), token)[0] == 401
    assert kochava_emulator.received == 0


@pytest.mark.parametrize("body", ["", "{", "[]", '"events"', '{"events": 3}', json.dumps([ios()])])
def test_the_cloud_function_takes_nothing_else(kochava_emulator, post, body):
    assert post(body)[0] == 400
    assert kochava_emulator.received == 0


def test_the_cloud_function_does_not_start_without_a_token(load, monkeypatch):
    monkeypatch.delenv("SEGMENT_TOKEN")
    with pytest.raises(KeyError):
        load("google_cloud_function")
