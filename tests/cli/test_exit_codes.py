"""Each exit code of each command, as docs/cli.md lists them, made to happen."""

import json
import os
import re
import signal
import socket
from pathlib import Path

import pytest

from kochava_segment.cli import cli
from kochava_segment.emulator import Faults
from tests.cli.process import run, runner, start
from tests.messages import ios

DOCUMENTED = re.compile(
    r"^\| \[`(?P<name>\w+)`\]\(#\w+\) \| [^|]+ \| (?P<bad>[^|]+) \|$", re.MULTILINE
)
PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
APP = ("--app-guid", "koapp")
GOOD, FILTERED = ios(), ios(type="screen")
UNSUPPORTED, INVALID = ios(type="group"), ios(event="")

# Command and arguments, what is read, exit code. {…} stands for what `places` has.
CASES = [
    ("demo", (), [], 0),
    ("demo", ("--screens", "perhaps"), [], 2),
    ("map", APP, [GOOD, FILTERED], 0),
    ("map", APP, [GOOD, INVALID, GOOD], 1),
    ("map", APP, [UNSUPPORTED], 1),
    ("map", APP, ["{"], 1),
    ("map", (), [GOOD], 1),
    ("map", (*APP, "{nowhere}"), [], 2),
    ("explain", APP, [GOOD], 0),
    ("explain", APP, [INVALID], 1),
    ("explain", APP, [FILTERED], 1),
    ("explain", APP, [], 2),
    ("send", (*APP, "--endpoint", "{kochava}"), [GOOD, FILTERED], 0),
    ("send", (*APP, "--endpoint", "{kochava}"), [GOOD, INVALID], 1),
    ("send", (*APP, "--endpoint", "{refusing}"), [GOOD], 1),
    ("send", (*APP, "--endpoint", "{kochava}", "--outbox", "{new}"), [GOOD, GOOD], 0),
    ("send", (*APP, "--endpoint", "{kochava}", "--outbox", "{text}"), [GOOD], 1),
    ("send", ("--endpoint", "http://kochava.example"), [GOOD], 2),
    ("replay", (), [], 2),
    ("serve", (*APP, "--outbox", "{new}", "--port", "{taken}"), [], 1),
    ("serve", (*APP, "--outbox", "{text}", "--port", "0"), [], 1),
    ("serve", APP, [], 2),
    ("relay", (*APP, "--outbox", "{new}", "--until-empty"), [], 0),
    ("relay", (*APP, "--outbox", "{text}", "--until-empty"), [], 1),
    ("relay", APP, [], 2),
    ("outbox", ("status", "--outbox", "{outbox}"), [], 0),
    ("outbox", ("list", "--outbox", "{outbox}"), [], 0),
    ("outbox", ("discard", "--all", "--yes", "--outbox", "{outbox}"), [], 0),
    ("outbox", ("show", "4711", "--outbox", "{outbox}"), [], 1),
    ("outbox", ("discard", "--all", "--outbox", "{outbox}"), ["n"], 1),
    ("outbox", ("status", "--outbox", "{text}"), [], 1),
    ("outbox", ("retry", "--outbox", "{outbox}"), [], 2),
    ("forget", (*APP, "--outbox", "{outbox}", "u-1"), [], 0),
    ("forget", (*APP, "--outbox", "{text}", "u-1"), [], 1),
    ("forget", (*APP, "u-1"), [], 2),
    ("emulator", ("--port", "{taken}"), [], 1),
    ("emulator", ("--error-rate", "0.6", "--trickle", "0.6"), [], 2),
    ("why", ("LOOP",), [], 0),
    ("why", ("no-such-code",), [], 2),
    ("doctor", (*APP, "--endpoint", "{kochava}"), [], 0),
    ("doctor", ("--screens", "perhaps"), [], 1),
    ("doctor", ("--yes",), [], 2),
]
# These start servers, take signals, or read bytes of standard input.
PROCESSES = {"demo", "serve", "relay", "emulator", "map", "explain", "send"}
NO_OPTIONS = {name: None for name in os.environ if name.startswith("KOCHAVA_SEGMENT_")}
# These end well where a signal ends them.
ENDED = [
    ("serve", (*APP, "--outbox", "{new}", "--port", "0")),
    ("relay", (*APP, "--outbox", "{new}")),
    ("emulator", ()),
]
# Beam is needed for these: tests/beam/test_replay.py.
ELSEWHERE = {("replay", 0), ("replay", 1)}


@pytest.fixture
def places(tmp_path, kochava_emulator):
    """What commands are pointed at."""
    from kochava_segment.delivery.outbox import Outbox
    from kochava_segment.emulator import KochavaEmulator

    (tmp_path / "text").write_text("no outbox" * 500)
    box = Outbox(tmp_path / "outbox")
    with box.file.writing():
        pass
    box.close()
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        KochavaEmulator(faults=Faults(error_rate=1.0, error_status=400)) as refusing,
    ):
        yield {
            "kochava": kochava_emulator.url,
            "refusing": refusing.url,
            "taken": taken.getsockname()[1],
            **{name: tmp_path / name for name in ("nowhere", "new", "text", "outbox")},
        }


def pointed(arguments, places):
    return [word.format_map(places) for word in arguments]


@pytest.mark.parametrize(("command", "arguments", "read", "code"), CASES)
def test_a_command_ends_with(command, arguments, read, code, places):
    stdin = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in read)
    words = [command, *pointed(arguments, places)]
    if command in PROCESSES:
        done = run(*words, stdin=stdin)
        ended, said = done.returncode, done.stderr
    else:  # the same code, without the time that a process takes to start
        done = runner().invoke(cli, words, input=stdin, env=NO_OPTIONS)
        ended, said = done.exit_code, done.stderr
    assert ended == code, said
    assert "Traceback" not in said


@pytest.mark.parametrize(("command", "arguments"), ENDED)
def test_a_signal_is_how_what_runs_for_long_ends_well(command, arguments, places):
    with start(command, *pointed(arguments, places)) as process:
        process.stdout.readline()  # it is there
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, process.stderr.read()


def test_every_code_that_is_documented_is_among_these():
    documented = {
        (found["name"], code)
        for found in DOCUMENTED.finditer(PAGE.read_text(encoding="utf-8"))
        for code in ((0,) if found["bad"] == "never" else (0, 1))
    }
    shown = {(command, code) for command, _, _, code in CASES} | ELSEWHERE
    shown |= {(command, 0) for command, _ in ENDED}
    assert {name for name, _ in documented} == set(cli.list_commands(None))
    assert documented == {one for one in shown if one[1] != 2}
    assert {name for name, code in shown if code == 2} == set(cli.list_commands(None))
