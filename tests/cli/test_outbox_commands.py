"""`outbox`, `relay`, `forget` and `send --outbox`, as processes on real files."""

import json
import os
import pty
import re
import signal
import sqlite3
import stat
import time
from contextlib import closing
from types import SimpleNamespace

import pytest

from kochava_segment import KochavaDestination
from kochava_segment.cli import cli
from kochava_segment.delivery.outbox import Outbox
from kochava_segment.delivery.outbox_inspection import EntryFilter, entries, outbox_status
from kochava_segment.emulator import Faults, KochavaEmulator
from kochava_segment.plural import counted
from tests.cli.process import COMMAND, environment, run, runner, start
from tests.delivery.outboxes import answered, lease, put, register, settle
from tests.messages import IDFA, MISSING, ios


@pytest.fixture
def kochava():
    with KochavaEmulator(keep=100_000) as kochava:
        yield kochava


@pytest.fixture
def path(tmp_path):
    return tmp_path / "outbox.sqlite3"


@pytest.fixture
def failed(path):
    """An outbox with a rejected, an ambiguous, a delivered and a waiting request."""
    with KochavaDestination("koapp", outbox=path, relay=False) as destination:
        for number, state in enumerate(("rejected", "ambiguous", "delivered", None)):
            bought = {"receipt_id": "receipt-4711", "username": "mallory-4711", "level": 5}
            message = ios(messageId=f"m-{number}", anonymousId=str(number), properties=bought)
            message["context"]["device"]["id"] = f"device-{number}"
            destination.enqueue(message)
            if state is not None:
                box = destination.outbox
                relay = register(box)
                reason = None if state == "delivered" else f"{state} by Kochava"
                settle(
                    box,
                    relay,
                    *(answered(lane, state, reason=reason) for lane in lease(box, relay)),
                )
    return path


def _status(path):
    box = Outbox(path)
    try:
        return outbox_status(box)
    finally:
        box.close()


def _states(path):
    box = Outbox(path)
    try:
        return {entry.message_id: entry.state for entry in entries(box, EntryFilter())}
    finally:
        box.close()


def _outbox(command, path, *arguments, stdin=""):
    """Run a command in this process, since it starts no threads and takes no signals."""
    arguments = ["outbox", command, "--outbox", str(path), *map(str, arguments)]
    done = runner().invoke(cli, arguments, input=stdin, env={"COLUMNS": "150"})
    return SimpleNamespace(returncode=done.exit_code, stdout=done.stdout, stderr=done.stderr)


# Looking.


def test_status_says_what_there_is(failed):
    done = _outbox("status", failed)
    assert done.returncode == 0
    assert done.stderr == ""
    assert re.search(r"pending +1, the oldest for \d", done.stdout)
    assert re.search(r"rate +0\.0 a second over the last minute, 60 s to drain", done.stdout)
    assert re.search(r"failed +2: see `kochava-segment outbox list`", done.stdout)
    assert "rejected by Kochava" in done.stdout
    assert "PAUSED" not in done.stdout


def test_status_as_json(failed):
    found = json.loads(_outbox("status", failed, "--json").stdout)
    assert found["states"] == {"rejected": 1, "ambiguous": 1, "delivered": 1, "waiting": 1}
    assert (found["pending"], found["failed"], found["paused"]) == (1, 2, [])
    assert {"state": "rejected", "reason": "rejected by Kochava", "count": 1} in found["reasons"]


def test_a_paused_app_is_told_loudly(failed):
    with closing(sqlite3.connect(failed)) as plain:
        plain.execute("UPDATE app SET paused_at = 1")
        plain.commit()
    shown = _outbox("status", failed).stdout
    assert "PAUSED" in shown
    assert "app koapp: its credentials were refused" in shown


