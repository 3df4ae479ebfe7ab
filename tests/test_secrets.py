"""Keys and secrets: in nothing that is shown, stored, pickled, measured or logged."""

import asyncio
import logging
import pickle
import sqlite3
import traceback
from contextlib import closing

import pytest

from kochava_segment import AsyncKochavaDestination, ConfigurationError, KochavaDestination
from kochava_segment.emulator import Faults, KochavaEmulator
from kochava_segment.errors import DeliveryError
from kochava_segment.server import create_app
from tests.messages import ios
from tests.server.asgi import call

API_KEY, API_SECRET, ACCOUNT_KEY = "KEY-4711-Zq7", "SECRET-4711-Zq7", "ACCOUNT-4711-Zq7"
MARK = "4711-Zq7"
GIVEN = {
    "api_key": API_KEY,
    "api_secret": API_SECRET,
    "account_id": "7",
    "account_key": ACCOUNT_KEY,
    "retry": {"max_attempts": 1},
}
FAILURES = {
    "refused": {"api_key": "another", "api_secret": "of-another"},
    "broken": {"faults": Faults(error_rate=1.0)},
    "reset": {"faults": Faults(reset_after_reading=1.0)},
}


def with_locals(error):
    """What error reporters send: the traceback with what each frame's variables hold."""
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("transport", ["requests", "pycurl"])
def test_no_secret_is_in_a_traceback_with_its_variables(failure, transport, caplog):
    caplog.set_level(logging.DEBUG)
    with (
        KochavaEmulator(**FAILURES[failure]) as kochava,
        KochavaDestination(
            "koexample", endpoint=kochava.url, transport=transport, **GIVEN
        ) as destination,
        pytest.raises(DeliveryError) as caught,
    ):
        destination.send(ios())
    shown = with_locals(caught.value)
    assert "destination = " in shown
    assert MARK not in shown
    assert MARK not in caplog.text
    assert MARK.encode() not in pickle.dumps(caught.value)


@pytest.mark.parametrize("failure", FAILURES)
def test_nor_in_one_of_an_event_loop(failure):
    async def send(url):
        async with AsyncKochavaDestination("koexample", endpoint=url, **GIVEN) as destination:
            await destination.send(ios())

    with (
        KochavaEmulator(**FAILURES[failure]) as kochava,
        pytest.raises(DeliveryError) as caught,
    ):
        asyncio.run(send(kochava.url))
    assert MARK not in with_locals(caught.value)


def test_no_secret_is_in_the_files_of_an_outbox(tmp_path):
    with (
        KochavaEmulator(api_key=API_KEY, api_secret=API_SECRET) as kochava,
        KochavaDestination(
            "koexample",
            endpoint=kochava.url,
            privacy_endpoint=kochava.url,
            outbox=tmp_path / "outbox.sqlite3",
            devices=True,
            **GIVEN,
        ) as destination,
    ):
        destination.enqueue(ios())
        assert destination.flush(20)
        assert destination.forget("u-42").deletion_requests == 1
        files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert len(kochava.accepted) >= 1
    assert len(files) == 3
    assert b"koexample" in b"".join(files.values())
    assert [name for name, content in files.items() if MARK.encode() in content] == []


def test_keys_go_to_the_configured_endpoint_whatever_an_outbox_says(tmp_path):
    path = tmp_path / "outbox.sqlite3"
    with KochavaEmulator() as foreign, KochavaEmulator() as kochava:
        with KochavaDestination("koexample", outbox=path, relay=False) as destination:
            destination.enqueue(ios())
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE body SET url = ?", (f"{foreign.url}/track/json",))
            connection.commit()
        with KochavaDestination(
            "koexample", outbox=path, endpoint=kochava.url, **GIVEN
        ) as destination:
            destination.start_relay()
            assert destination.flush(20)
        assert [len(one.accepted) for one in (foreign, kochava)] == [0, 1]
        assert foreign.received == 0


def test_no_secret_is_in_the_answers_of_a_receiver(tmp_path):
    with KochavaDestination(
        "koexample", outbox=tmp_path / "outbox.sqlite3", relay=False, **GIVEN
    ) as destination:
        secrets = {
            name: f"{name}-{MARK}"
            for name in ("webhook_secret", "bearer_token", "postback_secret", "console_token")
        }
        app = create_app(destination, **secrets)
        for path in ("/metrics", "/readyz", "/healthz", "/segment", "/console/login", "/nowhere"):
            for method in ("GET", "POST"):
                answer = call(app, method, path)
                assert MARK.encode() not in answer.body, (method, path)
                assert MARK not in str(answer.headers)


def test_a_destination_that_could_not_be_made_can_be_shown():
    with pytest.raises(ConfigurationError) as caught:
        KochavaDestination("koexample", timeout=-1)
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    (unmade,) = {
        found
        for frame in frames
        if isinstance(found := frame.f_locals.get("self"), KochavaDestination)
    }
    assert repr(unmade) == "<KochavaDestination: its options are wrong>"
