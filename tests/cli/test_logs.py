"""The log of the commands that run for long."""

import json

import pytest

from kochava_segment.delivery.outbox import Outbox
from kochava_segment.emulator import KochavaEmulator
from tests.cli.process import environment, run
from tests.delivery.outboxes import put
from tests.server.process import serving


@pytest.fixture
def outbox(tmp_path):
    path = tmp_path / "kochava.sqlite3"
    box = Outbox(path)
    put(box, "m-1", app="koexample-app-guid")
    box.close()
    return path


def relay(outbox, *arguments, **variables):
    """The log of a relay that works an outbox off whose credentials are refused."""
    with KochavaEmulator(api_key="KEY", api_secret="secret") as kochava:
        options = ("--app-guid", "koapp", "--endpoint", kochava.url, "--outbox", outbox)
        done = run("relay", *options, "--until-empty", *arguments, env=environment(**variables))
    assert done.returncode == 1
    assert "s3cret" not in done.stderr
    return done.stderr.splitlines()


def test_a_relay_logs_json_from_a_level_on(outbox):
    lines = [json.loads(line) for line in relay(outbox, "--log-format", "json")]
    assert [(line["kochava_event"], line["level"]) for line in lines] == [("app_paused", "ERROR")]
    assert lines[0]["kochava_app"] == "koexam"
    assert lines[0]["kochava_status"] == 401


def test_the_level_and_the_format_can_be_variables(outbox):
    lines = relay(outbox, KOCHAVA_SEGMENT_LOG_FORMAT="json", KOCHAVA_SEGMENT_LOG_LEVEL="debug")
    events = [json.loads(line)["kochava_event"] for line in lines]
    assert events == ["relay_started", "attempt", "app_paused", "relay_stopped"]


def test_a_relay_logs_text_with_the_time_by_default(outbox):
    (line,) = relay(outbox)
    assert line[:2] == "20"
    assert " kochava_segment.relay: app koexam… is paused: Kochava refused" in line


def test_only_this_package_becomes_talkative(outbox):
    lines = relay(outbox, "--log-level", "debug", "--transport", "requests")
    assert len(lines) == 4
    assert all(" kochava_segment." in line for line in lines)


def test_the_receiver_logs_json(tmp_path):
    log = tmp_path / "log"
    with (
        log.open("w") as stderr,
        serving(tmp_path / "outbox", "--log-format", "json", stderr=stderr) as server,
    ):
        headers = {"X-Signature": "bad", "Content-Type": "application/json"}
        assert server.request("POST", "/segment", b"{}", headers)[0] == 401
        assert server.stop() == 0
    (line,) = map(json.loads, log.read_text().splitlines())
    assert {name: value for name, value in line.items() if name.startswith("kochava_")} == {
        "kochava_event": "refused",
        "kochava_endpoint": "segment",
        "kochava_status": 401,
        "kochava_client": "127.0.0.1",
        "kochava_reason": line["kochava_reason"],
    }
    assert "X-Signature is wrong" in line["kochava_reason"]


def test_other_formats_and_levels_are_refused(tmp_path):
    for arguments in (("--log-format", "xml"), ("--log-level", "loud")):
        done = run("relay", "--outbox", tmp_path / "o", "--app-guid", "k", *arguments)
        assert done.returncode == 2
        assert arguments[0] in done.stderr