def test_watch_draws_until_it_is_interrupted(failed):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(
            COMMAND[0],
            [*COMMAND, "outbox", "status", "--watch", "--outbox", str(failed)],
            environment(TERM="xterm"),
        )
    shown = b""
    deadline = time.monotonic() + 20
    while b"rejected by Kochava" not in shown and time.monotonic() < deadline:
        shown += os.read(terminal, 4096)
    time.sleep(0.2)
    os.write(terminal, b"\x03")
    while True:
        try:
            if not os.read(terminal, 4096):
                break
        except OSError:  # the other end is closed
            break
    _, result = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(result) == 0
    assert b"rejected by Kochava" in shown
    assert b"Traceback" not in shown


def test_list_shows_what_failed_unless_asked_otherwise(failed):
    done = _outbox("list", failed)
    assert "m-0" in done.stdout
    assert "m-1" in done.stdout
    assert "m-2" not in done.stdout
    assert "m-3" not in done.stdout
    only = _outbox("list", failed, "--state", "waiting", "--json").stdout.splitlines()
    assert [json.loads(line)["message_id"] for line in only] == ["m-3"]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--reason", "REJECTED by"], ["m-0"]),
        (["--app", "koapp"], ["m-0", "m-1", "m-2", "m-3"]),
        (["--app", "koother"], []),
        (["--message-id", "m-2"], ["m-2"]),
        (["--older-than", "1h"], []),
        (["--newer-than", "30m"], ["m-0", "m-1", "m-2", "m-3"]),
        (["2", "3"], ["m-1", "m-2"]),
        (["--state", "rejected", "--state", "delivered"], ["m-0", "m-2"]),
    ],
)
def test_filters(failed, options, found):
    lines = _outbox("list", failed, "--json", *options).stdout.splitlines()
    assert [json.loads(line)["message_id"] for line in lines] == found


def test_a_list_that_is_cut_off_says_so(failed):
    done = _outbox("list", failed, "--limit", "1")
    assert "There may be more than 1: see --limit." in done.stderr
    assert _outbox("list", failed, "--app", "koother").stdout == "Nothing.\n"


def test_an_age_that_is_none_is_wrong_usage(failed):
    done = _outbox("list", failed, "--older-than", "soon")
    assert done.returncode == 2
    assert "must be a number with a unit: 90s, 30m, 12h or 7d" in done.stderr


def test_show_hides_who_it_is_unless_it_is_to_reveal_it(failed):
    shown = json.loads(_outbox("show", failed, "1").stdout)
    assert shown["payload"]["data"]["device_ids"]["idfa"] == f"{IDFA[:4]}…"
    assert shown["payload"]["data"]["event_data"] == {
        "receipt_id": "rece…", "username": "mall…", "level": 5,
    }  # fmt: skip
    assert shown["reason"] == "rejected by Kochava"
    text = json.dumps(shown)
    assert "203.0.113.7" not in text
    assert "iPhone)" not in text
    revealed = json.loads(_outbox("show", failed, "1", "--reveal").stdout)
    assert revealed["payload"]["data"]["device_ids"]["idfa"] == IDFA
    assert revealed["payload"]["data"]["event_data"]["username"] == "mallory-4711"


def test_what_is_not_there_cannot_be_shown(failed):
    done = _outbox("show", failed, "99")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: the outbox has no request 99: `outbox list` names those")


def test_a_file_that_is_no_outbox_is_told_in_a_sentence(tmp_path):
    other = tmp_path / "events.json"
    other.write_text("{}" * 1000)
    for command in ("status", "list", "vacuum"):
        done = _outbox(command, other)
        assert done.returncode == 1
        assert "is no outbox" in done.stderr
        assert "Traceback" not in done.stderr
    assert other.read_text() == "{}" * 1000
    assert _outbox("status", tmp_path / "nowhere").returncode == 2


# Doing.


