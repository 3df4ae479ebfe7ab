"""`doctor --live` against the emulator: what it shows, asks, sends, answers and explains."""

import http.server
import json
import os
import pty
import re
import socket
import subprocess
import threading
from datetime import datetime, timedelta, timezone

import pytest

from kochava_segment.cli import cli
from kochava_segment.emulator import Faults, KochavaEmulator
from tests.cli.process import COMMAND, environment, run, runner

GUID = "kotest-app-guid"


@pytest.fixture
def kochava():
    with KochavaEmulator(require_install=True) as kochava:
        yield kochava


def live(kochava, *arguments, guid=GUID, **variables):
    """Runs it as a script would, without a terminal; in this process, which is quicker."""
    cleared = dict.fromkeys(name for name in os.environ if name.startswith("KOCHAVA_SEGMENT_"))
    options = ("--app-guid", guid) if guid else ()
    return runner(env={**cleared, **variables}).invoke(
        cli, ["doctor", "--live", "--endpoint", kochava.url, *options, *map(str, arguments)]
    )


def at_a_terminal(kochava, typed, *arguments):
    """Runs it with a terminal for its standard input, in which something is typed."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, typed.encode())
        return subprocess.run(
            [
                *COMMAND,
                "doctor",
                "--live",
                "--endpoint",
                kochava.url,
                "--app-guid",
                GUID,
                *arguments,
            ],
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=environment(),
        )
    finally:
        os.close(ours)
        os.close(theirs)


def tracked(kochava):
    """The payloads that came, by their action; the check of the way there is left out."""
    return [request.payload for request in kochava.requests if request.path == "/track/json"]


def test_an_install_and_a_purchase_of_one_phone_are_sent_in_order(kochava):
    done = live(kochava, "--yes", "--ip", "203.0.113.7")
    assert (done.exit_code, done.stderr) == (0, "")
    install, purchase = tracked(kochava)
    assert (install["action"], purchase["action"]) == ("install", "event")
    assert purchase["data"]["event_name"] == "Purchase"
    assert purchase["data"]["event_data"]["price"] == 12.34
    assert purchase["data"]["currency"] == "EUR"
    assert install["data"]["origination_ip"] == "203.0.113.7"
    assert install["data"]["device_ids"] == purchase["data"]["device_ids"]
    assert install["kochava_device_id"] == purchase["kochava_device_id"]
    assert purchase["data"]["usertime"] - install["data"]["usertime"] == 3600
    assert [c for c in kochava.complaints if c.path != "url"] == []
    assert done.stdout.count('ok    200 {"success":"1"}, after') == 2


@pytest.mark.parametrize(("platform", "key"), [("ios", "idfv"), ("android", "adid")])
def test_each_check_has_a_phone_of_its_own(kochava, platform, key):
    for _ in range(2):
        assert live(kochava, "--yes", "--platform", platform).exit_code == 0
    ids = {payload["data"]["device_ids"][key] for payload in tracked(kochava)}
    assert len(ids) == 2


def test_what_is_sent_is_shown_before_with_its_ids_cut_short(kochava):
    done = live(kochava, "--yes", "--ip", "203.0.113.7")
    before, _, after = done.stdout.partition("sending the install")
    install, purchase = tracked(kochava)
    shown = re.findall(r"^\{\n.*?^\}$", before, re.DOTALL | re.MULTILINE)
    for text, payload in zip(shown, (install, purchase), strict=True):
        document = json.loads(text)
        assert list(document["data"]) == list(payload["data"])
        assert document["data"]["usertime"] == payload["data"]["usertime"]
        assert document["kochava_app_id"] == GUID
    for secret in (install["kochava_device_id"], "203.0.113.7", "Mozilla"):
        assert secret not in before
    assert install["kochava_device_id"] in after, "it was made up, and is what to look for"


def test_the_ids_can_be_revealed(kochava):
    done = live(kochava, "--yes", "--reveal")
    before = done.stdout.partition("sending the install")[0]
    shown = re.findall(r"^\{\n.*?^\}$", before, re.DOTALL | re.MULTILINE)
    assert [json.loads(text) for text in shown] == tracked(kochava)


def test_it_says_what_to_look_for(kochava):
    now = datetime.now(timezone.utc)
    out = live(kochava, "--yes", "--ip", "203.0.113.7").stdout
    told = out.partition("Both were accepted.")[2]
    assert f"App GUID {GUID}" in told
    assert 'An event "Purchase"' in told
    times = [
        f"{now - timedelta(hours=1, minutes=minutes):%Y-%m-%d %H:%M} UTC" for minutes in (-1, 0)
    ]
    assert any(f"The time of the event is {time}" in told for time in times)
    assert "Its sum is 12.34, its currency EUR" in told
    assert "203.0.113.7" in told
    assert "lacks the S2S feature" in told
    assert "signed" not in told


def test_without_an_address_it_says_that_one_is_wanted(kochava):
    done = live(kochava, "--yes")
    assert "note  no-ip: context.ip" in done.stdout
    assert "give --ip" in done.stdout
    assert "origination_ip" not in tracked(kochava)[0]["data"]


@pytest.mark.parametrize("typed", ["n\n", "\n"])
def test_a_no_sends_nothing(kochava, typed):
    done = at_a_terminal(kochava, typed)
    assert done.returncode == 1
    assert "Send them to 127.0.0.1? [y/N]" in done.stdout
    assert done.stdout.rstrip().endswith("Nothing was sent.")
    assert tracked(kochava) == []


def test_ctrl_c_sends_nothing(kochava):
    done = at_a_terminal(kochava, "\x04")  # the end of the input
    assert done.returncode == 1
    assert tracked(kochava) == []


def test_a_yes_sends_them(kochava):
    done = at_a_terminal(kochava, "y\n")
    assert done.returncode == 0
    assert len(tracked(kochava)) == 2


def test_without_a_terminal_it_refuses_and_looks_at_nothing(kochava):
    done = live(kochava)
    assert done.exit_code == 2
    assert "there is no terminal to ask at. Nothing was sent; --yes sends" in done.stderr
    assert done.stdout == ""
    assert kochava.requests == ()


@pytest.mark.parametrize("option", [("--yes",), ("--ip", "203.0.113.7"), ("--save", "file")])
def test_what_belongs_to_it_is_refused_alone(kochava, option):
    done = run("doctor", "--endpoint", kochava.url, "--app-guid", GUID, *option)
    assert done.returncode == 2
    assert f"{option[0]} needs --live" in done.stderr


def test_an_address_is_one(kochava):
    done = live(kochava, "--yes", "--ip", "localhost")
    assert done.exit_code == 2
    assert "--ip" in done.stderr


def test_nothing_is_sent_where_something_stands_in_the_way():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = run("doctor", "--live", "--yes", "--app-guid", GUID, "--endpoint", url)
    assert done.returncode == 1
    assert "cannot be reached" in done.stdout
    assert done.stdout.endswith("Nothing was sent: mend that first.\n")
    assert "sending" not in done.stdout


def test_no_app_for_the_phone_is_told(kochava):
    done = live(
        kochava, "--yes", "--platform", "ios", guid=None,
        KOCHAVA_SEGMENT_APP_GUIDS="android=koandroid",
    )  # fmt: skip
    assert done.exit_code == 1
    assert "fail  the ios phone gives no request" in done.stdout
    assert "Give --app-guid of a test app, or --platform" in done.stdout
    assert tracked(kochava) == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("401", ["fail 401", "CredentialsRejected", "authentication is enabled"]),
        ("400", ["fail 400", "Rejected", "please report it"]),
        ("503", ["fail 503", "RetriesExhausted", "certainly not counted"]),
        ("success-zero", ['fail 200 {"success":', "Rejected"]),
        ("reset-after-reading", ["fail ", "AmbiguousDelivery", "may have been counted"]),
    ],
)
def test_an_install_that_fails_is_explained_and_ends_it(kochava, fault, words):
    # The first request asks for the root, to see whether there is anybody.
    kochava.faults = Faults(script=("ok", fault))
    done = live(kochava, "--yes")
    assert done.exit_code == 1
    out = " ".join(done.stdout.split())
    for word in (*words, "The event was not sent"):
        assert word in out
    assert "Both were accepted" not in done.stdout
    assert len(tracked(kochava)) <= 1, "tried once"


def test_an_event_that_fails_is_explained(kochava):
    kochava.faults = Faults(script=("ok", "ok", "503"))
    done = live(kochava, "--yes")
    assert done.exit_code == 1
    assert 'ok    200 {"success":"1"}' in done.stdout
    assert "fail  503" in done.stdout
    assert "The event was not sent" not in done.stdout


def test_secrets_are_neither_shown_nor_repeated():
    with KochavaEmulator(api_key="KEY-1234", api_secret="hush-hush") as kochava:
        credentials = {
            "KOCHAVA_SEGMENT_API_KEY": "KEY-1234",
            "KOCHAVA_SEGMENT_API_SECRET": "hush-hush",
        }
        done = live(kochava, "--yes", **credentials)
        assert done.exit_code == 0
        assert "Kochava-Auth-Token: ***" in done.stdout
        assert "run this again with a wrong secret" in done.stdout
        wrong = live(kochava, "--yes", **{**credentials, "KOCHAVA_SEGMENT_API_SECRET": "wr0ng"})
    assert wrong.exit_code == 1
    assert "CredentialsRejected" in wrong.stdout
    for secret in ("KEY-1234", "hush-hush", "wr0ng"):
        assert secret not in done.stdout + wrong.stdout


class _Strange(http.server.BaseHTTPRequestHandler):
    """A Kochava as nobody has seen it: it repeats secrets, and steers terminals."""

    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()

    def do_POST(self):
        body = (
            '\x1b[2J{"error": "unknown key KEY-1234", "wer": "niemand weiß"}'.encode() + b"x" * 900
        )
        self.send_response(400)
        self.send_header("Retry-After", "7")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_an_answer_is_shown_without_secrets_and_steers_no_terminal():
    with http.server.HTTPServer(("127.0.0.1", 0), _Strange) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            done = run(
                "doctor", "--live", "--yes", "--app-guid", GUID,
                "--endpoint", f"http://127.0.0.1:{server.server_address[1]}",
                env=environment(
                    KOCHAVA_SEGMENT_API_KEY="KEY-1234",
                    KOCHAVA_SEGMENT_API_SECRET="hush",
                    PYTHONIOENCODING="ascii",
                ),
            )  # fmt: skip
        finally:
            server.shutdown()
            thread.join()
    assert done.returncode == 1
    (line,) = re.findall(r"^fail  (400 .*)$", done.stdout, re.MULTILINE)
    start = r'400 \x1b[2J{"error": "unknown key ***", "wer": "niemand wei\xdf"}xxx'
    assert line.startswith(start)
    assert line.endswith("xxx... (Retry-After: '7')")
    assert len(line) < 600


def test_the_messages_can_be_kept_and_sent_again(kochava, tmp_path):
    file = tmp_path / "check.jsonl"
    assert live(kochava, "--yes", "--save", file).exit_code == 0
    again = run("send", "--app-guid", GUID, "--endpoint", kochava.url, file)
    assert again.returncode == 0
    first, second, third, fourth = tracked(kochava)
    assert (first, second) == (third, fourth)


def test_a_file_that_cannot_be_written_stops_it_before(kochava, tmp_path):
    done = live(kochava, "--yes", "--save", tmp_path / "nowhere" / "file")
    assert done.exit_code == 2
    assert "--save cannot be written" in done.stderr
    assert tracked(kochava) == []


def test_an_outbox_that_is_configured_is_left_alone(kochava, tmp_path):
    outbox = tmp_path / "outbox.sqlite3"
    assert live(kochava, "--yes", "--outbox", outbox).exit_code == 0
    assert not outbox.exists()
    assert len(tracked(kochava)) == 2
