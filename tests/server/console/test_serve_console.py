"""The console of a receiver that runs as a process."""

import json
import subprocess

import pytest

from kochava_segment.emulator import KochavaEmulator
from tests.messages import ios
from tests.server.asgi import signed
from tests.server.console.running_console import Visitor, text_of
from tests.server.process import serving


@pytest.fixture
def kochava():
    with KochavaEmulator() as running:
        yield running


def _until_it_says(visitor, path, text):
    for _ in range(100):
        if text in text_of(visitor.get(path)):
            return
    raise AssertionError(f"{path} does not say {text!r}")


def test_what_comes_in_is_seen_in_the_console(tmp_path, kochava):
    where = ("--endpoint", kochava.url, "--console")
    secrets = {"KOCHAVA_SEGMENT_CONSOLE_TOKEN": "chosen-token"}
    with serving(tmp_path / "outbox.sqlite3", *where, relay=True, **secrets) as running:
        for message in (ios(), ios(messageId="off", integrations={"Kochava": False})):
            body = json.dumps(message).encode()
            running.request("POST", "/segment", body, signed(body))
        visitor = Visitor(f"http://127.0.0.1:{running.port}").log_in("chosen-token")
        for _ in range(1000):
            if kochava.counted:
                break
            visitor.get("/help")
        assert kochava.counted == 1
        _until_it_says(visitor, "/delivery?window=day", "1 accepted")
        text = text_of(visitor.get("/delivery?window=day"))
        assert "1 filtered" in text
        assert "Of 1 answer that this process saw" in text  # the hook is there
        visitor.close()


def test_without_a_token_one_is_made_and_told_on_standard_error_alone(tmp_path):
    console = ("--console",)
    with serving(tmp_path / "outbox.sqlite3", *console, stderr=subprocess.PIPE) as running:
        said = running.process.stderr.readline()
        token = said.strip().rpartition(" ")[2]
        assert len(token) >= 32
        assert token not in running.announced
        visitor = Visitor(f"http://127.0.0.1:{running.port}").log_in(token)
        assert visitor.get("/delivery").status_code == 200
        visitor.close()
        running.stop()
        running.process.stderr.close()


def test_a_token_alone_opens_no_console(tmp_path):
    secrets = {"KOCHAVA_SEGMENT_CONSOLE_TOKEN": "chosen-token"}
    with serving(tmp_path / "outbox.sqlite3", **secrets) as running:
        assert running.request("GET", "/console/login")[0] == 404