def test_retry_says_how_many_and_asks_which(failed):
    done = _outbox("retry", failed, "--state", "rejected")
    assert done.stdout == "1 request will be sent again by the next relay that looks\n"
    assert _states(failed)["m-0"] == "waiting"
    unclear = _outbox("retry", failed)
    assert unclear.returncode == 2
    assert "say which: IDs, --state" in unclear.stderr
    assert _outbox("retry", failed, "--all").returncode == 0
    assert _states(failed)["m-1"] == "waiting"


def test_discard_asks_and_does_nothing_without_a_yes(failed):
    asked = _outbox("discard", failed, "--state", "rejected", stdin="n\n")
    assert asked.returncode == 1
    assert "Give up on up to 1 request for good?" in asked.stdout
    assert _states(failed)["m-0"] == "rejected"
    done = _outbox("discard", failed, "--state", "rejected", stdin="y\n")
    assert "1 request discarded" in done.stdout
    assert _states(failed)["m-0"] == "discarded"
    assert _outbox("discard", failed, "--all", "--yes").stdout == "2 requests discarded\n"


def test_export_writes_lines_for_its_owner_alone(failed, tmp_path):
    output = tmp_path / "export.jsonl"
    done = _outbox("export", failed, "--output", output)
    assert done.returncode == 0
    assert "--reveal writes them in full" in done.stderr
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["message_id"] for line in lines] == ["m-0", "m-1", "m-2", "m-3"]
    assert "payload" not in lines[2], "its body is gone"
    assert IDFA not in output.read_text()
    assert IDFA in _outbox("export", failed, "--reveal", "--state", "waiting").stdout
    nowhere = _outbox("export", failed, "--output", tmp_path / "nowhere" / "x")
    assert nowhere.returncode == 2
    assert "--output cannot be written" in nowhere.stderr


def test_a_damaged_outbox_is_refused_and_salvaged(path):
    box = Outbox(path)
    put(box, *(f"m-{number}" for number in range(2000)), body=b'{"text":"%s"}' % (b"x" * 300))
    box.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 4096 // 2 * 4096)
        file.write(b"\xff" * 4096)
    refused = _outbox("export", path)
    assert refused.returncode == 1
    assert "is damaged" in refused.stderr
    assert "export --salvage" in refused.stderr
    done = _outbox("export", path, "--salvage")
    assert done.returncode == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) > 1900
    assert re.search(rf"{counted(len(lines), 'request')} read; \d+ cannot be read", done.stderr)
    assert lines[0]["payload"] == {"text": "x" * 300}


def test_vacuum_says_what_it_gave_back(path):
    box = Outbox(path)
    put(box, *(f"m-{number}" for number in range(300)), body=b"x" * 5000)
    relay = register(box)
    settle(
        box, relay, *(answered(lane, *["delivered"] * 300) for lane in lease(box, relay, 300, 300))
    )
    box.close()
    done = _outbox("vacuum", path)
    before, after = map(float, re.findall(r"(\d+\.\d) MB", done.stdout))
    assert before > 1.0
    assert after < 0.5


# relay and forget.


def _relay(path, kochava, *arguments):
    return ("relay", "--app-guid", "koapp", "--endpoint", kochava.url, "--outbox", path, *arguments)


def test_a_relay_drains_until_it_is_empty(failed, kochava):
    done = run(*_relay(failed, kochava, "--until-empty"))
    assert _states(failed)["m-3"] == "delivered"
    assert done.returncode == 1, "since something has failed"
    assert f"sending what is in {failed}; Ctrl-C ends it" in done.stdout
    assert "the outbox holds: " in done.stdout
    _outbox("discard", failed, "--all", "--yes")
    assert run(*_relay(failed, kochava, "--until-empty")).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_relay_ends_in_order_at_a_signal(failed, kochava, number):
    process = start(*_relay(failed, kochava))
    deadline = time.monotonic() + 20
    while _states(failed)["m-3"] != "delivered" and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "2 delivered" in out
    assert err == ""


