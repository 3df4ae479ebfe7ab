"""The commands, as processes."""

import json
import subprocess
import sys

from tests.messages import ios


def run(*arguments, stdin=""):
    return subprocess.run(
        [sys.executable, "-m", "kochava_segment", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_demo_explains_every_message():
    result = run("demo")
    assert result.returncode == 0, result.stderr
    assert "7 accepted" in result.stdout
    assert "Errors found: 0" in result.stdout


def test_map_goes_on_after_a_broken_line():
    result = run("map", "--app-guid", "koapp", stdin=f"{json.dumps(ios())}\n{{broken\n[]\n")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["line"], line["outcome"]) for line in lines] == [
        (1, "mapped"),
        (2, "invalid"),
        (3, "invalid"),
    ]


def test_send_keeps_what_failed(kochava_emulator, tmp_path):
    failed = tmp_path / "failed.jsonl"
    options = ("--app-guid", "koapp", "--endpoint", kochava_emulator.url)
    stdin = f"{json.dumps(ios())}\n{json.dumps(ios(event=''))}\n"
    result = run("send", *options, "--failed", str(failed), stdin=stdin)
    assert result.returncode == 1
    assert len(kochava_emulator.accepted) == 1
    assert json.loads(failed.read_text())["message"]["event"] == ""
    assert run("send", *options, stdin=json.dumps(ios())).returncode == 0


def test_wrong_options_are_all_named():
    result = run("map", "--screens", "maybe", "--endpoint", "ftp://x")
    assert result.returncode == 2
    assert "--screens" in result.stderr
    assert "--endpoint" in result.stderr
