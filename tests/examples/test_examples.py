"""The examples, against the emulator."""

import importlib
import logging
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import uvicorn
from werkzeug.serving import make_server

from kochava_segment import KochavaDestination
from kochava_segment.emulator import Faults
from tests.messages import ios

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture
def environment(monkeypatch, kochava_emulator):
    monkeypatch.setenv("KOCHAVA_SEGMENT_APP_GUID", "koexample-app-guid")
    monkeypatch.setenv("KOCHAVA_SEGMENT_ENDPOINT", kochava_emulator.url)
    return kochava_emulator


def fresh(name):
    """An example, imported anew: some read the environment when they are imported."""
    sys.modules.pop(f"examples.{name}", None)
    return importlib.import_module(f"examples.{name}")


@pytest.mark.parametrize(
    ("name", "printed"), [("backend_call", "reported"), ("metrics_hook", "event accepted 1")]
)
def test_a_program_sends_and_says_so(environment, name, printed):
    script = EXAMPLES / f"{name}.py"
    result = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout.strip() == printed
    assert len(environment.accepted) == 1


def test_traces_and_metrics_are_printed(environment):
    script = EXAMPLES / "opentelemetry_traces.py"
    result = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True
    )
    assert len(environment.accepted) == 1
    assert f'"url.full": "{environment.url}/track/json"' in result.stdout
    assert '"parent_id": "0x' in result.stdout
    assert '"kochava_segment.app": "koexample-app-guid"' in result.stdout
    assert '"name": "kochava_segment.deliveries"' in result.stdout


@pytest.mark.parametrize(
    ("faults", "settled", "told"),
    [
        (("503",), False, "was not counted"),
        (("reset-before-reading",), True, "was perhaps counted"),
        (("ok",), True, "no-device-version"),
    ],
)
def test_the_backend_knows_what_to_send_again(environment, caplog, faults, settled, told):
    backend = fresh("backend_call")
    environment.faults = Faults(script=faults)
    order = backend.Order(
        order_id="o-9",
        user_id="u-42",
        total="19.95",
        currency="EUR",
        settled_at=backend.datetime.fromisoformat("2026-03-20T18:06:56+00:00"),
        device={"id": "d-1", "type": "ios"},
        ip="203.0.113.7",
        user_agent="",
    )
    caplog.set_level(logging.INFO, "examples.backend_call")
    with KochavaDestination.from_env(retry={"max_attempts": 1}) as kochava:
        assert backend.report_purchase(kochava, order) is settled
    assert told in caplog.text


@contextmanager
def _flask():
    module = fresh("flask_app")
    server = make_server("127.0.0.1", 0, module.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))  # looks for its end
    thread.start()
    yield server.port
    server.shutdown()
    thread.join()
    server.server_close()
    module.kochava.close()


@contextmanager
def _fastapi():
    server = uvicorn.Server(
        uvicorn.Config(fresh("fastapi_app").app, log_level="warning", ws="none")
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        deadline = time.monotonic() + 10
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.fixture(params=[_flask, _fastapi], ids=["flask", "fastapi"])
def post(request, environment):  # noqa: ARG001  # the application reads it
    """Posts a message to the application over HTTP."""
    with request.param() as port:

        def post(message):
            url = f"http://127.0.0.1:{port}/segment"
            with requests.post(url, json=message, timeout=10) as answer:
                return answer.status_code, answer.json()

        yield post


def test_an_application_passes_a_message_on(environment, post):
    assert post(ios()) == (200, {"action": "event"})
    assert len(environment.accepted) == 1


@pytest.mark.parametrize(
    ("message", "fault", "status"),
    [
        (ios(integrations={"Kochava": False}), "ok", 200),
        (ios(event=""), "ok", 400),
        (ios(), "400", 400),
        (ios(), "503", 503),
        (ios(), "401", 503),
    ],
    ids=["filtered", "malformed", "rejected", "unavailable", "credentials"],
)
def test_an_application_says_whether_to_send_again(environment, post, message, fault, status):
    environment.faults = Faults(script=(fault,))
    assert post(message)[0] == status
    assert environment.accepted == ()


def test_the_tested_mapping_passes_its_tests():
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", str(EXAMPLES / "test_my_mapping.py")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert result.returncode == 0, result.stdout
    assert "3 passed" in result.stdout


def test_every_example_is_run():
    rooms = (Path(__file__).parent, ROOT / "tests" / "beam")  # the latter for those that need Beam
    tests = "".join(path.read_text() for room in rooms for path in room.glob("test_*.py"))
    names = [path.stem for path in EXAMPLES.glob("*.py")]
    assert len(names) > 5
    assert [name for name in names if name not in tests] == []