def test_a_relay_needs_an_outbox_that_is_one(kochava, tmp_path):
    done = run("relay", "--app-guid", "koapp")
    assert done.returncode == 2
    assert "--outbox is missing" in done.stderr
    other = tmp_path / "file"
    other.write_text("x" * 5000)
    done = run(*_relay(other, kochava))
    assert done.returncode == 1
    assert "is no outbox" in done.stderr


def test_a_relay_with_mended_credentials_goes_on(failed):
    with KochavaEmulator(api_key="KEY", api_secret="secret") as signed:
        refused = run(*_relay(failed, signed, "--until-empty"))
        assert refused.returncode == 1
        assert "1 paused" in refused.stdout
        assert "Kochava refused its credentials" in refused.stderr
        keys = ("--api-key", "KEY", "--api-secret", "secret")
        assert "paused" not in run(*_relay(failed, signed, "--until-empty", *keys)).stdout
    assert _states(failed)["m-3"] == "delivered"


def test_forget_says_what_is_gone_and_what_is_not(path, kochava):
    with KochavaDestination("koapp", outbox=path, relay=False, devices=True) as destination:
        destination.enqueue_many([ios(), ios(messageId="m-2", userId="u-1", anonymousId="other")])
    options = ("--app-guid", "koapp", "--outbox", path)
    done = run("forget", "u-42", *options)
    assert done.stdout == (
        "1 device forgotten, 1 request discarded\n"
        "Kochava was not told: set --account-id and --account-key for that\n"
    )
    account = ("--account-id", "7", "--account-key", "key")
    done = run("forget", "u-1", *options, *account)
    assert "queued: 1 data subject request to Kochava" in done.stdout
    run(*_relay(path, kochava, "--until-empty", "--privacy-endpoint", kochava.url, *account))
    assert [request.path for request in kochava.requests] == ["/accounts/7/privacy/scrub"]
    assert run("forget", "u-1", "--app-guid", "koapp").returncode == 2


def test_forget_in_a_file_that_is_no_outbox(tmp_path):
    other = tmp_path / "file"
    other.write_text("x" * 5000)
    done = runner().invoke(cli, ["forget", "u-1", "--app-guid", "koapp", "--outbox", str(other)])
    assert done.exit_code == 1
    assert "is no outbox" in done.stderr


def test_a_relay_reports_now_and_then(failed):
    with KochavaEmulator(faults=Faults(latency=1.7)) as slow:
        done = run(*_relay(failed, slow, "--until-empty", "--report-every", "1"))
    reports = [line for line in done.stdout.splitlines() if line.startswith("the outbox holds: ")]
    assert "1 in flight" in reports[0]
    assert "2 delivered" in reports[-1]


# send --outbox.


def _send(path, kochava, *arguments):
    options = ("--app-guid", "koapp", "--endpoint", kochava.url, "--outbox", path)
    return ("send", *options, *map(str, arguments))


def _write(file, messages):
    file.write_text("".join(json.dumps(message) + "\n" for message in messages))
    return file


def _numbers(kochava):
    return [request.payload["data"]["event_data"]["number"] for request in kochava.accepted]


def _messages(count, **changes):
    return [
        ios(properties={"number": number}, anonymousId=f"a-{number % 40}", messageId=f"m-{number}",
            context__device__id=f"d-{number % 40}", **changes)
        for number in range(count)
    ]  # fmt: skip


def test_send_through_an_outbox_delivers_all_once_however_often_it_is_run(path, kochava, tmp_path):
    file = _write(tmp_path / "events.jsonl", _messages(60))
    done = run(*_send(path, kochava, file))
    assert done.returncode == 0
    assert re.search(r"queued +60", done.stdout)
    assert "the outbox holds: 60 delivered" in done.stdout
    again = run(*_send(path, kochava, file))
    assert again.returncode == 0
    assert re.search(r"duplicate +60", again.stdout)
    assert sorted(_numbers(kochava)) == list(range(60))


