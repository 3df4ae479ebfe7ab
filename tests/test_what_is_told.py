"""Whatever door a message goes through, nothing that is said of it repeats what it says."""

import asyncio
import json
import logging
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings

from kochava_segment import Answer, KochavaDestination, RecordingTransport
from kochava_segment.cli import cli
from kochava_segment.emulator import KochavaEmulator
from kochava_segment.segment.functions import Functions
from kochava_segment.server import create_app
from tests.emulator.requests import HEADERS
from tests.server.asgi import JSON, acall
from tests.strategies import MARK, marked

limits = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def refusing():
    """A destination whose Kochava refuses everything, and says with which content."""
    refuse = RecordingTransport(lambda request: Answer(400, {}, request.body))
    with KochavaDestination("koapp", transport=refuse) as destination:
        yield destination


def without_id(message):
    """Errors name the messageId, which is what they are looked up by."""
    return {**message, "messageId": None} if isinstance(message, dict) else message


@limits
@given(message=marked)
def test_outcomes(refusing, message):
    (outcome,) = refusing.send_many([without_id(message)])
    assert MARK not in f"{outcome.reason}{outcome.error!r}{outcome.warnings}"


@limits
@given(message=marked)
def test_functions(refusing, message):
    (entry,) = Functions(refusing).on_batch([without_id(message)])
    assert MARK not in json.dumps(entry)


@limits
@given(message=marked)
def test_the_receiver_and_its_log(receiver, caplog, message):
    app, loop = receiver
    caplog.clear()
    caplog.set_level(logging.DEBUG)
    body = json.dumps(without_id(message)).encode()
    answer = loop.run_until_complete(acall(app, "POST", "/segment", body, JSON))
    assert answer.status in {200, 202, 400, 501}
    assert MARK.encode() not in answer.body
    assert MARK not in caplog.text


@pytest.fixture(scope="module")
def receiver():
    loop = asyncio.new_event_loop()
    with (
        TemporaryDirectory() as folder,
        KochavaDestination("koapp", outbox=f"{folder}/o.sqlite3", relay=False) as destination,
    ):
        yield create_app(destination), loop
    loop.close()


@limits
@given(message=marked)
def test_the_emulator(message):
    kochava = KochavaEmulator()
    for path in ("/track/json", "/v1/cpi/identityLink.php"):
        _, answer = kochava.judge("POST", path, HEADERS, json.dumps(message).encode(), "ok")
        assert MARK.encode() not in answer
    assert kochava.complaints
    assert MARK not in "".join(map(str, kochava.complaints))


@settings(limits, max_examples=25)
@given(message=marked)
def test_the_command_line(refused_here, tmp_path_factory, message):
    file = tmp_path_factory.mktemp("told") / "events.jsonl"
    file.write_text(json.dumps(without_id(message)))
    command = ["send", "--app-guid", "koapp", "--endpoint", refused_here, str(file)]
    assert MARK not in CliRunner().invoke(cli, command).output


@pytest.fixture(scope="module")
def refused_here():
    """The address of a Kochava that knows another app only."""
    with KochavaEmulator(app_guids={"koother"}) as kochava:
        yield kochava.url
