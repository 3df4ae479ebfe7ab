"""What people really have in their files, through `map` and `send` as processes."""

import gzip
import json
import os
import subprocess
import sys

import pytest

from kochava_segment.cli import cli
from tests.cli.process import COMMAND, environment, run, runner
from tests.messages import ios

APP = ("--app-guid", "koapp")
SECRET = "mallory-4711"  # stands for personal data: it may show up in requests only
GOOD = json.dumps(ios())
BROKEN = '{"email": "mallory-4711@example.com", "event": '


def mapped(data, *arguments):
    """Map bytes; the outcomes by line, and what was written to standard error."""
    data = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    result = run("map", *APP, *arguments, stdin=data, text=False)
    assert SECRET.encode() not in result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    good = all(line["outcome"] in ("mapped", "filtered") for line in lines)
    assert result.returncode == (0 if good else 1), result.stderr
    return lines


def outcomes(lines):
    return [(line["line"], line["outcome"]) for line in lines]


def only_problem(line):
    [problem] = line["problems"]
    return f"{problem['path']} {problem['detail']}"


LINES = {
    "broken JSON": (BROKEN, "message is not valid JSON: Expecting value at character 49"),
    "no JSON at all": (SECRET, "message is not valid JSON: Expecting value at character 1"),
    "deep nesting": ("[" * 100_000, "message is nested too deeply to be read"),
    "deep nesting, closed": (
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        "message is nested too deeply to be read",
    ),
    "a huge whole number": (
        f'{{"n": {"9" * 10_000}}}',
        "message has a number with too many digits",
    ),
    "a duplicate key": (
        '{"type": "track", "type": "track"}',
        "type occurs twice in one object: which one is meant?",
    ),
    "Latin-1": (b'{"event": "caf\xe9"}', "message is not UTF-8: byte 15 cannot be read"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "message is not UTF-8: byte 1 cannot be read"),
    "two documents, one broken": (
        f"{GOOD}{{",
        f"message is not valid JSON: Extra data at character {len(GOOD) + 1}",
    ),
}


def test_lines_that_cannot_be_read_are_named_and_the_rest_goes_on():
    lines = [GOOD.encode()]
    for line, _ in LINES.values():
        lines += [line if isinstance(line, bytes) else line.encode(), GOOD.encode()]
    found = mapped(b"\n".join(lines))
    expected = [(n, "mapped" if n % 2 else "invalid") for n in range(1, len(lines) + 1)]
    assert outcomes(found) == expected
    problems = {name: only_problem(found[2 * n + 1]) for n, name in enumerate(LINES)}
    assert problems == {name: problem for name, (_, problem) in LINES.items()}


WRONG = [None, True, False, 0, -1.5, 1e308, "", "x", [], [None], {}, {"a": None}, [[{}]]]


def test_wrong_types_anywhere_have_an_outcome():
    messages = list(WRONG)
    for field in (
        "type",
        "event",
        "properties",
        "context",
        "context__device",
        "context__device__id",
        "context__app",
        "context__os",
        "context__ip",
        "context__userAgent",
        "context__consent",
        "integrations",
        "integrations__Kochava",
        "timestamp",
        "userId",
        "anonymousId",
        "messageId",
    ):
        messages += [ios(**{field: value}) for value in WRONG]
    found = mapped("\n".join(map(json.dumps, messages)))
    assert [line["line"] for line in found] == list(range(1, len(messages) + 1))
    assert {line["outcome"] for line in found} == {"mapped", "invalid", "filtered", "unsupported"}
    assert all(line["problems"] for line in found if line["outcome"] == "invalid")
    assert all(line["reason"] for line in found if line["outcome"] in {"filtered", "unsupported"})


def test_null_for_everything():
    message = {name: dict.fromkeys(value) if isinstance(value, dict) else None
               for name, value in ios().items()}  # fmt: skip
    found = mapped(json.dumps(message | {"type": "track"}) + "\n" + json.dumps(message))
    assert outcomes(found) == [(1, "invalid"), (2, "invalid")]
    assert "event" in {problem["path"] for problem in found[0]["problems"]}


def test_a_message_of_ten_megabytes():
    found = mapped(json.dumps(ios(properties__note="x" * 10_000_000)) + "\n" + GOOD)
    assert outcomes(found) == [(1, "invalid"), (2, "mapped")]
    assert "2000000" in only_problem(found[0])


def test_nesting_at_the_limits_of_the_reader(tmp_path):
    lines = [
        json.dumps(ios(properties={})).replace(
            '"properties": {}', f'"properties": {{"a": {"[" * depth}{"]" * depth}}}'
        )
        for depth in (200, *range(940, 1000, 5))
    ]
    found = mapped("\n".join([*lines, GOOD]))
    assert [line["line"] for line in found] == list(range(1, len(lines) + 2))
    assert found[-1]["outcome"] == "mapped"
    file = tmp_path / "deep.json"
    file.write_text(lines[-5])
    assert "Traceback" not in run("explain", *APP, file).stderr


def test_lone_surrogates_are_an_outcome_not_an_accident():
    lines = [
        GOOD.replace("Level Up", r"Level \ud800"),
        GOOD.replace("m-1", r"\udfff"),
        GOOD.replace('"level"', r'"\ud800"'),
    ]
    found = mapped("\n".join(lines))
    assert [line["line"] for line in found] == [1, 2, 3]
    assert all(line["outcome"] in {"mapped", "invalid"} for line in found)