def test_messages_without_a_message_id_are_sent_once_each(path, kochava, tmp_path):
    same = ios(properties={"number": 1}, messageId=MISSING)
    first = tmp_path / "first" / "events.jsonl"
    second = tmp_path / "second" / "events.jsonl"
    for file in (first, second):
        file.parent.mkdir()
    _write(first, [same, same])
    second.write_text(json.dumps([same, same]))  # all on one line
    for _ in range(2):
        assert run(*_send(path, kochava, first, second)).returncode == 0
    assert kochava.counted == 4, "four messages that only look alike"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_send_that_is_killed_goes_on_where_it_was(path, tmp_path):
    count, in_flight = 600, 64
    file = _write(tmp_path / "events.jsonl", _messages(count))
    with KochavaEmulator(keep=100_000, faults=Faults(latency=0.005)) as kochava:
        command = _send(path, kochava, file, "--workers", "4", "--lease", "1")
        for round_ in range(1, 3):
            process = start(*command)
            deadline = time.monotonic() + 20
            while kochava.counted < 150 * round_ and time.monotonic() < deadline:
                time.sleep(0.01)
            process.kill()
            process.communicate()
        done = run(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        numbers = _numbers(kochava)
    assert set(numbers) == set(range(count)), "nothing is lost"
    assert len(numbers) - count <= 2 * in_flight, "no more is repeated than was in flight"
    assert "may have been counted twice" in done.stdout or len(numbers) == count


def test_what_the_outbox_could_not_deliver_goes_into_failed(path, tmp_path):
    messages = _messages(5)
    messages[3]["event"] = None
    file, kept = _write(tmp_path / "events.jsonl", messages), tmp_path / "failed.jsonl"
    with KochavaEmulator(app_guids={"koother"}) as refusing:
        done = run(*_send(path, refusing, file, "--failed", kept))
    assert done.returncode == 1
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    assert sorted((line["line"], line["outcome"]) for line in lines) == [
        (1, "rejected"), (2, "rejected"), (3, "rejected"), (4, "invalid"), (5, "rejected"),
    ]  # fmt: skip
    assert [line["message"] for line in lines if line["line"] == 1] == [messages[0]]
    assert f"kochava-segment outbox list --outbox {path}" in done.stdout


def test_what_failed_of_standard_input_is_named(path, kochava):
    kochava.faults = Faults(script=["400"])
    done = run(*_send(path, kochava), stdin=json.dumps(ios()))
    assert done.returncode == 1
    assert "m-1: rejected: Kochava refused the request" in done.stderr


def test_a_full_outbox_is_waited_for(path, kochava, tmp_path):
    messages = _messages(1500)
    for message in messages:
        message["properties"]["text"] = "x" * 2000
    file = _write(tmp_path / "events.jsonl", messages)
    done = run(*_send(path, kochava, file, "--max-size", "1"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(_numbers(kochava)) == list(range(1500))


def test_a_full_outbox_that_nothing_drains_is_an_error(path, tmp_path):
    file = _write(tmp_path / "events.jsonl", _messages(1500))
    with KochavaEmulator(api_key="KEY", api_secret="secret") as signed:
        done = run(*_send(path, signed, file, "--max-size", "0.5"))
    assert done.returncode == 1
    assert "has reached its size" in done.stderr
    assert "Traceback" not in done.stderr


def test_send_that_is_stopped_says_how_to_go_on(path, tmp_path):
    file = _write(tmp_path / "events.jsonl", _messages(200))
    with KochavaEmulator(keep=1000, faults=Faults(latency=0.1)) as slow:
        process = start(*_send(path, slow, file, "--workers", "2"))
        deadline = time.monotonic() + 20
        while slow.counted < 5 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
        assert process.returncode == 1
        assert "run this again with the same arguments to send what is left" in out
        assert _status(path).count("in flight") == 0
        slow.faults = Faults()
        assert run(*_send(path, slow, file)).returncode == 0
        assert sorted(_numbers(slow)) == list(range(200))
