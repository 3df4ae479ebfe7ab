"""`emulator`, as a process."""

import json
import select
import signal
from contextlib import contextmanager

import pytest
import requests

from kochava_segment import KochavaDestination
from tests.cli.process import run, start
from tests.messages import ios


@contextmanager
def running(*arguments):
    """The command, once it has said where it listens."""
    with start("emulator", *arguments) as process:
        try:
            ready, _, _ = select.select([process.stdout], [], [], 10)
            assert ready, "the first line is flushed at once"
            first = process.stdout.readline()
            assert first.startswith("listening on http://127.0.0.1:")
            process.url = first.removeprefix("listening on ").strip()
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def stopped(process, number=signal.SIGINT):
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    return process.returncode, out, err


def sent(url, message=None, **options):
    with KochavaDestination("koapp", endpoint=url, **options) as destination:
        return destination.send(message or ios())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_counts_logs_and_ends_at_a_signal(tmp_path, number):
    log = tmp_path / "log.jsonl"
    with running("--log", log) as process:
        sent(process.url)
        requests.post(process.url + "/track/json", json=[], timeout=5)
        assert len(log.read_text().splitlines()) == 1  # written at once
        code, out, err = stopped(process, number)
    assert code == 0
    assert out == "2 requests, 1 accepted\n"
    assert err == "body must be one object: there is no batch form (error not-an-object)\n"
    assert json.loads(log.read_text())["body"]["kochava_app_id"] == "koapp"


def test_a_port_can_be_chosen_and_one_that_is_taken_is_said(kochava_emulator):
    result = run("emulator", "--port", kochava_emulator.port)
    assert result.returncode == 1
    assert (
        f"--port {kochava_emulator.port} cannot be listened on: Address already in use"
        in result.stderr
    )


def test_a_log_that_cannot_be_written_is_said(tmp_path):
    result = run("emulator", "--log", tmp_path / "none" / "log.jsonl")
    assert result.returncode == 1
    assert "cannot be written: No such file or directory" in result.stderr


def test_it_checks_signatures_and_apps_by_the_destinations_options(tmp_path):
    config = tmp_path / "kochava.toml"
    config.write_text(
        'app_guid = "koapp"\napi_key = "KEY"\napi_secret = "hush"\n'
        'endpoint = "https://kochava.invalid"\nscreens = "view"\n'
        'app_guids = { android = "koandroid" }\n'
    )
    credentials = {"api_key": "KEY", "api_secret": "hush"}
    with running("--config", config) as process:
        assert sent(process.url, **credentials).status == 200
        other = ios(integrations={"Kochava": {"app_guid": "koandroid"}})
        assert sent(process.url, other, **credentials).status == 200
        unsigned = requests.post(process.url + "/track/json", json={}, timeout=5)
        assert unsigned.status_code == 401
        foreign = ios(integrations={"Kochava": {"app_guid": "kostranger"}})
        with pytest.raises(Exception, match="refused"):
            sent(process.url, foreign, **credentials)
        _, out, err = stopped(process)
    assert "4 requests, 2 accepted" in out
    assert "(error bad-signature)" in err
    assert (
        "kochava_app_id must be an app that this emulator was started with (error foreign-app)"
        in err
    )
    assert "hush" not in out + err


def test_faults_are_given_as_rates():
    with running("--error-rate", "1", "--error-status", "429", "--retry-after", "9") as process:
        answer = requests.post(process.url + "/track/json", json={}, timeout=5)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "9")
        stopped(process)


def test_installs_first_and_latency():
    with running("--require-install", "--latency-ms", "150") as process:
        answer = requests.post(process.url + "/track/json", json={}, timeout=5)
        assert answer.elapsed.total_seconds() >= 0.15
        _, _, err = stopped(process)
    assert "(error no-install)" in err


def test_seeds_repeat_what_goes_wrong():
    seen = []
    for _ in range(2):
        with running("--seed", "7", "--success-zero", "0.5") as process:
            with requests.Session() as session:
                seen.append(
                    [
                        session.get(process.url + "/track/json", timeout=5).status_code
                        for _ in range(3)
                    ]
                )
            stopped(process)
    assert seen[0] == seen[1]


def test_it_goes_on_when_nobody_reads_its_complaints():
    with running() as process:
        process.stderr.close()
        for _ in range(3):
            assert requests.post(process.url + "/track/json", json=[], timeout=5).status_code == 400
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "3 requests, 0 accepted\n"
        process.wait(10)