def test_numbers_that_json_does_not_have_are_left_out_with_a_warning():
    line = json.dumps(ios(properties={"a": 1})).replace("1}", 'NaN, "b": Infinity, "c": 1e999}')
    [found] = mapped(line)
    assert found["outcome"] == "mapped"
    assert {"not-finite"} == {warning["code"] for warning in found["warnings"]}
    assert not found["request"]["body"]["data"].get("event_data")


def test_a_byte_order_mark_and_carriage_returns_and_blank_lines():
    found = mapped(b"\xef\xbb\xbf" + f"{GOOD}\r\n\r\n   \r\n{GOOD}\r\n".encode())
    assert outcomes(found) == [(1, "mapped"), (4, "mapped")]


def test_objects_without_anything_between_them():
    found = mapped(GOOD * 3 + "\n" + GOOD)
    assert outcomes(found) == [(1, "mapped")] * 3 + [(2, "mapped")]


def test_an_empty_file_gives_nothing():
    assert mapped(b"") == []


def test_an_array_with_a_broken_element():
    found = mapped(f"[\n{GOOD},\n{BROKEN},\n{GOOD}\n]\n")
    assert outcomes(found) == [(2, "mapped"), (3, "invalid"), (4, "mapped")]


def test_gzip_of_several_members(tmp_path):
    file = tmp_path / "events.jsonl.gz"
    file.write_bytes(b"".join(gzip.compress(f"{GOOD}\n".encode()) for _ in range(3)))
    assert outcomes(mapped(b"", file)) == [(1, "mapped"), (2, "mapped"), (3, "mapped")]


def test_gzip_that_breaks_off():
    noise = [json.dumps(ios(properties={"n": os.urandom(500).hex()})) for _ in range(100)]
    whole = gzip.compress("\n".join(noise).encode())
    found = mapped(whole[: len(whole) // 2])
    assert [line["outcome"] for line in found[:-1]] == ["mapped"] * (len(found) - 1)
    assert len(found) > 40
    assert found[-1]["line"] == len(found)
    assert "gzip data breaks off" in only_problem(found[-1])


def test_gzip_with_junk_after_it():
    found = mapped(gzip.compress(f"{GOOD}\n".encode()) + b"junk")
    assert outcomes(found)[0] == (1, "mapped")
    assert found[-1]["outcome"] == "invalid"


@pytest.mark.parametrize("command", ["map", "send", "explain"])
def test_a_missing_file_and_a_directory_are_wrong_usage(command, tmp_path):
    for name, problem in (
        (tmp_path / "none.jsonl", "does not exist"),
        (tmp_path, "is a directory"),
    ):
        result = runner().invoke(cli, [command, *APP, str(name)])
        assert result.exit_code == 2
        assert problem in result.stderr


@pytest.mark.parametrize("command", ["map", "send", "explain"])
def test_a_closed_standard_input_is_said(command):
    script = '"$@" <&-'
    result = subprocess.run(
        ["sh", "-c", script, "sh", *COMMAND, command, *APP],
        capture_output=True, text=True, timeout=30, check=False, env=environment(),
    )  # fmt: skip
    assert result.returncode == 2
    assert "there is no standard input: name a FILE" in result.stderr


@pytest.mark.parametrize("command", [["map", *APP], ["demo"], ["send", "--help"]])
def test_a_reader_that_goes_away_is_no_error_to_be_shown(command, tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_text(f"{GOOD}\n" * 2000)
    names = [str(file)] if command[0] == "map" else []
    script = '"$@" | head -1'
    result = subprocess.run(
        ["sh", "-c", script, "sh", *COMMAND, *command, *names],
        capture_output=True, text=True, timeout=60, check=False, env=environment(),
    )  # fmt: skip
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr == ""


def test_send_goes_on_and_leaks_nothing(kochava_emulator, tmp_path):
    lines = [GOOD, *(line for line, _ in LINES.values() if isinstance(line, str)), GOOD]
    file, failed = tmp_path / "events.jsonl", tmp_path / "failed.jsonl"
    file.write_text("\n".join(lines))
    options = (*APP, "--endpoint", kochava_emulator.url, "--failed", failed)
    result = run("send", *options, file)
    assert result.returncode == 1
    assert SECRET not in result.stdout + result.stderr
    assert len(kochava_emulator.accepted) == 2
    assert f"{file}:2: invalid: message: is not valid JSON" in result.stderr
    kept = [json.loads(line) for line in failed.read_text().splitlines()]
    assert sorted(line["line"] for line in kept) == list(range(2, len(lines)))
    assert BROKEN in {line["message"] for line in kept}
    assert (failed.stat().st_mode & 0o777) == 0o600


@pytest.mark.slow
def test_memory_is_bounded_and_the_speed_sensible(tmp_path):
    import time

    file = tmp_path / "events.jsonl"
    with file.open("w") as out:
        for number in range(100_000):
            out.write(json.dumps(ios(messageId=str(number), properties__note="x" * 200)) + "\n")
    began = time.monotonic()
    # Started by a small process: a child begins with the size of its parent, and that is counted.
    launcher = (
        "import os, subprocess, sys\n"
        "process = subprocess.Popen(sys.argv[1:])\n"
        "print(os.wait4(process.pid, 0)[2].ru_maxrss, file=sys.stderr)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", launcher, *COMMAND, "map", *APP, str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        count = sum(1 for _ in process.stdout)
        kilobytes = int(process.stderr.read())
    elapsed = time.monotonic() - began
    assert count == 100_000
    assert kilobytes < 150_000
    assert count / elapsed > 1000, f"{count / elapsed:.0f} messages a second"
