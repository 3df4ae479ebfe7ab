"""`send`, as a process, against the emulator."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import time

import pytest

from kochava_segment.cli import cli
from kochava_segment.cli import report as report_module
from kochava_segment.cli.messages import Entry
from kochava_segment.cli.report import Report
from kochava_segment.emulator import Faults
from kochava_segment.outcome import Outcome, OutcomeKind
from tests.cli.process import COMMAND, environment, run, runner, start
from tests.messages import ios

APP = ("--app-guid", "koapp")
FAST = ("--retry", "max_attempts=2,base=0.01")


def jsonl(*messages):
    return "".join(json.dumps(message) + "\n" for message in messages)


def test_all_accepted_or_filtered_is_exit_code_0(kochava_emulator):
    stdin = jsonl(ios(), ios(type="screen", name="Map"))
    result = run("send", *APP, "--endpoint", kochava_emulator.url, stdin=stdin)
    assert result.returncode == 0
    assert "2 messages in" in result.stdout
    assert "  accepted           1\n" in result.stdout
    assert "  filtered           1  (SCREENS_OFF 1)\n" in result.stdout
    assert result.stderr == ""


def test_each_outcome_is_counted_and_explained(kochava_emulator):
    kochava_emulator.faults = Faults(
        script=("success-zero", "503", "503", "half-answer", "half-answer")
    )
    stdin = jsonl(
        ios(messageId="rejected"),
        ios(messageId="exhausted"),
        ios(messageId="ambiguous"),
        ios(messageId="accepted", context__ip="not an ip"),
        ios(type="group"),
        ios(event=""),
    )
    result = run(
        "send", *APP, *FAST, "--endpoint", kochava_emulator.url, "--concurrency", 1, stdin=stdin
    )
    assert result.returncode == 1
    for kind in ("accepted", "rejected", "exhausted", "ambiguous", "invalid", "unsupported"):
        assert f"  {kind:<12}       1\n" in result.stdout
    assert "warnings: bad-ip 1\n" in result.stdout
    assert (
        "line 1: rejected: Kochava refused the request (1 attempt, last status 200)"
        in result.stderr
    )
    assert "line 3: ambiguous: it may have been counted" in result.stderr
    assert "line 6: invalid: event:" in result.stderr


def test_what_failed_can_be_sent_again(kochava_emulator, tmp_path):
    failed = tmp_path / "failed.jsonl"
    options = ("send", *APP, *FAST, "--endpoint", kochava_emulator.url)
    kochava_emulator.faults = Faults(error_rate=1)
    first = run(
        *options, "--failed", failed, stdin=jsonl(*(ios(messageId=str(n)) for n in range(5)))
    )
    assert first.returncode == 1
    kept = [json.loads(line) for line in failed.read_text().splitlines()]
    assert {line["outcome"] for line in kept} == {"exhausted"}
    assert "503" in kept[0]["reason"]
    kochava_emulator.faults = Faults()
    assert run(*options, failed).returncode == 0
    assert len(kochava_emulator.accepted) == 5
    assert json.loads(kochava_emulator.accepted[0].body)["data"]["event_name"] == "Level Up"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--failed", "{directory}"), "is a directory"),
        (("--failed", "{directory}/none/failed.jsonl"), "--failed cannot be written: No such file"),
        (("--failed", "{file}", "{file}"), "--failed must be another file"),
        (("--concurrency", "0"), "0 is not in the range"),
        (("--max-rate", "-1"), "--max-rate must be greater than 0"),
        (("--config", "{directory}/none.toml"), "--config cannot be read: No such file"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_sends_nothing(
    kochava_emulator, tmp_path, arguments, problem
):
    file = tmp_path / "events.jsonl"
    file.write_text(jsonl(ios()))
    arguments = [word.format(directory=tmp_path, file=file) for word in arguments]
    options = ("--endpoint", kochava_emulator.url, *arguments)
    result = runner().invoke(cli, ["send", *APP, *options])
    assert result.exit_code == 2
    assert problem in result.stderr
    assert not kochava_emulator.requests


def test_nobody_at_the_endpoint_is_a_reason_for_each_message(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening: refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        failed = tmp_path / "failed.jsonl"
        stdin = jsonl(ios(), ios())
        result = run("send", *APP, *FAST, "--endpoint", url, "--failed", failed, stdin=stdin)
    assert result.returncode == 1
    assert "  exhausted          2\n" in result.stdout
    assert "Kochava was not reached" in result.stderr
    assert len(failed.read_text().splitlines()) == 2


def _signalled(kochava_emulator, tmp_path, signals, *, latency):
    """Signal `send` while requests are under way: exit code, output, last line taken, what it kept.

    Its input stays open, so that it has to end because of the signal.
    """
    kochava_emulator.faults = Faults(latency=latency)
    failed = tmp_path / "failed.jsonl"
    options = ("--endpoint", kochava_emulator.url, "--failed", failed, "--concurrency", "2")
    with start("send", *APP, *options, stdin=subprocess.PIPE) as process:
        try:
            for number in range(20):
                message = ios(messageId=str(number), context__device__id=f"d{number}")
                process.stdin.write(jsonl(message))
            process.stdin.flush()
            deadline = time.monotonic() + 10
            while kochava_emulator.received < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            for number in signals:
                time.sleep(0.2)
                process.send_signal(number)
            process.wait(20)
        finally:
            process.kill()
        out, err = process.stdout.read(), process.stderr.read()
    last = int(re.search(r"stopped by a signal; last taken: line (\d+)", out)[1])
    kept = failed.read_text().splitlines()
    assert "Traceback" not in err
    assert "stopping: what is under way is finished" in err
    return process.returncode, out, last, [json.loads(line) for line in kept]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_what_was_taken_and_reports(kochava_emulator, tmp_path, number):
    code, out, last, kept = _signalled(kochava_emulator, tmp_path, [number], latency=0.1)
    assert code == 1
    assert f"  accepted    {last:>8}\n" in out
    assert kept == []
    assert len(kochava_emulator.accepted) == last


def test_a_second_signal_gives_up_on_what_waits(kochava_emulator, tmp_path):
    code, out, last, kept = _signalled(kochava_emulator, tmp_path, [signal.SIGINT] * 2, latency=1.0)
    accepted = len(kochava_emulator.accepted)
    assert code == 1
    assert 0 < accepted < last
    assert len(kept) == last - accepted
    assert {line["outcome"] for line in kept} == {"exhausted"}
    assert f"  accepted    {accepted:>8}\n" in out
    assert f"  exhausted   {last - accepted:>8}\n" in out


def test_a_terminal_gets_a_progress_bar_and_a_pipe_none(kochava_emulator, tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_text(jsonl(ios(), ios()))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "send", *APP, "--endpoint", kochava_emulator.url, str(file)],
        stdout=subprocess.PIPE, stderr=theirs, text=True, env=environment(TERM="xterm"),
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # how Linux says that the other side is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert b"sending" in shown
    assert b"\x1b[" in shown
    assert "\x1b" not in out


def test_without_a_terminal_there_are_plain_lines(monkeypatch, capsys):
    monkeypatch.setattr(report_module, "_PLAIN_EVERY", 0.0)
    with Report(None) as report:
        list(report.taken(iter([Entry(line=1, file=None, message={})])))
        report.add(Outcome(index=0, message_id=None, kind=OutcomeKind.ACCEPTED))
    assert capsys.readouterr().err == "1 message so far\n"


def test_only_the_first_failures_are_shown(kochava_emulator):
    stdin = jsonl(*[ios(event="")] * 30)
    result = run("send", *APP, "--endpoint", kochava_emulator.url, stdin=stdin)
    lines = result.stderr.splitlines()
    assert len(lines) == 21
    assert lines[-1] == "more failures are counted, and kept with --failed"
    assert "  invalid           30\n" in result.stdout
